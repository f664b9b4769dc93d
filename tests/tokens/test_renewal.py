"""The rules that keep a rotating grant alive: what is saved before what, and when a refresh token is sent again."""

from __future__ import annotations

import asyncio
import contextlib
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec import structs
from msgspec.structs import replace
from support.clock import FakeClock, settle
from support.issuer import ScriptedIssuer, scripted_issuer, source_of
from support.managed import PlayedSource, SharedStore, managed

from proxy.config.schema import Refresh
from proxy.errors import CredentialError, CredentialRefused, CredentialUnavailable
from proxy.tokens.edits import mark_of
from proxy.tokens.issuer_errors import GrantRefused, NoGrant, ReplyLost, ReplyUnreadable
from proxy.tokens.store.token_store import Grant, LeaseTakenError, StoreError, never
from proxy.tokens.stored_token import token_of
from proxy.tokens.token_response import TokenPair, TokenResponse

LAZY = Refresh(jitter=0.0, eager=False)
LOST = ReplyLost("lost")


class seed_of:  # noqa: N801 - reads as a function
    """A configured seed that a test can change."""

    def __init__(self, name: str | None) -> None:
        self.name = name

    async def __call__(self) -> TokenPair:
        return TokenPair(None, self.name)


def rotating(clock: FakeClock) -> PlayedSource:
    source = PlayedSource(clock)
    source.rotates = True
    return source


def sent(source: PlayedSource) -> list[str | None]:
    return [previous.refresh_token for previous in source.asked]


# ---- seeds -----------------------------------------------------------------------------------------------------------


async def test_a_seed_is_used_at_once():
    async with managed(seed=seed_of("seed")) as it:
        assert sent(it.source) == ["seed"]
        assert it.record.seed == mark_of(TokenPair(None, "seed"))


async def test_a_seed_with_a_good_access_token_needs_no_request():
    clock = FakeClock()
    source = PlayedSource(clock)
    initial = TokenPair(source.token("initial").token, "r")

    async def seed() -> TokenPair:
        return initial

    async with managed(clock=clock, source=source, seed=seed) as it:
        assert it.ready == "initial"
        assert source.count == 0


async def test_the_refresh_token_of_an_expired_initial_token_is_used_at_once():
    clock = FakeClock()
    source = PlayedSource(clock)
    initial = TokenPair(source.token("initial", lifetime=10).token, "r")
    clock.suspend(3600)

    async def seed() -> TokenPair:
        return initial

    async with managed(clock=clock, source=source, seed=seed) as it:
        assert sent(source) == ["r"]
        assert it.ready == "at-1"


async def test_the_stored_refresh_token_beats_an_unchanged_seed():
    """C3."""
    async with managed(source=rotating(clock := FakeClock()), clock=clock, seed=seed_of("seed")) as it:
        pass
    clock.suspend(7200)
    async with managed(source=rotating(clock), clock=clock, store=it.store, seed=seed_of("seed")) as again:
        assert sent(again.source) == ["rt-1"]


async def test_a_changed_seed_beats_the_store():
    """C3."""
    async with managed(source=rotating(clock := FakeClock()), clock=clock, seed=seed_of("seed")) as it:
        pass
    async with managed(source=rotating(clock), clock=clock, store=it.store, seed=seed_of("other")) as again:
        assert sent(again.source) == ["other"]
        assert again.manager.held().generation == 2


async def test_a_seed_that_is_gone_leaves_the_store_as_it_is():
    async with managed(source=rotating(clock := FakeClock()), clock=clock, seed=seed_of("seed")) as it:
        pass
    clock.suspend(7200)
    async with managed(source=rotating(clock), clock=clock, store=it.store, seed=seed_of(None)) as again:
        assert sent(again.source) == ["rt-1"]


async def test_a_seed_that_changes_while_we_run_is_used_by_the_next_renewal():
    """A refused grant waits for the operator to put a new one there."""
    seed = seed_of("dead")
    async with managed(source=rotating(clock := FakeClock()), clock=clock, seed=seed, started=False) as it:
        it.source.script.extend([GrantRefused("invalid_grant"), NO_OTHER_WAY])
        await it.start()
        seed.name = "alive"
        await clock.advance(61)
        assert sent(it.source) == ["dead", None, "alive"]
        assert it.state == "fresh"


NO_OTHER_WAY = NoGrant("there is no refresh token")


async def test_a_seed_that_cannot_be_read_does_not_stop_what_is_held(caplog):
    seed = seed_of("seed")
    async with managed(source=rotating(clock := FakeClock()), clock=clock, seed=seed) as it:

        async def unreadable() -> TokenPair:
            raise CredentialUnavailable("the file is gone")

        it.manager._seed = unreadable
        await clock.advance(3300)
        assert sent(it.source) == ["seed", "rt-1"]
        assert "the file is gone" in caplog.text


async def test_a_seed_is_not_sent_while_the_store_cannot_be_read():
    """It may have been replaced since: an issuer that rotates would withdraw the whole grant."""
    async with managed(source=rotating(clock := FakeClock()), clock=clock, seed=seed_of("seed")) as it:
        pass
    clock.suspend(7200)
    it.store.failing = StoreError("another key")
    source = rotating(clock)
    source.script.extend([NO_OTHER_WAY, NO_OTHER_WAY])
    async with managed(source=source, clock=clock, store=it.store, seed=seed_of("seed")) as again:
        with pytest.raises(CredentialUnavailable, match="store cannot be read"):
            await again.manager.current()
        assert sent(source)[0] is None
        it.store.failing = None
        source.script.clear()
        assert (await again.manager.renew_now()).access_token
        assert sent(source)[-1] == "rt-1"


async def test_an_initial_token_is_used_while_the_store_cannot_be_read_but_its_refresh_token_is_not():
    clock = FakeClock()
    source = rotating(clock)
    store = SharedStore()
    store.failing = StoreError("another key")
    initial = TokenPair(source.token("initial").token, "seed")

    async def seed() -> TokenPair:
        return initial

    async with managed(clock=clock, source=source, store=store, seed=seed) as it:
        assert it.ready == "initial"
        source.script.append(NO_OTHER_WAY)
        with pytest.raises(CredentialUnavailable, match="store cannot be read"):
            await it.manager.renew_now()
        store.failing = None
        await it.manager.renew_now()
        await it.manager.renew_now()
        assert sent(source) == [None, "seed"]


@pytest.mark.parametrize("readable", [True, False])
async def test_a_seed_takes_no_place_of_the_grant_that_another_process_began_with_it_meanwhile(readable):
    """Seen only when the seed is saved: while it was read, the other process went on, or the store came back."""
    clock = FakeClock()
    store = SharedStore()
    source = rotating(clock)
    expired = TokenPair(source.token("initial", lifetime=0.0).token, "seed")

    async def seed() -> TokenPair:
        return expired

    async def slow() -> TokenPair:
        if not store._records:
            watching, store._watchers = store._watchers, {}  # files are looked at once a second: that is too late
            async with managed(clock=clock, source=source, store=store, seed=seed):
                pass
            store._watchers = watching
        store.failing = None
        return expired

    if not readable:
        async with managed(clock=clock, source=source, store=store, seed=seed):
            pass
        store.failing = StoreError("too many open files")
    async with managed(clock=clock, source=source, store=store, seed=slow) as it:
        await it.manager.renew_now()
    assert sent(source) == ["seed", "rt-1"]


async def test_a_pushed_refresh_token_is_sent_though_the_store_cannot_be_read():
    clock = FakeClock()
    source = rotating(clock)
    store = SharedStore()
    store.failing = StoreError("another key")
    source.script.append(NO_OTHER_WAY)
    async with managed(clock=clock, source=source, store=store, seed=seed_of("seed")) as it:
        await it.manager.adopt(source.token("pushed", refresh_token="pushed-rt"))
        await it.manager.renew_now()
        assert sent(source) == [None, "pushed-rt"]


async def test_a_credential_that_can_begin_anew_does_so_while_the_store_cannot_be_read():
    clock = FakeClock()
    store = SharedStore()
    store.failing = StoreError("another key")
    async with managed(clock=clock, store=store, seed=seed_of("seed")) as it:
        assert it.ready == "at-1"
        assert sent(it.source) == [None]


# ---- what is saved before what ---------------------------------------------------------------------------------------


async def test_a_rotated_refresh_token_is_saved_before_the_new_token_is_used(monkeypatch):
    """C2."""
    async with managed(source=rotating(clock := FakeClock()), clock=clock, seed=seed_of("seed")) as it:
        entered, let_go = asyncio.Event(), asyncio.Event()
        save = it.store.save

        async def slow_save(name: str, grant: Grant) -> bool:
            if grant.refresh_token == "rt-2":
                entered.set()
                await let_go.wait()
            return await save(name, grant)

        monkeypatch.setattr(it.store, "save", slow_save)
        renewing = asyncio.create_task(it.manager.renew(it.manager.held()))
        await entered.wait()
        await settle()
        assert not renewing.done()
        assert it.manager.held().access_token == "at-1"
        let_go.set()
        assert (await renewing).access_token == "at-2"


async def test_the_store_knows_that_a_refresh_token_is_about_to_be_sent():
    async with managed(source=rotating(clock := FakeClock()), clock=clock, seed=seed_of("seed")) as it:
        gate = it.source.hold()
        renewing = asyncio.create_task(it.manager.renew_now())
        await settle()
        assert it.record.spending
        gate.set_result(None)
        await renewing
        assert not it.record.spending


@pytest.mark.parametrize("error", [CredentialUnavailable("refused to connect"), CredentialRefused("invalid_client")])
async def test_the_note_is_taken_back_when_the_refresh_token_was_not_used(error):
    async with managed(source=rotating(clock := FakeClock()), clock=clock, seed=seed_of("seed")) as it:
        it.source.script.append(error)
        with pytest.raises(type(error)):
            await it.manager.renew_now()
        assert not it.record.spending


async def test_without_a_refresh_token_nothing_is_noted():
    async with managed() as it:
        assert [grant.spending for grant in it.store.saved] == [False]


async def test_a_store_that_fails_does_not_cost_the_token(caplog):
    """C2."""
    async with managed(source=rotating(clock := FakeClock()), clock=clock, seed=seed_of("seed")) as it:
        it.store.failing = StoreError("disk full")
        assert (await it.manager.renew_now()).access_token == "at-2"
        assert (await it.manager.renew_now()).access_token == "at-3"
        assert sent(it.source) == ["seed", "rt-1", "rt-2"]
        assert "disk full" in caplog.text
        it.store.failing = None


def useless(error: CredentialError, refresh_token: str) -> CredentialError:
    """An answer with a refresh token, and no access token that can be used."""
    error.rotated = refresh_token
    return error


@pytest.mark.parametrize("before", [[], [LOST]])
@pytest.mark.parametrize("kind", [CredentialUnavailable, CredentialRefused])
async def test_a_refresh_token_that_comes_with_a_useless_access_token_is_saved_and_sent_next(kind, before):
    async with managed(seed=seed_of("seed")) as it:
        it.source.script.extend([*before, useless(kind("no use"), "r2")])
        with pytest.raises(kind):
            await it.manager.renew_now()
        assert (it.record.refresh_token, it.record.rotates, it.record.spending) == ("r2", True, False)
        assert it.ready == "at-1", "the held one is good yet"
        await it.manager.renew_now()
        assert sent(it.source)[-1] == "r2"


# ---- a lost reply ----------------------------------------------------------------------------------------------------


async def test_where_this_issuer_never_rotated_the_refresh_token_is_sent_again_at_once():
    """C4."""
    async with managed(seed=seed_of("seed")) as it:
        it.source.script.append(LOST)
        assert (await it.manager.renew_now()).access_token == "at-3"
        assert sent(it.source) == ["seed", "seed", "seed"]


async def test_but_only_once():
    async with managed(seed=seed_of("seed"), refresh=LAZY) as it:
        it.source.script.extend([LOST, LOST])
        with pytest.raises(CredentialUnavailable):
            await it.manager.current()
        assert it.source.count == 2
        assert it.record.spending
        await it.clock.advance(1)
        it.source.script.append(LOST)
        with pytest.raises(CredentialUnavailable):
            await it.manager.current()
        assert it.source.count == 3, "in doubt already: once for each attempt"
        await it.clock.advance(2)
        assert (await it.manager.current()).access_token == "at-4"


async def test_a_refusal_after_a_lost_reply_is_reported_as_what_it_may_be(caplog):
    """C4."""
    async with managed(seed=seed_of("seed"), refresh=LAZY) as it:
        it.source.script.extend([LOST, GrantRefused("invalid_grant"), NO_OTHER_WAY])
        with pytest.raises(CredentialRefused, match="may be lost"):
            await it.manager.current()
        assert "may be lost" in caplog.text
        assert "may be lost" in it.manager.report().last_error


async def test_where_it_rotates_the_held_token_is_used_to_its_end_then_it_is_sent_once_and_reported(caplog):
    """C4."""
    async with managed(source=rotating(clock := FakeClock()), clock=clock, seed=seed_of("seed")) as it:
        await it.manager.renew_now()
        it.source.script.extend([LOST, GrantRefused("invalid_grant"), NO_OTHER_WAY])
        await clock.advance(3241)
        assert sent(it.source) == ["seed", "rt-1", "rt-2"]
        assert it.state == "failing"
        await clock.advance(3594 - 3241)
        assert it.source.count == 3
        assert it.ready == "at-2"
        await clock.advance(2)
        assert sent(it.source)[:4] == ["seed", "rt-1", "rt-2", "rt-2"]
        assert it.ready is None
        assert "sent once more" in caplog.text
        assert "may be lost" in it.manager.report().last_error


async def test_where_it_rotates_the_store_is_read_again_first():
    async with managed(source=rotating(clock := FakeClock()), clock=clock, seed=seed_of("seed")) as it:
        await it.manager.renew_now()
        it.source.script.append(LOST)
        await clock.advance(3241)
        stored = it.record
        unseen = structs.replace(
            stored, revision=stored.revision + 1, access_token="theirs", refresh_token="rt-theirs", generation=9,
            spending=False, expires_at=clock.wall() + 3600, issued_at=clock.wall(), lifetime=3600.0,
        )  # fmt: skip
        it.store._records["crm"] = unseen
        await clock.advance(360)
        assert it.source.count == 3
        assert it.ready == "theirs"


async def test_where_it_rotates_and_nothing_else_is_left_it_is_sent_once_more_at_once(caplog):
    async with managed(source=rotating(clock := FakeClock()), clock=clock, seed=seed_of("seed"), refresh=LAZY) as it:
        await it.manager.current()
        await it.manager.renew_now()
        clock.suspend(4000)
        it.source.script.append(LOST)
        assert (await it.manager.current()).access_token == "at-4"
        assert sent(it.source) == ["seed", "rt-1", "rt-2", "rt-2"]
        assert "sent once more" in caplog.text


async def test_a_refused_token_is_no_reason_to_wait_for_its_end():
    async with managed(source=rotating(clock := FakeClock()), clock=clock, seed=seed_of("seed"), refresh=LAZY) as it:
        await it.manager.current()
        await it.manager.renew_now()
        it.source.script.append(LOST)
        assert (await it.manager.renew(it.manager.held())).access_token == "at-4"


async def test_attempts_with_a_doubtful_refresh_token_are_rare():
    async with managed(source=rotating(clock := FakeClock()), clock=clock, seed=seed_of("seed"), refresh=LAZY) as it:
        await it.manager.current()
        await it.manager.renew_now()
        clock.suspend(4000)
        it.source.script.extend([LOST] * 50)
        for _ in range(100):
            with pytest.raises(CredentialUnavailable):
                await it.manager.current()
            await clock.advance(1)
        assert it.source.count == 5, "two at once, one after a minute"


async def test_a_crash_between_sending_and_saving_is_a_lost_reply():
    """What `kill -9` leaves behind: the note in the store, and the old refresh token."""
    async with managed(source=rotating(clock := FakeClock()), clock=clock, seed=seed_of("seed")) as it:
        await it.manager.renew_now()
        it.source.hold()
        renewing = asyncio.create_task(it.manager.renew_now())
        await settle()
        crashed = SharedStore()
        crashed._records["crm"] = it.record
        renewing.cancel()
        await it.manager._flight.end(within=0.0)
    async with managed(source=rotating(clock), clock=clock, store=crashed, seed=seed_of("seed")) as again:
        assert again.ready == "at-2", "the token that is held is used to its end"
        await clock.advance(3594)
        assert again.source.count == 0
        again.source.script.extend([GrantRefused("invalid_grant"), NO_OTHER_WAY])
        await clock.advance(2)
        assert sent(again.source) == ["rt-2", None]
        assert "may be lost" in again.manager.report().last_error


# ---- invalid_grant ---------------------------------------------------------------------------------------------------


async def test_on_invalid_grant_the_store_is_read_again_before_giving_up():
    """C6: another process may have rotated it: its successor is in the store."""
    async with managed(source=rotating(clock := FakeClock()), clock=clock, seed=seed_of("seed")) as it:
        gate = it.source.hold()
        renewing = asyncio.create_task(it.manager.renew_now())
        await settle()
        stored = it.record
        it.store._records["crm"] = structs.replace(stored, revision=stored.revision + 1, refresh_token="theirs")
        gate.set_result(GrantRefused("invalid_grant"))
        assert (await renewing).access_token == "at-3"
        assert sent(it.source) == ["seed", "rt-1", "theirs"]


async def test_a_good_token_that_another_process_brought_is_taken_instead():
    async with managed(source=rotating(clock := FakeClock()), clock=clock, seed=seed_of("seed")) as it:
        gate = it.source.hold()
        renewing = asyncio.create_task(it.manager.renew_now())
        await settle()
        stored = it.record
        it.store._records["crm"] = structs.replace(
            stored, revision=stored.revision + 1, refresh_token="theirs", access_token="at-theirs", generation=9
        )
        gate.set_result(GrantRefused("invalid_grant"))
        assert (await renewing).access_token == "at-theirs"
        assert it.source.count == 2


async def test_a_source_with_another_way_takes_it():
    """Password and JWT bearer grants begin anew where the refresh token is refused."""
    async with managed(source=rotating(clock := FakeClock()), clock=clock) as it:
        it.source.script.append(GrantRefused("invalid_grant"))
        assert (await it.manager.renew_now()).access_token == "at-3"
        assert sent(it.source) == [None, "rt-1", None]
        assert it.record.refresh_token == "rt-3"
        assert not it.record.spending


async def test_a_push_while_the_other_way_is_taken_stays():
    async with managed(source=rotating(clock := FakeClock()), clock=clock) as it:
        it.source.script.append(GrantRefused("invalid_grant"))
        gate = it.source.hold()
        renewing = asyncio.create_task(it.manager.renew_now())
        await settle()
        await it.manager.adopt(it.source.token("pushed", refresh_token="p"))
        gate.set_result(None)
        await renewing
        await settle()
        assert it.ready == "pushed"
        assert it.record.refresh_token == "p"


async def test_without_another_way_the_refusal_is_what_is_told():
    async with managed(source=rotating(clock := FakeClock()), clock=clock, seed=seed_of("seed")) as it:
        it.source.script.extend([GrantRefused("invalid_grant"), NO_OTHER_WAY])
        with pytest.raises(GrantRefused, match="invalid_grant"):
            await it.manager.renew_now()
        assert it.record.refresh_token == "rt-1", "invalid_grant does not always mean that it is dead"


async def test_a_refused_grant_without_a_refresh_token_is_asked_once():
    async with managed(started=False) as it:
        it.source.script.append(GrantRefused("invalid_grant"))
        await it.start()
        assert it.source.count == 1


# ---- against an issuer with reuse detection --------------------------------------------------------------------------


async def renewals(issuer: ScriptedIssuer, count: int) -> None:
    clock = FakeClock()
    issuer.rotating, issuer.live_refresh_token = True, "seed"
    store = SharedStore()
    for _ in range(count):  # each time another process
        async with (
            source_of(issuer, clock, grant_type="refresh_token") as source,
            managed(clock=clock, source=source_with_script(source), store=store, seed=seed_of("seed")) as it,
        ):
            await it.manager.renew_now()
            assert not issuer.revoked


def source_with_script(source):
    """The real source where `managed` expects one that can be played."""

    class Real:
        script = ()
        fetch = source.fetch

    return Real()


async def test_a_rotating_grant_survives_restarts():
    async with scripted_issuer() as issuer:
        await renewals(issuer, 20)
        assert issuer.count >= 20


async def test_concurrent_processes_do_not_burn_a_rotating_grant():
    """C6."""
    clock = FakeClock()
    async with scripted_issuer(rotating=True, live_refresh_token="seed") as issuer:
        store = SharedStore()
        async with source_of(issuer, clock, grant_type="refresh_token") as source:
            options: dict[str, Any] = {"clock": clock, "store": store, "seed": seed_of("seed"), "refresh": LAZY}
            async with (
                managed(source=source_with_script(source), **options) as one,
                managed(source=source_with_script(source), **options) as two,
            ):
                for _ in range(10):
                    await asyncio.gather(one.manager.current(), two.manager.current())
                    clock.suspend(3600)
        assert issuer.count == 10
        assert not issuer.revoked


@settings(max_examples=40, deadline=None)
@given(
    st.lists(st.sampled_from(["good", "down", "lost", "lost after rotating", "crash", "expire", "push"]), max_size=12)
)
def test_a_grant_is_lost_only_where_an_answer_was(events):
    """Whatever happens in whatever order: the issuer sees a refresh token twice only where its answer was lost."""
    asyncio.run(_live(events))


class ReuseDetecting:
    """An issuer that rotates, keeps answers to itself when told to, and revokes the grant on reuse."""

    script = ()

    def __init__(self, clock: FakeClock) -> None:
        self.clock = clock
        self.live = "seed"
        self.revoked = False
        self.answers_lost = 0
        self.count = 0
        self.error = "good"

    async def fetch(self, previous: TokenPair) -> TokenResponse:
        error, self.error = self.error, "good"
        if not previous:
            raise NO_OTHER_WAY
        if error == "down":
            raise CredentialUnavailable("down")
        if error == "lost":
            raise LOST
        if self.revoked or previous.refresh_token != self.live:
            self.revoked = True
            raise GrantRefused("invalid_grant")
        self.count += 1
        self.live = f"rt-{self.count}"
        if error == "lost after rotating":
            self.answers_lost += 1
            raise LOST
        token = PlayedSource(self.clock).token(f"at-{self.count}", lifetime=3600.0)
        return structs.replace(token, refresh_token=self.live)


async def _live(events: list[str]) -> None:
    clock = FakeClock()
    store, source = SharedStore(), ReuseDetecting(clock)
    for event in [*events, "good"]:
        async with managed(clock=clock, source=source, store=store, seed=seed_of("seed"), refresh=LAZY) as it:
            source.error = event
            if event == "expire":
                clock.suspend(3600)
            elif event == "push":
                await it.manager.adopt(PlayedSource(clock).token(f"push-{clock.elapsed()}", lifetime=3600.0))
            elif event != "crash":
                with contextlib.suppress(CredentialUnavailable, CredentialRefused):
                    await (it.manager.renew_now() if it.ready else it.manager.current())
            clock.suspend(700)
        assert not source.revoked or source.answers_lost
        if it.ready is not None:
            assert it.manager.held().expires_wall > clock.wall()


# ---- an answer that cannot be read -----------------------------------------------------------------------------------

UNREAD = ReplyUnreadable("cannot be read")


def unread(refresh_token: str | None = None) -> ReplyUnreadable:
    error = ReplyUnreadable("cannot be read")
    error.rotated = refresh_token
    return error


@pytest.mark.parametrize("rotates", [True, False])
async def test_after_an_answer_that_cannot_be_read_the_refresh_token_is_not_sent_again_by_itself(rotates, caplog):
    """The first one already: nobody knows yet whether this issuer rotates."""
    clock = FakeClock()
    source = PlayedSource(clock)
    source.rotates = rotates
    async with managed(source=source, clock=clock, seed=seed_of("seed"), started=False) as it:
        source.script.append(unread())
        source.script.extend([NO_OTHER_WAY] * 50)
        await it.start()
        await clock.advance(4000)
        assert sent(source)[0] == "seed"
        assert set(sent(source)[1:]) == {None}
        with pytest.raises(CredentialRefused, match="may be lost"):
            await it.manager.current()
        assert it.record.spent
        assert "may be lost" in caplog.text


async def test_nor_after_a_restart():
    clock = FakeClock()
    async with managed(clock=clock, seed=seed_of("seed"), started=False) as it:
        it.source.script.extend([unread(), *[NO_OTHER_WAY] * 50])
        await it.start()
    source = PlayedSource(clock)
    source.script.extend([NO_OTHER_WAY] * 50)
    async with managed(clock=clock, source=source, store=it.store, seed=seed_of("seed")) as again:
        await clock.advance(600)
        assert set(sent(source)) == {None}
        source.script.clear()
        assert (await again.manager.renew_now()).access_token
        assert sent(source)[-1] == "seed", "somebody asked for it"
        assert not again.record.spent


async def test_a_held_token_is_used_to_its_end_then_the_configured_grant_serves():
    async with managed(source=rotating(clock := FakeClock()), clock=clock, seed=seed_of("seed")) as it:
        it.source.script.append(unread())
        await clock.advance(3241)
        assert sent(it.source) == ["seed", "rt-1"]
        await clock.advance(3594 - 3241)
        assert (it.source.count, it.ready) == (2, "at-1")
        await clock.advance(2)
        assert sent(it.source) == ["seed", "rt-1", None]
        assert it.ready == "at-3"
        assert (it.record.refresh_token, it.record.spent, it.record.spending) == ("rt-3", False, False)


async def test_without_a_token_the_configured_grant_serves_at_once():
    async with managed(seed=seed_of("seed"), refresh=LAZY) as it:
        it.source.script.append(unread())
        assert (await it.manager.current()).access_token == "at-2"
        assert sent(it.source) == ["seed", None]


async def test_a_refresh_token_that_was_left_in_use_before_is_sent_again_later():
    async with managed(seed=seed_of("seed")) as it:
        assert it.record.reusable
        it.source.script.append(unread())
        await it.clock.advance(3240.5)
        assert sent(it.source) == ["seed", "seed"], "not at once"
        await it.clock.advance(1)
        assert sent(it.source) == ["seed", "seed", "seed"]
        assert it.ready == "at-3"


async def test_the_refresh_token_that_was_found_in_it_is_sent_next():
    async with managed(seed=seed_of("seed"), refresh=LAZY) as it:
        it.source.script.append(unread("r2"))
        with pytest.raises(CredentialUnavailable):
            await it.manager.current()
        assert (it.record.refresh_token, it.record.rotates, it.record.in_doubt) == ("r2", True, False)
        await it.clock.advance(1)
        await it.manager.current()
        assert sent(it.source) == ["seed", "r2"]


@pytest.mark.parametrize("after", [[LOST], []])
async def test_another_seed_or_a_push_ends_it(after):
    seed = seed_of("seed")
    async with managed(source=rotating(clock := FakeClock()), clock=clock, seed=seed, refresh=LAZY) as it:
        it.source.script.extend([*after, unread(), NO_OTHER_WAY])
        with pytest.raises(CredentialError):
            await it.manager.current()
        assert it.record.spent
        seed.name = "other"
        await it.clock.advance(10)
        await it.manager.current()
        assert sent(it.source)[-1] == "other"
        it.source.script.append(unread())
        with pytest.raises(CredentialError):
            await it.manager.renew_now()
        assert it.record.spent
        await it.manager.adopt(it.source.token("pushed", refresh_token="pushed-rt"))
        assert not it.record.spent
        await it.manager.renew_now()
        assert sent(it.source)[-1] == "pushed-rt"


# ---- a refused refresh token -----------------------------------------------------------------------------------------


def refusing(kind: type[CredentialError]) -> CredentialError:
    error = kind("400")
    error.refuses_grant = True
    return error


@pytest.mark.parametrize("kind", [GrantRefused, CredentialRefused, CredentialUnavailable])
@pytest.mark.parametrize("restarted", [True, False])
async def test_whatever_a_refresh_token_is_refused_with_the_configured_grant_is_tried_next(kind, restarted):
    clock = FakeClock()
    async with managed(clock=clock, seed=seed_of("seed"), refresh=LAZY) as it:
        await it.manager.current()
        if not restarted:
            clock.suspend(4000)
            it.source.script.append(refusing(kind))
            assert (await it.manager.current()).access_token == "at-3"
            assert sent(it.source) == ["seed", "seed", None]
            return
    clock.suspend(4000)
    async with managed(clock=clock, store=it.store, seed=seed_of("seed"), refresh=LAZY) as again:
        again.source.script.append(refusing(kind))
        assert (await again.manager.current()).access_token == "at-2"
        assert sent(again.source) == ["seed", None]
        assert again.record.refresh_token is None


@pytest.mark.parametrize("kind", [GrantRefused, CredentialRefused, CredentialUnavailable])
async def test_where_there_is_no_other_grant_the_refusal_is_what_is_told(kind):
    async with managed(seed=seed_of("seed"), refresh=LAZY) as it:
        it.source.script.extend([refusing(kind), NO_OTHER_WAY])
        with pytest.raises(kind, match="400"):
            await it.manager.current()
        assert it.record.refresh_token == "seed", "an operator may mend it at the issuer"


async def test_where_the_other_grant_is_refused_for_good_that_is_what_is_told():
    async with managed(seed=seed_of("seed"), refresh=LAZY) as it:
        it.source.script.extend([refusing(CredentialUnavailable), GrantRefused("the password")])
        with pytest.raises(GrantRefused, match="the password"):
            await it.manager.current()


async def test_a_refusal_of_the_client_leaves_the_refresh_token_and_the_configured_grant_alone():
    async with managed(seed=seed_of("seed"), refresh=LAZY) as it:
        it.source.script.append(CredentialRefused("invalid_client"))
        with pytest.raises(CredentialRefused, match="invalid_client"):
            await it.manager.current()
        assert sent(it.source) == ["seed"]
        assert (it.record.refresh_token, it.record.spending) == ("seed", False)


@given(
    ahead=st.floats(-1e6, 1e6),
    lifetime=st.floats(1, 1e5),
    later=st.floats(0, 2e5),
)
def test_no_record_gives_a_token_more_life_than_its_lifetime_however_wrong_the_clock_was(ahead, lifetime, later):
    """`ahead`: by how much the clock was wrong when the token was issued; `later`: when it is found."""
    clock = FakeClock()
    issued = clock.wall() + ahead
    grant = Grant(access_token="a", issued_at=issued, expires_at=issued + lifetime, lifetime=lifetime)
    clock.suspend(later)
    found = token_of(grant, clock)
    assert found.issued_elapsed <= clock.elapsed()
    assert found.expires_elapsed - clock.elapsed() <= lifetime + 1e-3
    assert found.expires_wall == grant.expires_at, "as it was said: the clock of now may be the wrong one"
    if ahead <= 0:
        assert found.expires_elapsed == pytest.approx(clock.elapsed() + lifetime + ahead - later, abs=1e-3)


# ---- a process that was stopped --------------------------------------------------------------------------------------


class Overtaken(SharedStore):
    """Another process renews while this one is stopped, and nobody hears of it.

    It does so at the save of the note that the refresh token is about to be sent (`late`), right behind that (`lost`),
    or when a test says so.
    """

    def __init__(self, when: str = "") -> None:
        super().__init__()
        self.when = when
        self.is_held = True
        self.leases = 0

    async def save(self, name: str, grant: Grant) -> bool:
        if self.when == "late" and grant.spending:
            await self.overtake(name)
        saved = await super().save(name, grant)
        if self.when == "lost" and grant.spending:
            await self.overtake(name)
        return saved

    def watch(self, *_: object):
        return lambda: None

    async def overtake(self, name: str = "crm") -> None:
        self.when, self.is_held = "", False
        held = self._records[name]
        token = {"generation": held.generation + 1, "access_token": "theirs", "refresh_token": "rt-theirs"}
        life = {"issued_at": held.issued_at + 4000, "expires_at": held.issued_at + 8000, "lifetime": 4000.0}
        theirs = structs.replace(held, revision=held.revision + 1, saves=("theirs",), spending=False, **token, **life)
        assert await super().save(name, theirs)

    @contextlib.asynccontextmanager
    async def _lease(self, name: str, wait: float):
        self.leases += 1
        self.is_held = True
        async with super()._lease(name, wait):
            yield self

    def held(self) -> bool:
        return self.is_held


@pytest.mark.parametrize("when", ["late", "lost"])
async def test_a_process_that_was_stopped_before_it_sent_the_refresh_token_does_not_send_it_after_another_has(when):
    """An issuer that sees it twice withdraws the whole grant."""
    store = Overtaken()
    async with managed(source=rotating(clock := FakeClock()), clock=clock, store=store, seed=seed_of("seed")) as it:
        store.when, store.leases = when, 0
        await clock.advance(3600)
        assert (sent(it.source), it.ready) == (["seed"], "theirs")
        assert (it.record.refresh_token, it.record.spending) == ("rt-theirs", False)
        assert store.leases == 2


async def test_a_refresh_token_whose_answer_was_lost_is_not_sent_again_where_another_process_has_sent_it_meanwhile():
    store = Overtaken()
    async with managed(source=rotating(clock := FakeClock()), clock=clock, store=store, seed=seed_of("seed")) as it:
        answer = it.source.hold()
        await clock.advance(3300)
        clock.suspend(700)
        await store.overtake()
        answer.set_result(LOST)
        await settle()
        assert (sent(it.source), it.ready) == (["seed", "rt-1"], "theirs")


async def test_a_lease_that_is_lost_again_and_again_fails_the_renewal_and_not_the_requests():
    class Unlucky(Overtaken):
        def held(self) -> bool:
            return self.leases < 2

    store = Unlucky()
    async with managed(source=rotating(clock := FakeClock()), clock=clock, store=store, seed=seed_of("seed")) as it:
        await clock.advance(3300)
        assert (sent(it.source), it.ready, it.state) == (["seed"], "at-1", "failing")
        assert "taking over" in it.manager.report().last_error


# ---- cut off from a store that others may reach ----------------------------------------------------------------------

CUT_OFF = StoreError("Redis at a:1: it cannot be reached", cut_off=True, unchanged=True)
UNKNOWN = StoreError("Redis at a:1: no answer in time", cut_off=True)


class LeasedStore(SharedStore):
    """Its lease fails with the rest."""

    def lease(self, name, wait, needless=never):
        if self.failing:
            raise self.failing
        return super().lease(name, wait, needless)


def stored(**more) -> LeasedStore:
    store = LeasedStore()
    clock = FakeClock()
    known: dict[str, Any] = {
        "access_token": "old",
        "expires_at": clock.wall() + 600,
        "issued_at": clock.wall(),
        "lifetime": 600.0,
    }
    store._records["crm"] = Grant(revision=1, generation=1, refresh_token="r-0", **(known | more))
    return store


@pytest.mark.parametrize("habits", [{}, {"rotates": True}])
async def test_a_refresh_token_that_serves_once_is_held_back_while_others_may_use_it(habits):
    store = stored(**habits)
    async with managed(source=rotating(clock := FakeClock()), clock=clock, store=store, refresh=LAZY) as it:
        store.failing = CUT_OFF
        with pytest.raises(CredentialUnavailable, match="sent when the store answers"):
            await it.manager.renew_now()
        assert (sent(it.source), it.ready) == ([], "old")
        await clock.advance(600)
        assert it.ready is None
        it.source.script.append(NoGrant("there is no other grant"))
        with pytest.raises(CredentialUnavailable, match="sent when the store answers"):
            await it.manager.current()
        assert sent(it.source) == [None]
        store.failing = None
        await clock.advance(60)
        await it.manager.renew_now()
        assert sent(it.source) == [None, "r-0"]


async def test_one_that_the_issuer_leaves_in_use_is_sent_all_the_same():
    store = stored(reusable=True)
    async with managed(store=store, refresh=LAZY) as it:
        store.failing = CUT_OFF
        await it.manager.renew_now()
        assert (sent(it.source), it.ready) == (["r-0"], "at-1")


async def test_without_a_refresh_token_renewals_go_on():
    store = LeasedStore()
    async with managed(store=store) as it:
        store.failing = CUT_OFF
        await it.manager.renew_now()
        assert it.ready == "at-2"


async def test_what_the_issuer_gave_as_the_store_went_away_is_known_to_nobody_else_and_serves_on():
    store = stored()
    async with managed(source=rotating(clock := FakeClock()), clock=clock, store=store, refresh=LAZY) as it:
        answer = it.source.hold()
        renewing = asyncio.create_task(it.manager.renew_now())
        await settle()
        store.failing = CUT_OFF
        answer.set_result(None)
        await renewing
        for _ in range(3):
            await it.manager.renew_now()
        assert sent(it.source) == ["r-0", "rt-1", "rt-2", "rt-3"]
        store.failing = None
        await clock.advance(10)
        assert it.record.refresh_token == "rt-4"


async def test_but_not_where_the_store_may_have_got_it_before_it_went_away():
    store = stored()
    async with managed(source=rotating(clock := FakeClock()), clock=clock, store=store, refresh=LAZY) as it:
        answer = it.source.hold()
        renewing = asyncio.create_task(it.manager.renew_now())
        await settle()
        store.failing = UNKNOWN
        answer.set_result(None)
        await renewing
        with pytest.raises(CredentialUnavailable):
            await it.manager.renew_now()
        assert sent(it.source) == ["r-0"]


async def test_a_store_that_goes_away_before_the_note_is_saved_lets_nothing_be_sent():
    store = stored()
    async with managed(source=rotating(clock := FakeClock()), clock=clock, store=store, refresh=LAZY) as it:
        store.failing_saves = UNKNOWN
        with pytest.raises(CredentialUnavailable, match="sent when the store answers"):
            await it.manager.renew_now()
        assert sent(it.source) == []
        store.failing_saves = None
        await clock.advance(60)
        await it.manager.renew_now()
        assert sent(it.source) == ["r-0"]
        assert not it.record.spending


async def test_a_configured_grant_that_can_be_repeated_serves_instead_once_nothing_else_does():
    store = stored()
    async with managed(source=rotating(clock := FakeClock()), clock=clock, store=store, refresh=LAZY) as it:
        store.failing = CUT_OFF
        await clock.advance(600)
        await it.manager.renew_now()
        assert (sent(it.source), it.ready) == ([None], "at-1")
        store.failing = None
        await clock.advance(10)
        assert it.record.refresh_token == "rt-1"


class OutOfReach(Overtaken):
    """Cannot lease at the moment; everything else works."""

    missed = 0

    @contextlib.asynccontextmanager
    async def _lease(self, name: str, wait: float):
        if self.missed > 0:
            self.missed -= 1
            raise StoreError("no answer in time", cut_off=True)
        async with super()._lease(name, wait) as lease:
            yield lease


async def test_a_lease_that_could_not_be_asked_for_is_asked_for_again_once_the_store_answers():
    """Another may hold it: two replicas would send one refresh token."""
    store = OutOfReach()
    async with managed(source=rotating(clock := FakeClock()), clock=clock, store=store, seed=seed_of("seed")) as it:
        store.missed, store.leases = 1, 0
        await clock.advance(3300)
        assert (sent(it.source), store.leases, it.ready) == (["seed", "rt-1"], 1, "at-2")


async def test_a_store_that_has_lost_its_records_is_given_time_to_get_later_ones_back():
    """Another process may know of a later refresh token than this one, and have it in memory alone."""
    store = Overtaken()
    async with managed(source=rotating(clock := FakeClock()), clock=clock, store=store, seed=seed_of("seed")) as it:
        await store.overtake()
        theirs = store._records.pop("crm")
        await clock.advance(3241)
        assert sent(it.source) == ["seed"]
        store._records["crm"] = theirs
        await clock.advance(2)
        assert (sent(it.source), it.ready) == (["seed"], "theirs")


async def test_a_store_that_has_lost_its_records_for_good_holds_up_a_renewal_for_a_moment_only():
    store = Overtaken()
    async with managed(source=rotating(clock := FakeClock()), clock=clock, store=store, seed=seed_of("seed")) as it:
        store._records.clear()
        await clock.advance(3243)
        assert (sent(it.source), it.ready) == (["seed", "rt-1"], "at-2")


async def test_a_store_that_is_empty_once_it_can_be_reached_is_given_time_before_the_seed_is_sent():
    """It may have been emptied meanwhile, and others that live put back what it has lost."""
    async with managed(source=rotating(clock := FakeClock()), clock=clock, seed=seed_of("seed")) as before:
        pass
    store, source = before.store, rotating(clock)
    kept = store._records.pop("crm")
    store.failing = CUT_OFF
    source.script.append(NO_OTHER_WAY)
    async with managed(source=source, clock=clock, store=store, seed=seed_of("seed")) as it:
        store.failing = None
        waiting = asyncio.create_task(it.manager.renew_now())
        await clock.advance(1)
        assert "seed" not in sent(source)
        store._records["crm"] = kept
        await clock.advance(2)
        await waiting
        assert (it.ready, [name for name in sent(source) if name]) == ("at-1", [])


async def test_who_waits_for_another_process_goes_on_with_what_that_has_saved():
    """However many wait: they need not hold the lease one after the other."""
    store = stored()

    class Busy(LeasedStore):
        def lease(self, name, wait, needless=never):  # noqa: ARG002 - as the store's
            assert not needless()
            self._records["crm"] = theirs = replace(store._records["crm"], revision=2, generation=2, access_token="new")
            for changed in self._watchers["crm"]:
                changed(theirs)
            assert needless()
            raise LeaseTakenError("another's")

    busy = Busy()
    busy._records = store._records
    async with managed(store=busy, refresh=LAZY) as it:
        await it.manager.renew_now()
        assert (sent(it.source), it.ready) == ([], "new")
