"""One request, there and back."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any, cast

import pytest
from msgspec.structs import replace
from support.front import Gate, ScriptedTokens, request
from support.recording_upstream import CLOSE, ECHO, READ, RESET, Received
from support.routes_alone import head_of, live_route_of, outgoing

from proxy.clock import SystemClock
from proxy.config import schema
from proxy.errors import CredentialRefused, CredentialUnavailable
from proxy.forward.exchange import Exchange, Phase
from proxy.forward.flow_control import UPSTREAM_FULL
from proxy.forward.relay import Relay
from proxy.model import Token

UNAUTHORIZED = (
    b'HTTP/1.1 401 Unauthorized\r\nWWW-Authenticate: Bearer error="invalid_token"\r\nContent-Length: 6\r\n\r\nno way'
)


def accepts(*good: bytes):
    """An API that takes these tokens."""

    def answer(received: Received):
        if received.field(b"authorization") in [b"Bearer " + token for token in good]:
            return (b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok",)
        return (UNAUTHORIZED,)

    return answer


async def test_a_request_leaves_with_the_token_and_nothing_else_changed(upstream):
    async with Gate(upstream.url + "/v2") as gate:
        answer = await gate.ask(
            b"GET /crm/a%2Fb//c?x=%41&y=[1] HTTP/1.1\r\nHost: localhost\r\nX-one:  1 \r\nx-ONE: 2\r\nAccept: */*\r\n"
            b"Authorization: Basic mine\r\nauthorization: more\r\nConnection: keep-alive, X-Hop\r\nX-Hop: 1\r\n\r\n"
        )
    assert answer.status == 200
    assert answer.body == b"ok"
    assert upstream.requests[0].head == (
        b"GET /v2/a%2Fb//c?x=%41&y=[1] HTTP/1.1\r\nHost: " + upstream.authority.encode() + b"\r\n"
        b"X-one:  1 \r\nx-ONE: 2\r\nAccept: */*\r\nAuthorization: Bearer t0ken\r\n\r\n"
    )


async def test_the_answer_passes_with_its_reason_its_octets_and_any_status(upstream):
    upstream.script(
        b"HTTP/1.1 901 Odd \xe9\r\nX-B: \xff\x80\r\nSet-Cookie: a\r\nset-cookie: b\r\nContent-Length: 1\r\n\r\nx"
    )
    async with Gate(upstream.url) as gate:
        answer = await gate.ask(request())
    assert answer.raw == (
        b"HTTP/1.1 901 Odd \xe9\r\nX-B: \xff\x80\r\nSet-Cookie: a\r\nset-cookie: b\r\nContent-Length: 1\r\n\r\nx"
    )


async def test_a_refused_token_is_renewed_and_the_request_sent_again(upstream):
    """A7."""
    upstream.answer = accepts(b"new")
    tokens = ScriptedTokens("old", "new")
    async with Gate(upstream.url, tokens=tokens) as gate:
        answer = await gate.ask(request("POST", body=b"x" * 1024))
    assert answer.status == 200
    assert tokens.refused == ["old"]
    assert [bytes(one.body) for one in upstream.requests] == [b"x" * 1024] * 2
    assert gate.live_route.stats.retries == {"unauthorized": 1}


async def test_a_burst_of_refusals_reaches_no_caller(upstream):
    """A6."""
    upstream.answer = accepts(b"new")
    tokens = ScriptedTokens("old", "new")
    async with Gate(upstream.url, tokens=tokens) as gate:
        answers = await asyncio.gather(*(gate.ask(request()) for _ in range(50)))
    assert {answer.status for answer in answers} == {200}
    assert tokens.values == []


async def test_a_body_too_large_to_keep_gets_the_refusal_and_the_next_request_works(upstream):
    """A7."""
    upstream.answer = accepts(b"new")
    tokens = ScriptedTokens("old", "new")
    async with Gate(upstream.url, tokens=tokens) as gate, gate.client() as client:
        refused = await client.ask(request("POST", body=b"y" * 500_000))
        assert refused.status == 401
        assert refused.body == b"no way"
        while tokens.values:
            await asyncio.sleep(0)
        assert (await client.ask(request())).status == 200


@pytest.mark.parametrize("error", [CredentialUnavailable("The issuer is down"), CredentialRefused("It says no")])
async def test_a_refusal_passes_with_our_remark_if_the_renewal_fails(upstream, error):
    """For whatever reason it fails: what the app gets is the upstream's own answer."""
    upstream.answer = accepts()
    tokens = ScriptedTokens("old", error)
    async with Gate(upstream.url, tokens=tokens) as gate:
        answer = await gate.ask(request())
    assert answer.status == 401
    assert answer.body == b"no way"
    assert answer.field(b"proxy-status") == b'auth-sidecar; received-status=401; details="credential_unavailable"'


async def test_a_renewed_token_that_is_refused_too_stops_the_routes_renewals(upstream):
    upstream.answer = accepts()
    tokens = ScriptedTokens("a", "b", "c")
    async with Gate(upstream.url, tokens=tokens) as gate:
        assert (await gate.ask(request())).status == 401
        assert (await gate.ask(request())).status == 401
    assert tokens.refused == ["a"]
    assert len(upstream.requests) == 3


async def test_insufficient_scope_renews_nothing(upstream):
    upstream.answer = (
        b'HTTP/1.1 401 No\r\nWWW-Authenticate: Bearer error="insufficient_scope"\r\nContent-Length: 0\r\n\r\n'
    )
    tokens = ScriptedTokens("a", "b")
    async with Gate(upstream.url, tokens=tokens) as gate:
        assert (await gate.ask(request())).status == 401
    assert tokens.refused == []


async def test_a_rule_with_a_text_is_decided_by_the_body(upstream):
    upstream.script(b"HTTP/1.1 403 No\r\nContent-Length: 21\r\n\r\n", b'{"code":"TokenExpired', CLOSE)
    rules = (schema.RefreshRule(status=401), schema.RefreshRule(status=403, body_contains="TokenExpired"))
    tokens = ScriptedTokens("a", "b")
    async with Gate(upstream.url, tokens=tokens, route={"refresh_on": rules}) as gate:
        assert (await gate.ask(request())).status == 200
        upstream.answer = b"HTTP/1.1 403 No\r\nContent-Length: 4\r\n\r\nelse"
        assert (await gate.ask(request())).status == 403
    assert tokens.refused == ["a"]


@pytest.mark.parametrize(
    ("error", "status", "details"),
    [
        (CredentialUnavailable("down", retry_after=7), 503, b"credential_unavailable"),
        (CredentialRefused("no"), 502, b"credential_refused"),
    ],
)
async def test_without_a_token_nothing_is_sent_and_the_caller_is_told(upstream, error, status, details):
    async with Gate(upstream.url, tokens=ScriptedTokens(None, error)) as gate:
        answer = await gate.ask(request())
    assert answer.status == status
    assert details in (answer.field(b"proxy-status") or b"")
    assert answer.field(b"retry-after") == (b"7" if status == 503 else None)
    assert upstream.requests == []


async def test_a_body_that_comes_while_the_token_is_fetched_is_not_lost(upstream):
    tokens = ScriptedTokens(None, "late")
    tokens.gate.clear()
    body = bytes(range(256)) * 2048
    async with Gate(upstream.url, tokens=tokens) as gate, gate.client() as client:
        sending = asyncio.create_task(client.send(request("PUT", body=body)))
        while not tokens.waited:
            await asyncio.sleep(0)
        tokens.gate.set()
        await sending
        assert (await client.answer()).status == 200
    assert bytes(upstream.requests[0].body) == body


@pytest.mark.parametrize("method", ["GET", "HEAD", "PUT", "DELETE", "OPTIONS"])
async def test_a_kept_connection_that_died_is_replaced_for_idempotent_requests(upstream, method):
    """Row 46."""
    async with Gate(upstream.url) as gate, gate.client() as client:
        await client.ask(request())
        upstream.script(RESET)
        answer = await client.ask(request(method))
    assert answer.status == 200
    assert upstream.connections == 2
    assert gate.live_route.stats.retries == {"connection": 1}


async def test_a_post_on_a_kept_connection_that_died_is_never_sent_again(upstream):
    """Row 46."""
    async with Gate(upstream.url) as gate, gate.client() as client:
        await client.ask(request())
        upstream.script(RESET)
        answer = await client.ask(request("POST", body=b"once"))
    assert answer.status == 502
    assert b"connection_terminated" in (answer.field(b"proxy-status") or b"")
    assert len([one for one in upstream.requests if one.line.startswith(b"POST")]) == 1


async def test_a_fresh_connection_that_died_is_not_tried_again(upstream):
    """Row 46."""
    upstream.script(RESET)
    async with Gate(upstream.url) as gate:
        assert (await gate.ask(request())).status == 502
    assert len(upstream.requests) == 1


async def test_an_answer_cut_short_is_never_delivered_as_a_whole_one(upstream):
    """Row 28."""
    for octets in (
        b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n",
    ):
        upstream.script(octets, CLOSE)
        async with Gate(upstream.url) as gate, gate.client() as client:
            with pytest.raises((asyncio.IncompleteReadError, ConnectionResetError)):
                await client.ask(request())


async def test_an_answer_until_close_that_is_reset_is_not_a_whole_one(upstream):
    upstream.script(b"HTTP/1.1 200 OK\r\n\r\nabc", RESET)
    async with Gate(upstream.url) as gate, gate.client() as client:
        with pytest.raises((asyncio.IncompleteReadError, ConnectionResetError)):
            await client.ask(request())


async def test_an_answer_until_close_becomes_chunks_and_the_connection_is_kept(upstream):
    upstream.script(b"HTTP/1.1 200 OK\r\n\r\n", b"hello ", b"world", CLOSE)
    async with Gate(upstream.url) as gate, gate.client() as client:
        answer = await client.ask(request())
        assert answer.body == b"hello world"
        assert answer.field(b"transfer-encoding") == b"chunked"
        assert (await client.ask(request())).status == 200


async def test_an_http_1_0_app_gets_no_chunks_and_the_end_by_closing(upstream):
    upstream.script(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n")
    async with Gate(upstream.url) as gate:
        answer = await gate.ask(b"GET /crm HTTP/1.0\r\nHost: localhost\r\n\r\n")
    assert answer.body == b"hello"
    assert answer.field(b"transfer-encoding") is None
    assert answer.field(b"connection") == b"close"


async def test_trailers_pass_but_none_that_frames_or_authorizes(upstream):
    """Rows 1 and 35."""
    upstream.script(
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: X-Sum\r\n\r\n"
        b"2;ext=1\r\nab\r\n0\r\nX-Sum: 1\r\nContent-Length: 9\r\nSet-Cookie: no\r\n\r\n"
    )
    async with Gate(upstream.url) as gate:
        answer = await gate.ask(request())
    assert answer.body == b"ab"
    assert answer.raw.endswith(b"0\r\nX-Sum: 1\r\n\r\n")


async def test_a_head_request_keeps_the_length_and_has_no_body(upstream):
    upstream.script(b"HTTP/1.1 200 OK\r\nContent-Length: 5000\r\n\r\n")
    async with Gate(upstream.url) as gate, gate.client() as client:
        answer = await client.ask(request("HEAD"))
        assert answer.field(b"content-length") == b"5000"
        assert (await client.ask(request())).body == b"ok"


@pytest.mark.parametrize("status", [204, 304])
async def test_answers_without_a_body_do_not_hold_up_the_next(upstream, status):
    upstream.script(f"HTTP/1.1 {status} X\r\nETag: a\r\n\r\n".encode())
    async with Gate(upstream.url) as gate, gate.client() as client:
        answer = await client.ask(request())
        assert answer.status == status
        assert answer.field(b"transfer-encoding") is None
        assert (await client.ask(request())).body == b"ok"
    assert upstream.connections == 1


async def test_interim_answers_pass(upstream):
    """Row 35."""
    upstream.script(
        b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n", b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
    )
    async with Gate(upstream.url) as gate, gate.client() as client:
        first = await client.ask(request())
        assert first.raw == b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n"
        assert (await client.answer()).status == 200


async def test_an_early_answer_reaches_an_app_that_is_still_sending(upstream):
    """Row 37."""
    upstream.script(b"HTTP/1.1 413 Too large\r\nContent-Length: 3\r\n\r\nbig", CLOSE, READ)
    async with Gate(upstream.url) as gate, gate.client() as client:
        await client.send(b"POST /crm HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100000\r\n\r\n" + b"x" * 50_000)
        answer = await client.answer()
    assert answer.status == 413
    assert answer.field(b"connection") == b"close"


async def test_an_answer_that_does_not_come_is_504(upstream):
    """Row 55."""
    never = asyncio.Event()
    upstream.script(never)
    timeouts = replace(schema.RouteTimeouts(), response_header=schema.Duration(0.05))
    async with Gate(upstream.url, route={"timeouts": timeouts}) as gate:
        answer = await gate.ask(request())
    assert answer.status == 504
    assert b"http_response_timeout" in (answer.field(b"proxy-status") or b"")


async def test_an_answer_that_stalls_is_cut(upstream):
    never = asyncio.Event()
    upstream.script(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc", never)
    timeouts = replace(schema.RouteTimeouts(), idle=schema.Duration(0.05))
    async with Gate(upstream.url, route={"timeouts": timeouts}) as gate, gate.client() as client:
        with pytest.raises((asyncio.IncompleteReadError, ConnectionResetError)):
            await client.ask(request())


async def test_an_app_that_hangs_up_ends_the_upstream_request(upstream):
    upstream.script(ECHO)
    async with Gate(upstream.url) as gate:
        async with gate.client() as client:
            await client.send(request())
            await upstream.received()
            client.reset()
        await upstream.until(lambda: True if upstream.open_connections == 0 else None)
        assert gate.live_route.stats.in_flight == 0
    assert gate.live_route.stats.counts == {("GET", 499): 1}


async def test_an_app_that_half_closes_gets_its_answer(upstream):
    async with Gate(upstream.url) as gate, gate.client() as client:
        await client.send(request())
        client.writer.write_eof()
        answer = await client.answer()
        assert answer.status == 200
        assert await client.ended() == b""


async def test_an_upload_cut_short_by_the_app_is_cut_short_for_the_upstream(upstream):
    """Row 39."""
    async with Gate(upstream.url) as gate:
        async with gate.client() as client:
            await client.send(
                b"POST /crm HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n"
            )
            await upstream.until(lambda: True if upstream.requests and upstream.requests[0].body == b"abc" else None)
        await upstream.until(lambda: True if upstream.open_connections == 0 else None)
    assert not upstream.requests[0].complete


# ---- the table of phases ---------------------------------------------------------------------------------------------

NEVER = float("inf")
TIMEOUTS = schema.RouteTimeouts(response_header=schema.Duration(60), idle=schema.Duration(300))


class App:
    """An app connection as far as an exchange that stands still needs one."""

    closing = full = False
    now = 1000.0

    def __init__(self) -> None:
        self.deadline, self.flow = NEVER, SimpleNamespace(reasons=0)
        self.transport: Any = SimpleNamespace(write=self.told)
        self.private: dict[object, object] = {}
        self.wrote: list[bytes] = []
        self.refused: list[int] = []
        self.truncated: list[bool] = []
        self.takes = False

    def told(self, octets: bytes) -> None:
        self.wrote.append(octets)

    def reads(self) -> bool:
        return self.takes

    def refuse(self, error, head, route, readers) -> None:  # noqa: ARG002
        self.refused.append(error.status)

    def finished(self, *, truncated: bool) -> None:
        self.truncated.append(truncated)


def standing(phase: Phase, *, total: float | None = None) -> tuple[Any, Any]:
    """An exchange of an upload that has come to that phase by the table, and its app."""
    limits = schema.Limits(body_idle_timeout=schema.Duration(30))
    timeouts = replace(TIMEOUTS, total=schema.Duration(total) if total is not None else None)
    app, route = App(), live_route_of(timeouts=timeouts)
    context = SimpleNamespace(
        now=lambda: app.now, clock=SystemClock(), site=SimpleNamespace(limits=limits), in_flight=0, access=None,
        log_access=lambda *_: None,
    )  # fmt: skip
    head = head_of("Content-Length: 3", method="POST")
    exchange = Exchange(cast("Any", app), cast("Any", context), outgoing(route, head, route.request_body(head.fields)))
    for step in way_to(phase):
        exchange._enter(step)
    if phase is Phase.RELAY:
        exchange._relay = Relay(exchange.request, b"http", status=203, until_close=True)
    return exchange, app


def way_to(phase: Phase) -> list[Phase]:
    """The shortest, from TOKEN."""
    ways: list[list[Phase]] = [[Phase.TOKEN]]
    for way in ways:
        if way[-1] is phase:
            return way
        ways += [[*way, Phase[name]] for name in way[-1].leads_to if Phase[name] not in way]
    assert phase is Phase.DONE
    return [Phase.TOKEN]


def test_every_phase_is_reached_from_the_first_and_leads_to_phases_there_are():
    assert all(way_to(phase)[-1] in (phase, Phase.TOKEN) for phase in Phase)
    assert {name for phase in Phase for name in phase.leads_to} == {phase.name for phase in Phase} - {"DONE"}
    assert Phase.DONE.leads_to == []


SECONDS = {
    Phase.BODY: 30.0,
    Phase.CONTINUE: 1.0,
    Phase.UPLOAD: 30.0,
    Phase.RESPONSE: 60.0,
    Phase.REFUSED: 60.0,
    Phase.REWRITE: 300.0,
    Phase.RELAY: 300.0,
}


@pytest.mark.parametrize("phase", Phase)
@pytest.mark.parametrize("total", [None, 10.0, 1e6])
async def test_each_phase_has_its_time_and_no_more_than_is_left_of_all(phase, total):
    exchange, app = standing(phase, total=total)
    own = 1000.0 + SECONDS[phase] if phase in SECONDS else NEVER
    assert app.deadline == min(own, NEVER if total is None else 1000.0 + total)
    assert exchange.phase is (phase if phase is not Phase.DONE else Phase.TOKEN)


async def test_an_upstream_that_takes_no_more_has_the_time_of_an_idle_one():
    exchange, app = standing(Phase.UPLOAD)
    app.flow.reasons = UPSTREAM_FULL
    exchange._enter(Phase.UPLOAD)
    assert app.deadline == 1300.0


OVERDUE = {
    Phase.TOKEN: 504,
    Phase.BODY: 408,
    Phase.CONNECTION: 504,
    Phase.CONTINUE: 408,
    Phase.UPLOAD: 408,
    Phase.RESPONSE: 504,
    Phase.REFUSED: 408,
    Phase.RENEWAL: 504,
    Phase.REWRITE: 408,
}
"""By the status of the answer; of an upload of which the app is to send more."""


@pytest.mark.parametrize("phase", OVERDUE)
async def test_when_all_time_is_up_a_phase_ends_as_the_table_says(phase):
    exchange, app = standing(phase, total=10.0)
    app.now = 1010.0
    exchange.expire()
    assert app.refused == [OVERDUE[phase]]
    assert str(OVERDUE[phase]) in phase.overdue
    assert exchange.phase is Phase.DONE
    assert (exchange.request.route.stats.counts, exchange.context.in_flight) == ({("POST", OVERDUE[phase]): 1}, 0)
    exchange.expire()
    assert app.truncated == [False], "it has ended once"


@pytest.mark.parametrize("phase", [phase for phase in OVERDUE if "504" in phase.overdue])
async def test_it_is_not_the_apps_fault_that_the_upstream_takes_no_more(phase):
    exchange, app = standing(phase, total=10.0)
    app.now, app.flow.reasons = 1010.0, UPSTREAM_FULL
    exchange.expire()
    assert app.refused == [504]


@pytest.mark.parametrize("takes", [True, False])
@pytest.mark.parametrize("total", [None, 10.0])
async def test_an_answer_is_cut_when_its_time_is_up_but_not_while_the_app_reads_it(takes, total):
    exchange, app = standing(Phase.RELAY, total=total)
    app.now, app.takes = 1300.0, takes
    exchange.expire()
    if takes and total is None:
        assert (exchange.phase, app.deadline) == (Phase.RELAY, 1600.0)
        return
    assert exchange.phase is Phase.DONE
    assert (app.refused, app.truncated, app.closing) == ([], [True], True)
    assert exchange.request.route.stats.counts == {("POST", 203): 1}


async def test_consent_that_does_not_come_is_given_here():
    exchange, app = standing(Phase.CONTINUE)
    app.now = 1001.0
    exchange.expire()
    assert app.wrote == [b"HTTP/1.1 100 Continue\r\n\r\n"]
    assert (exchange.phase, app.deadline) == (Phase.UPLOAD, 1031.0)


async def test_a_refusal_that_does_not_end_is_decided(monkeypatch):
    exchange, app = standing(Phase.REFUSED)
    decided = []
    monkeypatch.setattr(Exchange, "_judge", lambda _, *, at_last: decided.append(at_last))
    app.now = 1060.0
    exchange.expire()
    assert decided == [True]


@pytest.mark.parametrize("phase", Phase)
async def test_whatever_comes_when_it_is_over_changes_nothing(phase):
    exchange, app = standing(phase)
    exchange.abandon()
    before = (dict(exchange.request.route.stats.counts), list(app.truncated), list(app.refused))
    exchange.abandon()
    exchange.fail(CredentialUnavailable("late"))
    exchange.broken(CredentialUnavailable("late"))
    exchange.not_connected(CredentialUnavailable("late"))
    exchange._token_came(Token(access_token="late"))
    exchange._token_failed(CredentialUnavailable("late"))
    exchange.body_came([b"late"])
    exchange.expire()
    assert (dict(exchange.request.route.stats.counts), list(app.truncated), list(app.refused)) == before
    assert exchange.phase is Phase.DONE
