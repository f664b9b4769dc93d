"""A save that failed may have happened: what becomes of a rotating grant while a store fails in every way it can.

The issuer here takes a refresh token once: a second time it withdraws the grant.
"""

from __future__ import annotations

import asyncio
import errno
import os

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import structs
from support.clock import FakeClock

from proxy.clock import SystemClock
from proxy.errors import CredentialUnavailable
from proxy.model import Token
from proxy.tokens.edits import mark_sent, pushed, same
from proxy.tokens.grant_record import GrantRecord
from proxy.tokens.issuer_errors import GrantRefused
from proxy.tokens.renewal import Renewer
from proxy.tokens.store import disk
from proxy.tokens.store.envelope import Envelope
from proxy.tokens.store.file import FileTokenStore
from proxy.tokens.store.memory import MemoryTokenStore
from proxy.tokens.store.token_store import Grant, StoreError, TokenStore
from proxy.tokens.token_response import TokenPair, TokenResponse


class RotatingIssuer:
    """Gives `at-1` with `rt-1` for `rt-0`, and so on. `reused`: refresh tokens that came a second time."""

    def __init__(self) -> None:
        self.issued = 0
        self.reused: list[str | None] = []

    @property
    def live(self) -> str:
        return f"rt-{self.issued}"

    async def fetch(self, previous: TokenPair) -> TokenResponse:
        sent = previous.refresh_token
        if sent != self.live:
            self.reused.append(sent)
            raise GrantRefused("reused")
        self.issued += 1
        return TokenResponse(Token(access_token=f"at-{self.issued}", issued_wall=float(self.issued)), self.live)


class FaultyStore(MemoryTokenStore):
    """One process's way to records that it shares with others.

    `faults`: of its next saves. `before`: nothing happened; `after`: it happened, and an error was told nevertheless.
    """

    def __init__(self, shared: MemoryTokenStore) -> None:
        super().__init__()
        self._records = shared._records
        self.faults: list[str] = []

    async def save(self, name: str, grant: Grant) -> bool:
        fault = self.faults.pop(0) if self.faults else "none"
        if fault == "before":
            raise StoreError("No space left on device")
        saved = await super().save(name, grant)
        if fault == "after":
            raise StoreError("Input/output error")
        return saved


class Process:
    """A record and what renews it. `store` may fail."""

    def __init__(self, store: TokenStore, issuer: RotatingIssuer, *, wait: float = 1) -> None:
        self.record = GrantRecord("crm", store)
        self.clock = FakeClock()
        seed = TokenPair(None, "rt-0")

        async def configured() -> TokenPair:
            return seed

        self.renewer = Renewer("crm", issuer, self.record, self.clock, deadline=wait, seed=configured)

    async def start(self) -> None:
        await self.record.read()
        await self.renewer.plant()

    async def renew(self) -> None:
        await self.renewer.run(lambda _: False, usable=lambda: True)

    async def push(self, name: str, issued: float) -> None:
        came = TokenResponse(Token(access_token=name, issued_wall=issued))
        await self.record.read()
        await self.record.change(lambda grant: grant if same(grant, came) else pushed(grant, came))
        self.record.pushed = self.record.unsaved

    async def heal(self) -> None:
        await self.record.read()
        await self.record.change(lambda grant: grant)


FAULTS = st.lists(st.sampled_from(["none", "before", "after"]), max_size=4)
STEPS = st.lists(
    st.tuples(st.sampled_from(["renew", "push", "other renews", "other pushes", "read", "save", "restart"]), FAULTS),
    max_size=12,
)


@given(STEPS)
def test_no_spent_refresh_token_is_sent_and_the_living_one_is_saved_in_the_end(steps):
    """Two processes; the store of the first fails as it likes. Pushes bring no refresh token."""

    async def play() -> None:
        issuer, shared = RotatingIssuer(), MemoryTokenStore()
        store = FaultyStore(shared)
        one, two = Process(store, issuer), Process(FaultyStore(shared), issuer)
        await one.start()
        await two.start()
        for number, (step, faults) in enumerate(steps):
            stored = shared._records["crm"].refresh_token
            store.faults = list(faults)
            match step:
                case "renew":
                    await one.renew()
                case "push":
                    await one.push(f"pushed-{number}", 100.0 + number)
                case "other renews" if stored == issuer.live:  # or no process could help it
                    await two.renew()
                case "other pushes":
                    await two.push(f"pushed-{number}", 100.0 + number)
                case "read":
                    await one.record.read()
                case "save":
                    await one.record.change(lambda grant: grant)
                case "restart" if stored == issuer.live:
                    one = Process(store, issuer)
                    await one.start()
            assert issuer.reused == []
        store.faults = []
        await one.heal()
        assert (one.record.grant.refresh_token, one.record.unsaved) == (issuer.live, False)
        assert shared._records["crm"].refresh_token == issuer.live
        await one.renew()
        await two.renew()
        assert issuer.reused == []

    asyncio.run(play())


async def test_the_last_push_is_kept_though_its_save_failed_and_another_process_renewed():
    issuer, shared = RotatingIssuer(), MemoryTokenStore()
    store = FaultyStore(shared)
    one, two = Process(store, issuer), Process(shared, issuer)
    await one.start()
    await two.start()
    store.faults = ["before"]
    await one.push("pushed", 100)
    await two.renew()
    await one.heal()
    assert (shared._records["crm"].access_token, shared._records["crm"].refresh_token) == ("pushed", "rt-1")


async def test_what_another_process_pushed_over_our_uncertain_save_stays_beside_the_rotated_refresh_token():
    issuer, shared = RotatingIssuer(), MemoryTokenStore()
    store = FaultyStore(shared)
    one, two = Process(store, issuer), Process(shared, issuer)
    await one.start()
    store.faults = ["none", "after", "before", "before"]  # the note, its answer; the next note, and its answer
    await one.renew()
    await one.renew()
    await two.start()
    assert two.record.grant.refresh_token == "rt-1", "it cannot know better"
    await two.push("pushed", 100)
    await one.heal()
    stored = shared._records["crm"]
    assert (stored.access_token, stored.refresh_token, stored.spending) == ("pushed", "rt-2", False)


class Must(FaultyStore):
    """One without which the program must not go on."""

    async def save(self, name: str, grant: Grant) -> bool:
        try:
            return await super().save(name, grant)
        except StoreError as error:
            raise StoreError(str(error), degrade=False) from None


@pytest.mark.parametrize("fault", ["before", "after"])
async def test_where_the_store_is_a_must_what_the_issuer_gave_is_held_until_it_can_be_saved(fault):
    """It is not used, but who forgot it would send the spent one again."""
    issuer, shared = RotatingIssuer(), MemoryTokenStore()
    store = Must(shared)
    one = Process(store, issuer)
    await one.start()
    store.faults = ["none", fault]
    with pytest.raises(CredentialUnavailable):
        await one.renew()
    assert (one.record.grant.refresh_token, one.record.unsaved) == ("rt-1", True)
    await one.heal()
    await one.renew()
    assert (issuer.reused, shared._records["crm"].refresh_token) == ([], "rt-2")


async def test_where_the_store_is_a_must_a_push_whose_save_failed_is_not_held_but_found():
    """It was refused to whoever pushed; the store has it all the same."""
    issuer, shared = RotatingIssuer(), MemoryTokenStore()
    store = Must(shared)
    one = Process(store, issuer)
    await one.start()
    store.faults = ["after"]
    with pytest.raises(CredentialUnavailable):
        await one.push("pushed", 100)
    assert (one.record.grant.access_token, one.record.unsaved) == (None, False)
    await one.record.read()
    assert one.record.grant.access_token == "pushed"


async def test_a_save_that_its_caller_gave_up_is_held_and_saved_again():
    class Slow(MemoryTokenStore):
        async def save(self, name: str, grant: Grant) -> bool:
            await asyncio.sleep(0)
            done = await super().save(name, grant)
            if grant.access_token:
                await asyncio.sleep(3600)
            return done

    issuer, store = RotatingIssuer(), Slow()
    one = Process(store, issuer)
    await one.start()
    renewing = asyncio.create_task(one.renew())
    async with asyncio.timeout(30):
        while store._records["crm"].access_token is None:
            await asyncio.sleep(0)
    renewing.cancel()
    await asyncio.wait((renewing,))
    assert (one.record.grant.refresh_token, one.record.unsaved) == ("rt-1", True)
    await one.record.read()
    assert (one.record.grant.refresh_token, one.record.unsaved) == ("rt-1", True)


async def test_a_store_that_fails_for_long_takes_no_more_memory_and_its_first_uncertain_save_is_still_known():
    issuer, shared = RotatingIssuer(), MemoryTokenStore()
    store = FaultyStore(shared)
    one, two = Process(store, issuer), Process(shared, issuer)
    await one.start()
    store.faults = ["none", "after"]
    await one.renew()
    assert shared._records["crm"].refresh_token == "rt-1"
    for number in range(100):
        store.faults = ["before"] * 3
        await one.record.change(lambda grant: grant)
        await one.push(f"pushed-{number}", 100.0 + number)
    assert len(one.record._ours.uncertain) <= 65
    store.faults = ["before"] * 2
    await one.renew()
    await two.start()
    for number in range(40):
        await two.push(f"theirs-{number}", 1000.0 + number)
    await one.heal()
    stored = shared._records["crm"]
    assert (stored.access_token, stored.refresh_token) == ("theirs-39", "rt-2")


async def test_trying_the_same_save_again_needs_no_other_id():
    issuer, store = RotatingIssuer(), FaultyStore(MemoryTokenStore())
    one = Process(store, issuer)
    await one.start()
    store.faults = ["after"] + ["before"] * 500
    await one.push("pushed", 100)
    for _ in range(400):
        await one.record.change(lambda grant: grant)
    assert len(one.record._ours.uncertain) == 1
    await one.record.read()
    assert (one.record.grant.access_token, one.record.unsaved) == ("pushed", True)
    store.faults = []
    await one.record.change(lambda grant: grant)
    assert not one.record.unsaved


async def test_what_could_not_be_saved_for_sheer_traffic_is_held():
    class Busy(MemoryTokenStore):
        busy = 0

        async def save(self, name: str, grant: Grant) -> bool:
            if self.busy:
                self.busy -= 1
                held = self._records[name]
                self._records[name] = structs.replace(held, revision=held.revision + 1, saves=(*held.saves, "theirs"))
                return False
            return await super().save(name, grant)

    issuer, store = RotatingIssuer(), Busy()
    one = Process(store, issuer)
    await one.start()
    await one.record.change(lambda grant: mark_sent(grant, grant))
    store.busy = 8
    await one.record.change(lambda grant: structs.replace(grant, refresh_token="rt-1", spending=False))
    assert (one.record.grant.refresh_token, one.record.unsaved) == ("rt-1", True)
    await one.heal()
    assert (store._records["crm"].refresh_token, one.record.unsaved) == ("rt-1", False)


# ---- on a real disk --------------------------------------------------------------------------------------------------


class Disk:
    """Fails at one point of a save, as often as told; nothing else of the disk is replaced."""

    POINTS = ("open", "write", "sync", "rename", "sync of the directory")

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.failing: dict[str, int] = {}
        self.number = errno.EIO
        real_sync, real_replace = os.fsync, disk.replace

        def sync(descriptor: int) -> None:
            self._fail("sync of the directory" if os.fstat(descriptor).st_mode & 0o040000 else "sync")
            real_sync(descriptor)

        def replace(path, content: bytes) -> None:
            self._fail("open")
            if self.failing.get("write"):
                path.with_name(f".{path.name}.new").write_bytes(content[:10])
                self._fail("write")
            if self.failing.get("rename"):
                path.with_name(f".{path.name}.new").write_bytes(content)
                self._fail("rename")
            real_replace(path, content)

        monkeypatch.setattr(os, "fsync", sync)
        monkeypatch.setattr(disk, "replace", replace)

    def _fail(self, point: str) -> None:
        if self.failing.get(point, 0):
            self.failing[point] -= 1
            raise OSError(self.number, os.strerror(self.number))


@pytest.mark.parametrize("number", [errno.EIO, errno.ENOSPC, errno.EDQUOT], ids=errno.errorcode.get)
@pytest.mark.parametrize("then", Disk.POINTS)
@pytest.mark.parametrize("first", Disk.POINTS)
async def test_two_failures_in_a_row_wherever_they_strike_cost_no_grant(tmp_path, monkeypatch, first, then, number):
    """The directory's fsync fails after the rename, the next save fails too, then all heals."""
    issuer = RotatingIssuer()
    one = Process(FileTokenStore(tmp_path / "tokens", Envelope(), SystemClock()), issuer)
    await one.start()
    await one.renew()
    broken = Disk(monkeypatch)
    broken.number = number
    edits = 2  # of a renewal: the note that the refresh token is sent, and what came back
    broken.failing = {first: edits}
    await one.renew()
    broken.failing = {then: edits}
    await one.renew()
    broken.failing = {}
    await one.heal()
    await one.renew()
    assert issuer.reused == []
    again = Process(FileTokenStore(tmp_path / "tokens", Envelope(), SystemClock()), issuer)
    await again.start()
    await again.renew()
    assert (issuer.reused, issuer.issued) == ([], 5)
