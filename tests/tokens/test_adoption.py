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
from proxy.tokens.adoption import adopt, look
from proxy.tokens.cache import TokenCache
from proxy.tokens.grant_record import GrantRecord
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


@pytest.fixture
def processes(tmp_path):
    """Two managers of the same credential, each with a store of its own over one directory."""
    clock = FakeClock()

    def process() -> TokenManager:
        return TokenManager(
            "crm",
            PlayedSource(clock),
            store=FileTokenStore(tmp_path, Envelope(), clock),
            clock=clock,
            cache=TokenCache(clock),
            scheduler=RefreshScheduler(clock),
            refresh=Refresh(eager=False),
            renews=False,
        )

    return process(), process()


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

    other: GrantRecord | None = None

    async def save(self, name: str, grant: Grant) -> bool:
        if self.other is not None:
            other, self.other = self.other, None
            await other.read()
            await adopt(other, pushed_at(99), self._clock, lambda: None)
        return await super().save(name, grant)


async def test_whoever_is_overtaken_while_saving_is_compared_again(tmp_path):
    clock, told = FakeClock(), []
    store = Overtaken(tmp_path, Envelope(), clock)
    ours, theirs = GrantRecord("crm", store), GrantRecord("crm", FileTokenStore(tmp_path, Envelope(), clock))
    await adopt(ours, pushed_at(10), clock, lambda: None)
    store.other = theirs
    with pytest.raises(TooOldError):
        await adopt(ours, pushed_at(50), clock, lambda: told.append(1), refuse=unless_older(pushed_at(50)))
    assert ours.grant.access_token == theirs.grant.access_token == "of 99"
    assert told == [1]


async def test_a_refusal_by_what_is_known_anyway_tells_nobody_anything(tmp_path):
    clock, told = FakeClock(), []
    record = GrantRecord("crm", FileTokenStore(tmp_path, Envelope(), clock))
    await adopt(record, pushed_at(10), clock, lambda: None)
    with pytest.raises(TooOldError):
        await adopt(record, pushed_at(5), clock, lambda: told.append(1), refuse=unless_older(pushed_at(5)))
    assert told == []


async def test_a_look_tells_of_what_another_process_saved_and_of_nothing_else(tmp_path):
    clock, told = FakeClock(), []
    ours, theirs = (GrantRecord("crm", FileTokenStore(tmp_path, Envelope(), clock)) for _ in range(2))
    await adopt(theirs, pushed_at(10), clock, lambda: None)
    for _ in range(2):
        await look(ours, lambda: told.append(ours.grant.access_token))
    assert told == ["of 10"]


class Down(FileTokenStore):
    async def load(self, name: str) -> Grant | None:  # noqa: ARG002 - the interface
        raise StoreError("down", degrade=False)


async def test_where_the_store_is_a_must_nothing_is_taken_without_it(tmp_path):
    clock = FakeClock()
    record = GrantRecord("crm", Down(tmp_path, Envelope(), clock))
    with pytest.raises(CredentialUnavailable):
        await adopt(record, pushed_at(10), clock, lambda: None)
    assert record.grant.access_token is None
