"""What is done about a refused token: its predecessor, its successor, or nothing, and what the route makes of it."""

from __future__ import annotations

import asyncio
from typing import Any, Literal

import pytest
from support.clock import FakeClock
from support.front import Gate, ScriptedTokens, request
from support.recording_upstream import Received

from proxy.config import schema
from proxy.model import Answer, Field, Request, Token, Verdict

UNAUTHORIZED = (
    b'HTTP/1.1 401 Unauthorized\r\nWWW-Authenticate: Bearer error="invalid_token"\r\nContent-Length: 6\r\n\r\nno way'
)
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


def accepts(*good: str):
    """An API that takes these tokens; the list may change."""

    def answer(received: Received):
        sent = (received.field(b"authorization") or b"").decode().removeprefix("Bearer ")
        return (OK,) if sent in good else (UNAUTHORIZED,)

    return answer


class Generations(ScriptedTokens):
    """Renewals without end; each token is one generation newer than the one before."""

    def __init__(self, *, young: bool = False) -> None:
        super().__init__(None)
        self.token: Token = token(2 if young else 1)  # type: ignore[assignment]
        self.before = token(1) if young else None

    async def renew(self, refused: Token) -> Token:
        await asyncio.sleep(0)
        if self.token.generation == refused.generation:
            self.refused.append(refused.access_token)
            self.token, self.before = token(self.token.generation + 1), None
        return self.token


def token(generation: int) -> Token:
    return Token(access_token=f"at-{generation}", generation=generation)


def sent(upstream) -> list[str]:
    return [(one.field(b"authorization") or b"").decode().removeprefix("Bearer ") for one in upstream.requests]


async def settled(gate: Gate) -> None:
    """Until no renewal is under way in the background."""
    async with asyncio.timeout(10):
        while gate.front._waiting:
            await asyncio.sleep(0)


# ---- very young tokens -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("body", [b"", b"x" * 2048])
async def test_a_very_young_token_that_is_refused_is_replaced_by_its_predecessor_and_nothing_is_renewed(upstream, body):
    upstream.answer = accepts("at-1")
    tokens = Generations(young=True)
    async with Gate(upstream.url, tokens=tokens) as gate:
        for _ in range(4):
            assert (await gate.ask(request("POST", body=body))).status == 200
        assert gate.live_route.stats.retries == {"predecessor": 4}
    assert sent(upstream) == ["at-2", "at-1"] * 4
    assert [bytes(one.body) for one in upstream.requests] == [body] * 8
    assert tokens.refused == []


async def test_where_the_predecessor_is_refused_too_the_young_token_is_renewed(upstream):
    upstream.answer = accepts("at-3")
    tokens = Generations(young=True)
    async with Gate(upstream.url, tokens=tokens) as gate:
        answers = await asyncio.gather(*(gate.ask(request()) for _ in range(20)))
    assert {answer.status for answer in answers} == {200}
    assert tokens.refused == ["at-2"], "a burst costs one renewal"
    assert sent(upstream)[-1] == "at-3"


async def test_where_the_renewed_token_is_refused_as_well_the_routes_renewals_stop(upstream):
    upstream.answer = accepts()
    tokens = Generations(young=True)
    async with Gate(upstream.url, tokens=tokens) as gate:
        assert (await gate.ask(request())).status == 401
        assert sent(upstream) == ["at-2", "at-1", "at-3"]
        for _ in range(5):
            assert (await gate.ask(request())).status == 401
    assert tokens.refused == ["at-2"]
    assert len(upstream.requests) == 8


@pytest.mark.parametrize(("attempts", "tried"), [(1, ["at-2"]), (2, ["at-2", "at-1"]), (3, ["at-2", "at-1", "at-3"])])
async def test_the_repeat_with_the_predecessor_counts_within_max_attempts(upstream, attempts, tried):
    upstream.answer = accepts()
    tokens = Generations(young=True)
    async with Gate(upstream.url, tokens=tokens, route={"retry": schema.Retry(max_attempts=attempts)}) as gate:
        assert (await gate.ask(request())).status == 401
        await settled(gate)
    assert sent(upstream) == tried
    assert tokens.refused == ([] if attempts == 1 else ["at-2"])


@pytest.mark.parametrize(
    ("retry", "body"),
    [
        (schema.Retry(on_unauthorized=False), b""),
        (schema.Retry(max_attempts=1), b""),
        (schema.Retry(buffer=schema.Size(16)), b"y" * 5000),
    ],
)
async def test_a_request_that_cannot_be_repeated_gets_the_refusal_of_a_young_token_and_renews_nothing(
    upstream, retry, body
):
    upstream.answer = accepts("at-1")
    tokens = Generations(young=True)
    async with Gate(upstream.url, tokens=tokens, route={"retry": retry}) as gate:
        assert (await gate.ask(request("POST", body=body))).status == 401
        await settled(gate)
    assert tokens.refused == []


async def test_a_refusal_that_says_nothing_against_the_token_sends_no_predecessor(upstream):
    upstream.answer = (
        b'HTTP/1.1 401 No\r\nWWW-Authenticate: Bearer error="insufficient_scope"\r\nContent-Length: 0\r\n\r\n'
    )
    async with Gate(upstream.url, tokens=Generations(young=True)) as gate:
        assert (await gate.ask(request())).status == 401
    assert sent(upstream) == ["at-2"]


# ---- nonces ----------------------------------------------------------------------------------------------------------


class Nonces:
    """A scheme whose first refusal of each request asks for a nonce."""

    writes = (b"authorization",)
    parameters: tuple[bytes, ...] = ()
    wants_body: Literal["none"] = "none"
    places = learns = constant = False

    def place(self, request: Request, token: Token, moment: object) -> Request:  # noqa: ARG002 - the interface
        return request

    def sign(self, request: Request, token: Token, moment: object) -> list[Field]:  # noqa: ARG002 - the interface
        return [(b"Authorization", b"Bearer " + token.access_token.encode())]

    def judge(self, request: Request, answer: Answer, signed: object = ()) -> Verdict:  # noqa: ARG002 - the interface
        if any(name.lower() == b"dpop-nonce" for name, _ in answer.fields):
            return Verdict.RESIGN
        return Verdict.RENEW if answer.status == 401 else Verdict.PASS


@pytest.mark.parametrize("attempts", [1, 2, 3])
async def test_a_nonce_does_not_count_as_an_attempt(upstream, attempts):
    upstream.script(UNAUTHORIZED.replace(b"Content-Length", b"DPoP-Nonce: n\r\nContent-Length"))
    upstream.answer = accepts("at-2")
    tokens = Generations()
    route = {"retry": schema.Retry(max_attempts=attempts)}
    nonces: Any = Nonces()
    async with Gate(upstream.url, tokens=tokens, scheme=nonces, route=route) as gate:
        status = (await gate.ask(request())).status
        await settled(gate)
    assert sent(upstream) == ["at-1", "at-1"] + (["at-2"] if attempts > 1 else [])
    assert status == (200 if attempts > 1 else 401)


# ---- the route's hold ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("retry", "body"),
    [
        (schema.Retry(on_unauthorized=False), b""),
        (schema.Retry(max_attempts=1), b""),
        (schema.Retry(buffer=schema.Size(16)), b"y" * 5000),
        (schema.Retry(), b""),
    ],
)
async def test_whoever_began_the_renewals_an_api_that_refuses_everything_costs_one_and_then_one_for_each_hold(
    upstream, retry, body
):
    upstream.answer = accepts()
    tokens, clock = Generations(), FakeClock()
    async with Gate(upstream.url, tokens=tokens, clock=clock, route={"retry": retry}) as gate:
        for renewal_hold, hold in enumerate((30, 60, 120, 240, 480, 600, 600), 1):
            for _ in range(6):
                assert (await gate.ask(request("POST", body=body))).status == 401
                await settled(gate)
            assert len(tokens.refused) == renewal_hold
            clock.suspend(hold - 1)
            assert (await gate.ask(request("POST", body=body))).status == 401
            await settled(gate)
            assert len(tokens.refused) == renewal_hold
            clock.suspend(1.1)


async def test_thirty_refusals_at_once_cost_one_renewal_though_nobody_waits_for_it(upstream):
    upstream.answer = accepts()
    tokens = Generations()
    async with Gate(upstream.url, tokens=tokens, route={"retry": schema.Retry(on_unauthorized=False)}) as gate:
        for _ in range(3):
            await asyncio.gather(*(gate.ask(request()) for _ in range(30)))
            await settled(gate)
    assert tokens.refused == ["at-1"]


async def test_a_hold_ends_with_the_first_request_whose_token_is_accepted(upstream):
    upstream.answer = accepts()
    tokens = Generations()
    async with Gate(upstream.url, tokens=tokens) as gate:
        assert (await gate.ask(request())).status == 401
        upstream.answer = accepts("at-2")
        assert (await gate.ask(request())).status == 200
        assert not gate.live_route.renewal_hold.watching
        upstream.answer = accepts("at-3")
        assert (await gate.ask(request())).status == 200
    assert tokens.refused == ["at-1", "at-2"]


async def test_a_hold_does_not_end_with_an_answer_that_says_nothing_of_the_token(upstream):
    upstream.answer = accepts()
    tokens = Generations()
    async with Gate(upstream.url, tokens=tokens) as gate:
        assert (await gate.ask(request())).status == 401
        upstream.script(b"HTTP/1.1 503 Busy\r\nContent-Length: 0\r\n\r\n")
        assert (await gate.ask(request())).status == 503
        assert (await gate.ask(request())).status == 401
    assert tokens.refused == ["at-1"]


async def test_each_route_has_a_hold_of_its_own(upstream):
    upstream.answer = accepts()
    tokens = Generations()
    more = ({"match": schema.Match(path="/other")},)
    async with Gate(upstream.url, tokens=tokens, more_routes=more) as gate:
        assert (await gate.ask(request())).status == 401
        assert (await gate.ask(request())).status == 401
        assert (await gate.ask(request(target="/other/x"))).status == 401
        assert (await gate.ask(request(target="/other/x"))).status == 401
    assert tokens.refused == ["at-1", "at-2"]
