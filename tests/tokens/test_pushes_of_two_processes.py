"""What stands against a token from outside, where several processes may take one: here two stores over one directory.

Neither of them watches, so each process knows only what it has been told.
"""

from __future__ import annotations

import pytest
from support.clock import FakeClock
from support.managed import PlayedSource

from proxy.config.schema import Refresh
from proxy.errors import CredentialUnavailable, GenerationMismatch
from proxy.model import Token
from proxy.tokens.cache import TokenCache
from proxy.tokens.issuer_errors import GrantRefused
from proxy.tokens.manager import TokenManager
from proxy.tokens.refresh_scheduler import RefreshScheduler
from proxy.tokens.store.envelope import Envelope
from proxy.tokens.store.file import FileTokenStore
from proxy.tokens.store.token_store import Grant, StoreError
from proxy.tokens.token_response import TokenResponse


class TooOldError(GrantRefused):
    """What a test says against a token."""


def pushed_at(issued: float, name: str | None = None) -> TokenResponse:
    token = Token(access_token=name or f"of {issued:g}", issued_wall=issued, lifetime=1e6)
    return TokenResponse(token)


def unless_older(came: TokenResponse):
    def refuse(held: Token) -> None:
        if came.token.issued_wall < held.issued_wall:
            raise TooOldError("older")

    return refuse


def process(clock: FakeClock, store: FileTokenStore) -> TokenManager:
    return TokenManager(
        "crm",
        PlayedSource(clock),
        store=store,
        clock=clock,
        cache=TokenCache(clock),
        scheduler=RefreshScheduler(clock),
        refresh=Refresh(eager=False),
        renews=False,
    )


@pytest.fixture
def processes(tmp_path):
    """Two managers of the same credential, each with a store of its own over one directory."""
    clock = FakeClock()
    one, two = (process(clock, FileTokenStore(tmp_path, Envelope(), clock)) for _ in range(2))
    return one, two


async def test_a_token_that_is_older_than_what_the_other_process_saved_is_refused(processes):
    one, two = processes
    await one.adopt(pushed_at(10))
    await two.adopt(pushed_at(20))
    await one.adopt(pushed_at(30), refuse=unless_older(pushed_at(30)))
    with pytest.raises(TooOldError):
        await two.adopt(pushed_at(25), refuse=unless_older(pushed_at(25)))
    assert [manager.held().access_token for manager in processes] == ["of 30", "of 30"]
    assert two.ready().access_token == "of 30", "what stood against it is what is sent from now on"


async def test_the_very_same_token_is_refused_too_once_the_other_process_has_saved_a_newer_one(processes):
    one, two = processes
    await one.adopt(pushed_at(10))
    await two.adopt(pushed_at(20))
    with pytest.raises(TooOldError):
        await one.adopt(pushed_at(10), refuse=unless_older(pushed_at(10)))


async def test_a_generation_is_that_of_the_store(processes):
    one, two = processes
    await one.adopt(pushed_at(10))
    assert (await two.adopt(pushed_at(20), 1)).generation == 2
    with pytest.raises(GenerationMismatch):
        await one.adopt(pushed_at(30), 1)
    assert one.held().access_token == "of 20"
    assert (await one.adopt(pushed_at(30), 2)).generation == 3


class Overtaken(FileTokenStore):
    """Another process saves between our look at the record and our saving it."""

    other: TokenManager | None = None

    async def save(self, name: str, grant: Grant) -> bool:
        if self.other is not None:
            other, self.other = self.other, None
            await other.look()
            await other.adopt(pushed_at(99))
        return await super().save(name, grant)


async def test_whoever_is_overtaken_while_saving_is_compared_again(tmp_path):
    clock = FakeClock()
    store = Overtaken(tmp_path, Envelope(), clock)
    ours, theirs = process(clock, store), process(clock, FileTokenStore(tmp_path, Envelope(), clock))
    await ours.adopt(pushed_at(10))
    store.other = theirs
    with pytest.raises(TooOldError):
        await ours.adopt(pushed_at(50), refuse=unless_older(pushed_at(50)))
    assert ours.held().access_token == theirs.held().access_token == "of 99"


async def test_a_refusal_by_what_is_known_anyway_changes_nothing(processes):
    one, _ = processes
    await one.adopt(pushed_at(10))
    held = one.held()
    with pytest.raises(TooOldError):
        await one.adopt(pushed_at(5), refuse=unless_older(pushed_at(5)))
    assert one.held() is held


async def test_a_look_takes_up_what_another_process_saved(processes):
    one, two = processes
    await two.adopt(pushed_at(10))
    assert one.held() is None
    await one.look()
    held = one.held()
    assert held.access_token == "of 10"
    await one.look()
    assert one.held() is held


class Down(FileTokenStore):
    async def load(self, name: str) -> Grant | None:  # noqa: ARG002 - the interface
        raise StoreError("down", degrade=False)


async def test_where_the_store_is_a_must_nothing_is_taken_without_it(tmp_path):
    clock = FakeClock()
    one = process(clock, Down(tmp_path, Envelope(), clock))
    with pytest.raises(CredentialUnavailable):
        await one.adopt(pushed_at(10))
    assert one.held() is None
