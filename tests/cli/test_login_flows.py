"""Polling for a device's token, by a fake clock; which way a person is asked."""

from __future__ import annotations

import asyncio
from itertools import pairwise
from types import SimpleNamespace
from typing import Any

import pytest
from support.clock import FakeClock

from proxy.cli.login_flows import LoginError, has_browser_flow, polled
from proxy.errors import CredentialError, CredentialRefused, CredentialUnavailable
from proxy.model import Token
from proxy.tokens.device_authorization import device_authorization
from proxy.tokens.token_response import TokenResponse

GIVEN = device_authorization(
    {"device_code": "d", "user_code": "u", "verification_uri": "https://x", "interval": 5, "expires_in": 100}
)
TOKEN = TokenResponse(Token(access_token="t"), "r")


def error(kind: type[CredentialError], code: str | None) -> CredentialError:
    made = kind("it said so")
    made.code = code
    return made


PENDING = error(CredentialUnavailable, "authorization_pending")
SLOWER = error(CredentialUnavailable, "slow_down")
LOST = error(CredentialUnavailable, None)


class Source:
    def __init__(self, clock, *answers):
        self.clock = clock
        self.answers = list(answers)
        self.asked: list[float] = []

    async def fetch(self, _previous):
        self.asked.append(self.clock.elapsed())
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer


async def run(clock, source, within=1000.0):
    task = asyncio.create_task(polled(source, GIVEN, clock, within))
    while not task.done():
        await clock.advance(1.0)
    return await task


@pytest.mark.parametrize(
    ("answers", "gaps"),
    [
        ((TOKEN,), [5]),
        ((PENDING, PENDING, TOKEN), [5, 5, 5]),
        ((PENDING, SLOWER, PENDING, TOKEN), [5, 5, 10, 10]),
        ((LOST, PENDING, TOKEN), [5, 10, 10]),
    ],
)
async def test_the_server_is_asked_as_often_as_it_wants(answers, gaps):
    clock = FakeClock()
    start = clock.elapsed()
    source = Source(clock, *answers)
    assert await run(clock, source) is TOKEN
    times = [start, *source.asked]
    assert [round(later - earlier) for earlier, later in pairwise(times)] == gaps


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (error(CredentialRefused, "access_denied"), "said no"),
        (error(CredentialRefused, "expired_token"), "in time"),
    ],
)
async def test_a_decision_against_it_ends_it(answer, message):
    clock = FakeClock()
    with pytest.raises(LoginError, match=message):
        await run(clock, Source(clock, answer))


async def test_another_refusal_is_told_as_it_is():
    clock = FakeClock()
    with pytest.raises(CredentialRefused, match="it said so"):
        await run(clock, Source(clock, error(CredentialRefused, "invalid_client")))


@pytest.mark.parametrize("within", [1000.0, 30.0])
async def test_the_codes_end_and_so_does_patience(within):
    clock = FakeClock()
    source = Source(clock, *[PENDING] * 50)
    with pytest.raises(LoginError, match="in time"):
        await run(clock, source, within)
    assert len(source.asked) == (19 if within > 100 else 5)


@pytest.mark.parametrize(
    ("authorization", "device", "metadata", "expected"),
    [
        ("https://a", None, None, True),
        ("https://a", "https://d", None, True),
        (None, "https://d", "https://a", False),
        (None, None, "https://a", True),
        (None, None, None, False),
    ],
)
async def test_a_browser_is_used_where_it_is_known_where_to_send_it(authorization, device, metadata, expected):
    async def says(_name):
        return metadata

    config = SimpleNamespace(authorization_endpoint=authorization, device_authorization_endpoint=device)
    source: Any = SimpleNamespace(config=config, says=says)
    assert await has_browser_flow(source) is expected
