"""Secrets that commands print where nobody can wait."""

from __future__ import annotations

import asyncio

import pytest
from support.clock import FakeClock, settle

from proxy.assembly.printed_secret import PrintedSecret
from proxy.config.schema import Duration, Secret
from proxy.errors import ConfigurationError, CredentialUnavailable
from proxy.tokens.secret import CommandSecret


class Played:
    """A live secret whose readings a test plays."""

    changes = 0

    def __init__(self) -> None:
        self.value: str | None = None
        self.next: list[str | Exception] = []
        self.gate = asyncio.Event()
        self.gate.set()

    def ready(self) -> str | None:
        return self.value

    async def read(self, *, anew: bool = False) -> str:  # noqa: ARG002 - the interface
        await self.gate.wait()
        found = self.next.pop(0)
        if isinstance(found, Exception):
            raise found
        self.value = found
        return found


async def test_it_is_read_before_anything_is_served():
    secret = Played()
    secret.next = ["first"]
    printed = PrintedSecret("callers.bearer", secret)
    await printed.start()
    assert printed.current() == "first"
    await printed.stop()


async def test_a_command_that_fails_at_the_start_is_named_by_its_place():
    secret = Played()
    secret.next = [CredentialUnavailable("A command failed")]
    with pytest.raises(ConfigurationError, match=r"callers\.bearer: A command failed"):
        await PrintedSecret("callers.bearer", secret).start()


async def test_an_old_value_serves_while_the_command_runs_again_once():
    secret = Played()
    secret.next = ["first", "second"]
    printed = PrintedSecret("x", secret)
    await printed.start()
    secret.value = None
    secret.gate.clear()
    assert [printed.current() for _ in range(3)] == ["first"] * 3
    secret.gate.set()
    await settle()
    assert printed.current() == "second"
    assert secret.next == []


async def test_a_command_that_fails_later_leaves_the_last_value():
    secret = Played()
    secret.next = ["first", CredentialUnavailable("no"), "third"]
    printed = PrintedSecret("x", secret)
    await printed.start()
    secret.value = None
    assert printed.current() == "first"
    await settle()
    assert printed.current() == "first"
    await settle()
    assert printed.current() == "third"


async def test_stopping_ends_a_command_that_runs():
    secret = Played()
    secret.next = ["first"]
    printed = PrintedSecret("x", secret)
    await printed.start()
    secret.value = None
    secret.gate.clear()
    printed.current()
    await printed.stop()
    assert "first" not in repr(printed)


async def test_a_real_command_is_run_again_when_its_output_is_too_old():
    clock = FakeClock()
    printed = PrintedSecret("x", CommandSecret(Secret(exec=("echo", "word"), ttl=Duration(60)), clock))
    await printed.start()
    assert printed.current() == "word"
    await clock.advance(61)
    assert printed.current() == "word"
    await printed.stop()


async def test_a_mistake_in_one_run_of_the_command_does_not_end_the_others(caplog):
    secret = Played()
    secret.next = ["first", KeyError("s3cret"), "second"]
    printed = PrintedSecret("callers.bearer", secret)
    await printed.start()
    secret.value = None
    for _ in range(2):
        assert printed.current() == "first"
        await settle()
    assert printed.current() == "second"
    assert "internal error while callers.bearer was read, please report: KeyError" in caplog.text
    assert "s3cret" not in caplog.text
    await printed.stop()
