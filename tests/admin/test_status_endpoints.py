from __future__ import annotations

from support.program import Standing, StandingProgram, admin_of

from proxy.admin.ports import CredentialView, Discovered
from proxy.admin.status_endpoints import whole
from proxy.stats import RouteStats


async def _get(program, path):
    async with admin_of(program) as served:
        answer = await served.ask("GET", path)
        assert answer.status == 200
        return answer.json()


async def test_the_status_has_the_shape_of_the_contract():
    stats = RouteStats()
    stats.count(b"GET", 404, 0.02)
    stats.retried("unauthorized")
    tokens = Standing(state="failing", last_error="the token endpoint did not answer in time")
    program = StandingProgram(crm=CredentialView(type="oauth2", tokens=tokens), key=CredentialView(type="header"))
    program.routes = {"crm": stats}

    assert await _get(program, "/status") == {
        "version": "1.2.3",
        "uptime": 12.5,
        "credentials": {
            "crm": {
                "type": "oauth2",
                "state": "failing",
                "expires_at": 1_800_003_600,
                "refresh_at": 1_800_003_000,
                "generation": 3,
                "last_refresh": 1_799_999_990,
                "last_error": "the token endpoint did not answer in time",
                "fingerprint": "0a1b2c3d",
            },
            "key": {
                "type": "header",
                "state": "fresh",
                "expires_at": None,
                "refresh_at": None,
                "generation": 0,
                "last_refresh": None,
                "last_error": None,
                "fingerprint": None,
            },
        },
        "routes": {
            "crm": {
                "requests": 1,
                "in_flight": 0,
                "retries": {"unauthorized": 1},
                "rate": 0.0,
                "client_errors": 0.0,
                "server_errors": 0.0,
                "p50": None,
                "p95": None,
            }
        },
        "store": {"type": "memory", "state": "ok", "errors": 0, "last_error": None},
    }


async def test_the_figures_of_the_last_minute_follow_the_traffic():
    stats = RouteStats()
    program = StandingProgram()
    program.routes = {"crm": stats}
    async with admin_of(program) as served:
        await program.clock.advance(1)
        for status, seconds in ((200, 0.011), (200, 0.012), (404, 0.013), (500, 0.02)):
            stats.count(b"GET", status, seconds)
        await program.clock.advance(19)
        figures = (await served.ask("GET", "/status")).json()["routes"]["crm"]

    assert (figures["rate"], figures["client_errors"], figures["server_errors"]) == (0.2, 0.25, 0.25)
    assert 0.011 < figures["p50"] < figures["p95"] < 0.02


async def test_the_configuration_is_shown_as_the_program_redacted_it():
    program = StandingProgram()
    shown = await _get(program, "/config")
    assert shown == program.loaded.shown
    assert (shown["version"], shown["routes"]) == (1, [])


def test_a_moment_is_never_told_later_than_it_is():
    assert (whole(12.9), whole(None)) == (12, None)


async def test_a_route_whose_upstream_is_looked_up_says_where_it_leads_since_when_and_what_went_wrong():
    program = StandingProgram()
    program.routes = {name: RouteStats() for name in ("found", "lost", "fixed")}
    program.found = {
        "found": Discovered(url="https://va.example.net/v1", age=12.34567, last_error="The directory answered 500"),
        "lost": Discovered(url=None, age=None, last_error=None),
    }
    told = (await _get(program, "/status"))["routes"]
    assert told["found"]["upstream"] == {
        "url": "https://va.example.net/v1",
        "age": 12.346,
        "last_error": "The directory answered 500",
    }
    assert told["lost"]["upstream"] == {"url": None, "age": None, "last_error": None}
    assert "upstream" not in told["fixed"]
