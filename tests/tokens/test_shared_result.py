from __future__ import annotations

import asyncio
from typing import Any

import pytest
from support.clock import settle

from proxy.errors import CredentialRefused, CredentialUnavailable
from proxy.model import Token
from proxy.tokens.issuer_errors import GrantRefused, ReplyLost
from proxy.tokens.shared_result import SharedResult, again, bare

TOKEN = Token(access_token="t")


async def test_what_comes_wakes_everyone():
    shared = SharedResult()
    waiting = [asyncio.create_task(shared.wait(5)) for _ in range(50)]
    await settle()
    shared.publish(TOKEN)
    assert all(token is TOKEN for token in await asyncio.gather(*waiting))


async def test_a_failure_is_shared_and_everyone_gets_an_exception_of_their_own():
    shared = SharedResult()
    waiting = [asyncio.create_task(shared.wait(5)) for _ in range(3)]
    await settle()
    shared.publish(CredentialUnavailable("down", retry_after=7))
    errors: list[Any] = await asyncio.gather(*waiting, return_exceptions=True)
    assert [(type(error), error.detail, error.retry_after) for error in errors] == [
        (CredentialUnavailable, "down", 7)
    ] * 3
    assert len({id(error) for error in errors}) == 3


async def test_a_caller_who_hangs_up_disturbs_nobody():
    shared = SharedResult()
    first, second = asyncio.create_task(shared.wait(5)), asyncio.create_task(shared.wait(5))
    await settle()
    first.cancel()
    await settle()
    shared.publish(TOKEN)
    assert await second is TOKEN
    assert first.cancelled()


async def test_patience_ends():
    with pytest.raises(CredentialUnavailable, match="in time"):
        await SharedResult().wait(0.001)
    with pytest.raises(CredentialUnavailable, match="in time"):
        await SharedResult().wait(-1)


async def test_what_comes_for_nobody_is_not_kept():
    shared = SharedResult()
    shared.publish(CredentialRefused("no"))
    shared.publish(TOKEN)
    with pytest.raises(CredentialUnavailable, match="in time"):
        await shared.wait(0.001)


async def test_a_failure_that_nobody_waits_for_any_more_is_no_noise():
    shared = SharedResult()
    task = asyncio.create_task(shared.wait(5))
    await settle()
    task.cancel()
    await settle()
    shared.publish(CredentialRefused("no"))


def test_an_error_keeps_its_kind_for_the_next_caller():
    assert type(again(GrantRefused("g"))) is GrantRefused
    assert type(again(CredentialRefused("r"))) is CredentialRefused
    error = again(ReplyLost("l", retry_after=3), 9.2)
    assert (type(error), error.detail, getattr(error, "retry_after", None)) == (CredentialUnavailable, "l", 10)


def test_an_error_that_is_remembered_remembers_nothing_of_the_way_it_came():
    def fail() -> None:
        try:
            float("down")
        except ValueError:
            raise CredentialUnavailable("The issuer is down", retry_after=7) from None

    with pytest.raises(CredentialUnavailable) as caught:
        fail()
    error = bare(caught.value)
    assert error is caught.value
    assert (error.__traceback__, error.__context__, error.__cause__) == (None, None, None)
    assert (error.detail, error.retry_after) == ("The issuer is down", 7)
