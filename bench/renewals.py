"""The sidecar alone, with many credentials: a storm of renewals beside requests whose token is fresh; what each weighs.

storm         all credentials' tokens end at the same moment, and their issuer is slow. Requests of another route, whose
              token is fresh for an hour, go on at a steady pace meanwhile.
credentials   resident memory with so many credentials, each of which holds a token that nobody asks for, less that of a
              sidecar with none of them.
tenants       the same for one credential with a token for each of so many tenants, after some that are not counted.
"""

from __future__ import annotations

import asyncio
import contextlib
import http.client
import json
import os
import sys
import time
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from machine import LOAD_CORE, PEER_CORE, Program, free_port
from modes import Mode
from pace import Pace, Sample
from peers import HERE

RATE = 500.0
SLOW = 1.0
"""Seconds that the issuer takes for one token."""

_LIVES = 24
"""Seconds from the start of the issuer to the end of all tokens; renewal is due when half of that is over."""

_LEFT = 4
"""Seconds before that end, when the storm is long over."""
_CALM = 0.5
"""Seconds before the storm that are not counted as calm."""
_WARM_UP = 500
"""Tenants before those that are counted."""
_SETTLED = 3.0
"""Seconds for a process to come to rest."""


@dataclass(frozen=True)
class Storm:
    """Milliseconds. `within`: seconds between the first renewal's request and the last one's."""

    renewals: int
    within: float
    requests: int
    errors: int
    p50_calm: float
    p99_calm: float
    p50_storm: float
    p99_storm: float
    worst: float


@dataclass(frozen=True)
class Weight:
    """`kib`: resident, for each credential."""

    credentials: int
    errors: int
    mib_without: float
    mib_with: float
    kib: float


@dataclass(frozen=True)
class Surroundings:
    """A folder for this measurement, the upstream's port, and the token that it wants."""

    folder: Path
    upstream: int
    token: str


def storm(mode: Mode, around: Surroundings) -> Storm:
    """One storm."""
    ends = int(time.time()) + _LIVES
    with _issuer(around, SLOW, ends) as issuer, _sidecar(mode.credentials, around, issuer) as (listener, _):
        first = len(_seen(issuer))
        pace = Pace(listener, mode.path, RATE)
        asyncio.run(pace.run(lambda: time.time() > ends - _LEFT))
        renewals = _seen(issuer)[first:]
    began, ended = min(renewals), max(renewals)
    calm = [sample for sample in pace.samples if sample[0] < began - _CALM]
    stormy = [sample for sample in pace.samples if began <= sample[0] <= ended + SLOW]
    return Storm(
        renewals=len(renewals),
        within=ended - began,
        requests=len(pace.samples),
        errors=pace.errors + abs(len(renewals) - mode.credentials),
        p50_calm=_percentile(calm, 0.5),
        p99_calm=_percentile(calm, 0.99),
        p50_storm=_percentile(stormy, 0.5),
        p99_storm=_percentile(stormy, 0.99),
        worst=_percentile(stormy, 1.0),
    )


def weigh(mode: Mode, around: Surroundings) -> Weight:
    """Two sidecars, one after the other: without the credentials, and with them. Of tenants: one, before and after."""
    if mode.tenants:
        return _weigh_tenants(mode.credentials, around)
    mib = []
    for count in (0, mode.credentials):
        with _issuer(around, 0.05, int(time.time()) + 3600) as issuer, _sidecar(count, around, issuer) as (_, peer):
            time.sleep(_SETTLED)
            mib.append(peer.resident_mib())
            errors = len(_seen(issuer)) != count
    return _weight(mode.credentials, int(errors), mib)


def _weigh_tenants(count: int, around: Surroundings) -> Weight:
    """Their API is the issuer itself, which does not care about tokens."""
    mib, refused = [], 0
    with _issuer(around, 0.0, int(time.time()) + 3600) as issuer, _sidecar(0, around, issuer) as (listener, peer):
        connection = http.client.HTTPConnection("127.0.0.1", listener, timeout=10)
        for number in range(_WARM_UP + count):
            if number == _WARM_UP:
                time.sleep(_SETTLED)
                mib.append(peer.resident_mib())
            connection.request("GET", "/tenants", headers={"X-Tenant": f"t-{number}"})
            answer = connection.getresponse()
            answer.read()
            refused += answer.status != http.client.OK
        time.sleep(_SETTLED)
        mib.append(peer.resident_mib())
        connection.close()
        missing = _WARM_UP + count - len(_seen(issuer))
    return _weight(count, refused + missing, mib)


def _weight(count: int, errors: int, mib: list[float]) -> Weight:
    return Weight(count, errors, mib[0], mib[1], (mib[1] - mib[0]) * 1024 / count)


@contextlib.contextmanager
def _issuer(around: Surroundings, delay: float, ends: int) -> Iterator[int]:
    port = free_port()
    script = HERE / "parts" / "slow_endpoint.py"
    command: list[str | Path] = [sys.executable, script, str(port), around.token, str(delay), str(ends)]
    with Program(command, port, LOAD_CORE, around.folder) as program:
        program.wait_until_ready("/seen", {})
        yield port


@contextlib.contextmanager
def _sidecar(count: int, around: Surroundings, issuer: int) -> Iterator[tuple[int, Program]]:
    """One that has all of its tokens: its port, and itself."""
    listener, admin = free_port(), free_port()
    credential = "{type: oauth2, token_endpoint: 'http://127.0.0.1:%d/%s', client_id: %s, refresh: {jitter: 0.0}, "
    credential += "client_secret: {env: BENCH_SECRET}}"
    lines = [
        f"listen: 127.0.0.1:{listener}",
        f"admin: {{listen: 127.0.0.1:{admin}}}",
        "routes:",
        f"  - {{match: /, upstream: 'http://127.0.0.1:{around.upstream}', credential: fresh}}",
        f"  - {{match: /tenants, upstream: 'http://127.0.0.1:{issuer}', credential: tenants}}",
        "credentials:",
        f"  fresh: {credential % (issuer, 'fresh', 'fresh')}",
        f"  tenants: {(credential % (issuer, 'storm', 'tenants'))[:-1]}, per: {{header: X-Tenant, max: 20000}}}}",
        *(f"  c{number}: {credential % (issuer, 'storm', f'c{number}')}" for number in range(count)),
    ]
    (around.folder / "config.yaml").write_text("\n".join(lines) + "\n")
    os.environ["BENCH_SECRET"] = "a secret of the bench"  # noqa: S105 - guards nothing
    command: list[str | Path] = [Path(sys.executable).parent / "auth-sidecar", "serve", "-c", "config.yaml"]
    with Program(command, admin, PEER_CORE, around.folder) as program:
        program.wait_until_ready("/readyz", {}, patience=60)
        yield listener, program


def _seen(issuer: int) -> list[float]:
    with urllib.request.urlopen(f"http://127.0.0.1:{issuer}/seen", timeout=10) as answer:
        times: list[float] = json.load(answer)
    return times


def _percentile(samples: list[Sample], share: float) -> float:
    """Milliseconds."""
    took = sorted(seconds for _, seconds in samples)
    return took[min(len(took) - 1, int(share * len(took)))] * 1000 if took else float("nan")
