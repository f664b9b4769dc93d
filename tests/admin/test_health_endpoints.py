from __future__ import annotations

import pytest
from support.program import Standing, StandingProgram, admin_of, health_of

from proxy.admin.health_endpoints import not_ready
from proxy.admin.ports import CredentialView
from proxy.tokens.store.memory import MemoryTokenStore


async def _get(served, path):
    async with served:
        answer = await served.ask("GET", path)
        return answer.status, answer.json()


def _entry(*, eager=True, required=False, **figures):
    return CredentialView(type="oauth2", tokens=Standing(**figures), eager=eager, required=required)


async def test_alive_says_so_whatever_the_credentials_do():
    program = StandingProgram(crm=_entry(state="empty", attempted=False, required=True))

    assert await _get(admin_of(program), "/healthz") == (200, {"status": "ok"})


async def test_ready_once_every_first_attempt_has_ended_even_in_failure():
    program = StandingProgram(crm=_entry(state="empty", attempted=True))

    assert await _get(admin_of(program), "/readyz") == (200, {"status": "ready", "draining": False, "credentials": {}})


async def test_not_ready_while_a_first_attempt_runs_and_says_which():
    program = StandingProgram(crm=_entry(state="empty", attempted=False), erp=_entry())

    assert await _get(admin_of(program), "/readyz") == (
        503,
        {"status": "unavailable", "draining": False, "credentials": {"crm": "its first token is being fetched"}},
    )


@pytest.mark.parametrize("state", ["empty", "expired"])
def test_a_required_credential_must_be_usable(state):
    assert not_ready({"crm": _entry(state=state, required=True)}) == {"crm": f"required, and its token is {state}"}


@pytest.mark.parametrize("state", ["failing", "stale", "fresh"])
def test_a_required_credential_that_is_usable_is_enough(state):
    assert not_ready({"crm": _entry(state=state, required=True)}) == {}


def test_a_lazy_credential_is_not_waited_for():
    assert not_ready({"crm": _entry(eager=False, state="empty", attempted=False)}) == {}


def test_a_lazy_credential_that_is_required_is_waited_for():
    assert "crm" in not_ready({"crm": _entry(eager=False, required=True, state="empty", attempted=False)})


def test_a_constant_credential_is_always_ready():
    assert not_ready({"key": CredentialView(type="header")}) == {}


async def test_not_ready_while_draining():
    program = StandingProgram()
    program.draining = True

    assert await _get(admin_of(program), "/readyz") == (
        503,
        {"status": "unavailable", "draining": True, "credentials": {}},
    )


@pytest.mark.parametrize("path", ["/healthz", "/readyz"])
async def test_the_health_listener_answers_to_any_host_and_anyone(path):
    program = StandingProgram()
    program.secret = "right"
    async with health_of(program) as served:
        assert (await served.ask("GET", path, headers={"Host": "10.1.2.3:9902"})).status == 200


class FailingStore(MemoryTokenStore):
    """One that cannot be reached."""

    def __init__(self, *, essential: bool) -> None:
        super().__init__()
        self.essential = essential  # type: ignore[misc]
        self.last_error = "Redis at a:1: it cannot be reached"


@pytest.mark.parametrize(
    ("essential", "required", "status", "store"),
    [(False, True, 200, "degraded"), (True, False, 200, "unavailable"), (True, True, 503, "unavailable")],
)
async def test_a_store_that_fails_is_told_and_counts_where_nothing_goes_on_without_it(
    essential, required, status, store
):
    program = StandingProgram(crm=CredentialView(type="oauth2", tokens=Standing(), required=required))
    program.store = FailingStore(essential=essential)
    async with admin_of(program) as served:
        ready = await served.ask("GET", "/readyz")
        said = (await served.ask("GET", "/status")).json()["store"]
        metrics = (await served.ask("GET", "/metrics")).text
    assert (ready.status, ready.json()["store"], said["state"]) == (status, store, store)
    assert ready.json()["credentials"] == (
        {"crm": "required, and the token store is unavailable"} if status == 503 else {}
    )
    assert "auth_sidecar_store_up 0.0" in metrics
