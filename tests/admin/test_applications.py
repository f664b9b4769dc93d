from __future__ import annotations

import asyncio

import pytest
from support.clock import settle
from support.program import Served, Standing, StandingProgram

from proxy.admin.applications import Applications
from proxy.admin.ports import CredentialView
from proxy.config.schema import UpdateGuard
from proxy.stats import SAMPLE_EVERY, RouteStats


def _program():
    crm = CredentialView(
        type="external", tokens=Standing(), vend=True, update=UpdateGuard(), update_secret=lambda: "right"
    )
    program = StandingProgram(crm=crm)
    program.secret = "admin"
    return program


GETS = ("/", "/healthz", "/readyz", "/metrics", "/status", "/config", "/credentials/crm/token")
POSTS = ("/reload", "/quit", "/credentials/crm/refresh", "/credentials/crm/token")


async def _found(app, headers):
    async with Served(app) as served:
        answers = [(path, await served.ask("GET", path, headers=headers)) for path in GETS]
        answers += [(path, await served.ask("POST", path, headers=headers, data=b"{}")) for path in POSTS]
    return {path for path, answer in answers if answer.status not in (404, 405)}


async def test_the_health_listener_serves_probes_and_metrics_alone():
    assert await _found(Applications(_program()).health(), {}) == {"/healthz", "/readyz", "/metrics"}


async def test_the_update_listener_serves_pushes_alone():
    assert await _found(Applications(_program()).update(), {}) == {"/credentials/crm/token"}


async def test_without_the_bearer_only_probes_and_pushes_get_past_the_door():
    async with Served(Applications(_program()).admin()) as served:
        answers = {path: (await served.ask("GET", path)).status for path in GETS}
        answers |= {"POST " + path: (await served.ask("POST", path, data=b"{}")).status for path in POSTS}
        push = await served.ask("POST", "/credentials/crm/token", data=b"{}", headers={"Authorization": "Bearer right"})

    assert {path for path, status in answers.items() if status != 401} == {"/healthz", "/readyz"}
    assert push.status == 400


@pytest.mark.parametrize("path", ["/%68ealthz", "/healthz/", "//healthz", "/healthz/../status", "/status;/healthz"])
async def test_no_spelling_of_a_path_gets_around_the_door(path):
    async with Served(Applications(_program()).admin()) as served:
        answer = await served.ask("GET", path)

    assert answer.status == 401 or answer.json() == {"status": "ok"}


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH"])
async def test_probes_want_no_bearer_whatever_their_method(method):
    async with Served(Applications(_program()).admin()) as served:
        statuses = {(await served.ask(method, path)).status for path in ("/healthz", "/readyz")}
        other = await served.ask(method, "/metrics")

    assert (statuses, other.status) == ({405}, 401)


async def test_the_applications_share_one_limit_on_refused_guards():
    applications = Applications(_program())
    wrong = {"Authorization": "Bearer wrong"}
    async with Served(applications.admin()) as admin, Served(applications.update()) as update:
        statuses = [
            (await served.ask("PUT", "/credentials/crm/token", data=b"{}", headers=wrong)).status
            for served in (admin, update)
            for _ in range(6)
        ]

    assert statuses == [401] * 10 + [429] * 2


async def test_routes_are_sampled_while_the_application_runs_and_no_longer():
    program = _program()
    stats = RouteStats()
    program.routes = {"crm": stats}
    before = len(asyncio.all_tasks())
    async with Served(Applications(program).admin()):
        for _ in range(3):
            await program.clock.advance(SAMPLE_EVERY)
        taken = len(stats._samples)
        program.routes = {}
    await settle()

    assert taken == 4
    assert len(asyncio.all_tasks()) == before
