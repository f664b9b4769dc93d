from __future__ import annotations

import asyncio
import itertools
import os
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from support.process import Program, free_port
from support.tls import Authority

from proxy.sandbox.clients import Client
from proxy.sandbox.sandbox_server import Sandbox, SandboxOptions
from soak.clients import Caller
from soak.disturber import Disturber
from soak.gate import API_KEY, CLIENTS, CONSUMER_KEY, SITES
from soak.journal import Journal
from soak.order import KINDS, PUSHED, SECURE
from soak.pusher import GUARD, Pusher
from soak.upstream import Apis
from soak.vitals import Vitals, Watch, grown, held_by, hoarded, vitals_of

SECONDS = float(os.environ.get("SOAK_SECONDS", "30"))
CALLERS = int(os.environ.get("SOAK_CLIENTS", "40"))
WARM = int(min(60.0, SECONDS / 3))
"""Seconds until memory and descriptors must have found their size."""
PAUSE = CALLERS / 500
"""Seconds between two requests of one caller: more callers ask for more at once, not for more in all."""
ALLOWED = 6.0 + CALLERS / 20
"""MiB by which the process may grow: the buffers of what is in flight come and go, and the heap has gaps. What is
hoarded shows once everybody is gone."""
SOCKET = "app.sock"
SIDECAR = Path(__file__).with_name("sidecar.py")


def settings(sandbox: Sandbox, apis: Apis) -> dict[str, Any]:
    """A route for each kind of credential, and one without."""
    credentials: dict[str, Any] = {
        name: {
            "type": "oauth2",
            "grant_type": "client_credentials",
            "token_endpoint": sandbox.token_endpoint,
            "client_id": client,
            "client_secret": {"value": f"secret of {client}"},
        }
        for name, client in CLIENTS.items()
    }
    credentials["bound"]["dpop"] = True
    credentials[PUSHED] = {"type": "external", "update": {"secret": {"value": GUARD}}}
    credentials["key"] = {"type": "header", "name": "X-Api-Key", "value": {"value": API_KEY}}
    credentials["signed"] = {"type": "oauth1", "consumer_key": CONSUMER_KEY, "consumer_secret": {"value": "consumer"}}
    routes = [
        {
            "name": site,
            "match": f"/{site}",
            "upstream": f"http{'s' * (site == SECURE)}://{apis.authority(site)}/at/{site}",
            "credential": site if site in credentials else None,
            **({"tls": {"ca_file": "ca.pem"}} if site == SECURE else {}),
        }
        for site in SITES
    ]
    listen = [f"127.0.0.1:{free_port()}", f"unix:{SOCKET}"]
    return {"listen": listen, "routes": routes, "credentials": credentials, "log": {"access": "off"}}


@pytest.fixture
async def sandbox():
    clients = tuple(Client(client_id=name, client_secret=f"secret of {name}") for name in CLIENTS.values())
    async with Sandbox(SandboxOptions(port=free_port(), clients=clients, refresh_token=None)) as running:
        running.script.change(jwt=True, expires_in=20.0)
        yield running


@pytest.fixture
async def apis(sandbox, tmp_path):
    authority = Authority()
    (tmp_path / "ca.pem").write_bytes(authority.certificate)
    async with Apis(sandbox, authority.server_context()) as running:
        yield running


async def disturbed(
    program: Program, doors: list[int | str], disturber: Disturber, pusher: Pusher, apis: Apis, journal: Journal
) -> Watch:
    """The callers, the disturber, the pusher and the watch, all at once, for SECONDS."""
    until = time.monotonic() + SECONDS
    numbers = itertools.count(1)
    watch = Watch(program.pid)
    beside = [asyncio.create_task(watch.run()), asyncio.create_task(pusher.run(pause=1.0))]
    try:
        async with asyncio.timeout(SECONDS + 60), asyncio.TaskGroup() as group:
            for seed in range(CALLERS):
                caller = Caller(seed, numbers, doors[seed % 3 == 0], apis, journal)
                group.create_task(caller.run(until, PAUSE))
            group.create_task(disturber.run(until - 2, max(0.8, SECONDS / 150)))
    finally:
        for task in beside:
            task.cancel()
        ended = await asyncio.gather(*beside, return_exceptions=True)
    assert all(isinstance(end, asyncio.CancelledError) for end in ended), ended
    return watch


async def at_rest(program: Program, apis: Apis, idle: Vitals) -> list[str]:
    """Complaints, if descriptors are left over once everybody is gone."""
    apis.reset(1.0)
    deadline = time.monotonic() + 10
    while (left := vitals_of(program.pid).descriptors) > idle.descriptors + 4:
        if time.monotonic() > deadline:
            return [f"{left} descriptors are left of {idle.descriptors} at the start"]
        await asyncio.sleep(0.1)
    return []


@pytest.mark.alone
@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="memory and descriptors are read from /proc")
async def test_a_bad_day_with_many_callers_alters_nothing_leaks_nothing_and_confuses_no_credentials(
    sandbox, apis, tmp_path, capsys
):
    config = settings(sandbox, apis)
    journal = Journal()
    async with Program(config, tmp_path, command=(sys.executable, str(SIDECAR))) as program:
        pusher = Pusher(program, sandbox)
        await pusher.push()
        idle, held = vitals_of(program.pid), await held_by(program)
        disturber = Disturber(program, config, sandbox, apis, pusher, journal)
        doors: list[int | str] = [int(config["listen"][0].rpartition(":")[2]), str(tmp_path / SOCKET)]
        watch = await disturbed(program, doors, disturber, pusher, apis, journal)
        early, late = watch.growth(WARM)
        unhappy = [*journal.complaints(), *disturber.complaints, *pusher.complaints, *apis.complaints]
        unhappy += [f"a request of generation {bad!r}" for bad in apis.generations - disturber.usable]
        unhappy += grown(early, late, allowed_mib=ALLOWED)
        unhappy += await at_rest(program, apis, idle)
        kept = await held_by(program)
        unhappy += hoarded(held, kept)
        renewal_hold = sum(sandbox.counters.grants.values())
        summary = (
            f"{CALLERS} callers, {SECONDS:g} s: {journal.report()}; {renewal_hold} tokens, {pusher.pushes} pushes, "
            f"{len(apis.generations)} generations; {idle} at the start, {early} warm, {late} at the end; "
            f"{held}, then {kept}"
        )
        with capsys.disabled():
            sys.stderr.write(f"\n{summary}\n")
    if "cut off" in program.log:
        unhappy.append("requests were in flight when nobody was there any more")
    assert not unhappy, "\n".join([summary, f"{len(unhappy)} complaints", *unhappy[:20]])
    missing = {(site, kind) for site in SITES for kind in KINDS} - journal.served.keys()
    assert not missing, "never served"
    assert len(apis.generations) > 1
    assert pusher.pushes > SECONDS / 5
    assert {"reset", "leave", "revoke", "reload", "step", "restart"} <= {mishap.kind for mishap in journal.mishaps}
