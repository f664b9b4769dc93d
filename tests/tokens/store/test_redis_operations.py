"""One command: what is sent again, what is certain afterwards, what is told."""

from __future__ import annotations

import asyncio
from collections import deque
from typing import Any

import pytest
from redis import exceptions
from support.clock import FakeClock

from proxy.tokens.store.failures import StoreFailures
from proxy.tokens.store.redis_client import NotSentError
from proxy.tokens.store.redis_operations import RedisOperations
from proxy.tokens.store.token_store import StoreError


class PlayedClient:
    """Answers what a test has put into `script`."""

    def __init__(self) -> None:
        self.script: deque[Any] = deque()
        self.sent: list[tuple[str | int, ...]] = []

    async def execute(self, *words: str | int) -> Any:
        self.sent.append(words)
        result = self.script.popleft()
        if isinstance(result, asyncio.Event):
            await result.wait()
        if isinstance(result, BaseException):
            raise result
        return result

    async def subscription(self) -> Any:
        raise AssertionError

    async def close(self) -> None:
        pass


@pytest.fixture
def client():
    return PlayedClient()


@pytest.fixture
def operations(client):
    return RedisOperations(client, "a:1", FakeClock(), StoreFailures(), timeout=5, hops=2)


def refused() -> NotSentError:
    error = NotSentError()
    error.__cause__ = exceptions.ConnectionError("Error 111 connecting")
    return error


LOST = exceptions.ConnectionError("Connection closed by server.")
DENIED = exceptions.NoPermissionError("no permissions")
LATE = exceptions.TimeoutError("Timeout reading")


async def test_an_answer_is_given_back(operations, client):
    client.script.append(b"OK")
    assert await operations.run("read", "GET", "a") == b"OK"
    assert client.sent == [("GET", "a")]


@pytest.mark.parametrize("first", [LOST, refused(), OSError(104, "reset")], ids=str)
async def test_a_lost_connection_is_replaced_once(operations, client, first):
    client.script += [first, b"OK"]
    assert await operations.run("read", "GET", "a") == b"OK"
    assert (len(client.sent), operations.failures.errors) == (2, 0)


@pytest.mark.parametrize(
    ("script", "sent", "unchanged"),
    [
        ([refused(), refused()], 2, True),
        ([LOST, refused()], 2, False),
        ([refused(), LOST], 2, False),
        ([LOST, LOST], 2, False),
        ([LATE], 1, False),
        ([DENIED], 1, True),
        ([LOST, DENIED], 2, False),
        ([exceptions.AuthenticationError("no")], 1, False),
        ([TimeoutError()], 1, False),
    ],
)
async def test_it_is_known_whether_anything_may_have_changed(operations, client, script, sent, unchanged):
    client.script += script
    with pytest.raises(StoreError) as failure:
        await operations.run("write", "SET", "a", "b")
    assert len(client.sent) == sent
    assert (failure.value.unchanged, failure.value.cut_off, failure.value.degrade) == (unchanged, True, True)
    assert str(failure.value).startswith("Redis at a:1: ")


async def test_a_failure_is_logged_once_until_it_is_over(operations, client, caplog):
    caplog.set_level("INFO")
    for _ in range(3):
        client.script.append(DENIED)
        with pytest.raises(StoreError):
            await operations.run("read", "GET", "a")
    client.script += [b"x", b"y"]
    await operations.run("read", "GET", "a")
    await operations.run("read", "GET", "a")
    assert [record.levelname for record in caplog.records] == ["ERROR", "INFO"]
    assert (operations.failures.errors, operations.failures.last) == (3, None)


async def test_a_server_that_is_gone_is_told_once_whatever_is_asked_of_it(operations, client, caplog):
    caplog.set_level("INFO")
    for use, lost in (("read", LATE), ("write", TimeoutError()), ("take a lease", LATE)):
        client.script.append(lost)
        with pytest.raises(StoreError):
            await operations.run(use, "GET", "a")
    client.script += [b"x", b"y"]
    await operations.run("read", "GET", "a")
    await operations.run("write", "GET", "a")
    assert [record.levelname for record in caplog.records] == ["ERROR", "INFO"]
    assert (operations.failures.errors, operations.failures.last) == (3, None)


async def test_a_value_of_another_type_is_about_the_key_and_not_about_the_server(operations, client):
    client.script.append(exceptions.ResponseError("WRONGTYPE Operation against a key"))
    with pytest.raises(StoreError, match="no record of ours") as failure:
        await operations.run("read", "GET", "a")
    assert not failure.value.cut_off
    assert operations.failures.last is None


async def test_a_server_that_never_answers_is_left_after_a_while(client):
    operations = RedisOperations(client, "a:1", FakeClock(), StoreFailures(), timeout=0.01, degrade=False)
    client.script.append(asyncio.Event())
    with pytest.raises(StoreError, match="no answer in time") as failure:
        await operations.run("read", "GET", "a")
    assert not failure.value.degrade


async def test_whoever_hangs_up_ends_the_command(operations, client):
    client.script.append(asyncio.Event())
    asking = asyncio.create_task(operations.run("read", "GET", "a"))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    asking.cancel()
    await asyncio.wait((asking,))
    assert asking.cancelled()
