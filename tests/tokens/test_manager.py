from __future__ import annotations

import asyncio
import importlib
import logging
import sys
import time
import timeit
from contextlib import asynccontextmanager

import pytest
from msgspec import structs
from support.clock import FakeClock, settle
from support.issuer import scripted_issuer, source_of
from support.managed import PlayedSource, SharedStore, managed

from proxy.auth.dpop_key import DpopKey, DpopKeys
from proxy.clock import SystemClock
from proxy.config.schema import Refresh
from proxy.errors import CredentialError, CredentialRefused, CredentialUnavailable, GenerationMismatch
from proxy.model import Token
from proxy.tokens.audience import Binding
from proxy.tokens.cache import TokenCache
from proxy.tokens.issuer_errors import GrantRefused
from proxy.tokens.manager import TokenManager
from proxy.tokens.refresh_scheduler import RefreshScheduler
from proxy.tokens.store.memory import MemoryTokenStore
from proxy.tokens.store.token_store import StoreError
from proxy.tokens.token_response import NOTHING, TokenPair, TokenResponse

LAZY = Refresh(jitter=0.0, eager=False)
DOWN = CredentialUnavailable("down")
NO = CredentialRefused("no")


class Changing:
    """A secret that gets new values."""

    def __init__(self) -> None:
        self.changes = 0

    def ready(self) -> str | None:
        return "s"

    async def read(self, *, anew: bool = False) -> str:  # noqa: ARG002 - the interface
        return "s"


# ---- handing out -----------------------------------------------------------------------------------------------------


async def test_an_eager_token_is_there_before_anyone_asks():
    async with managed() as it:
        assert it.ready == "at-1"
        assert it.source.asked == [NOTHING]


async def test_a_lazy_token_is_fetched_for_the_first_who_asks():
    async with managed(refresh=LAZY) as it:
        assert it.source.count == 0
        assert it.ready is None
        assert (await it.manager.current()).access_token == "at-1"
        assert it.ready == "at-1"


async def test_the_same_object_is_handed_out_every_time():
    async with managed() as it:
        assert it.manager.ready() is it.manager.ready() is await it.manager.current() is it.manager.held()


async def test_200_concurrent_first_requests_cost_one_token_request():
    """A3."""
    clock = FakeClock()
    async with scripted_issuer() as issuer, source_of(issuer, clock) as source:
        manager = TokenManager(
            "crm",
            source,
            store=MemoryTokenStore(),
            clock=clock,
            cache=TokenCache(clock),
            scheduler=RefreshScheduler(clock),
            refresh=LAZY,
        )
        await manager.start()
        tokens = await asyncio.gather(*(manager.current() for _ in range(200)))
        await manager.stop()
    assert issuer.count == 1
    assert {token.access_token for token in tokens} == {"at-1"}


async def test_a_failure_is_shared_by_all_who_wait():
    """A3."""
    async with managed(refresh=LAZY) as it:
        it.source.script.append(NO)
        errors = await asyncio.gather(*(it.manager.current() for _ in range(50)), return_exceptions=True)
        assert it.source.count == 1
        assert {type(error) for error in errors} == {CredentialRefused}


async def test_the_caller_who_hangs_up_cancels_nobody():
    """A3."""
    async with managed(refresh=LAZY) as it:
        gate = it.source.hold()
        first, second = asyncio.create_task(it.manager.current()), asyncio.create_task(it.manager.current())
        await settle()
        first.cancel()
        await settle()
        gate.set_result(None)
        assert (await second).access_token == "at-1"
        assert it.source.count == 1


async def test_when_everyone_hangs_up_the_token_is_fetched_all_the_same():
    async with managed(refresh=LAZY) as it:
        gate = it.source.hold()
        only = asyncio.create_task(it.manager.current())
        await settle()
        only.cancel()
        gate.set_result(None)
        await settle()
        assert it.ready == "at-1"


async def test_a_source_that_never_answers_is_given_up():
    """A3."""
    async with managed(refresh=LAZY, deadline=0.01) as it:
        it.source.hold()
        with pytest.raises(CredentialUnavailable, match="in time"):
            await it.manager.current()
        async with asyncio.timeout(30):
            while it.manager._flight.under_way:
                await asyncio.sleep(0.01)
        assert it.manager.report().last_error == "The issuer did not answer in time"


async def test_a_source_with_a_mistake_does_not_end_the_renewals(caplog):
    async with managed(refresh=LAZY) as it:
        it.source.script.append(ZeroDivisionError("s3cret"))
        with pytest.raises(CredentialUnavailable):
            await it.manager.current()
        assert "ZeroDivisionError" in caplog.text
        assert "s3cret" not in caplog.text
        await it.clock.advance(1)
        assert (await it.manager.current()).access_token == "at-2"


# ---- renewal ahead of expiry -----------------------------------------------------------------------------------------


async def test_eager_tokens_are_asked_for_one_after_the_other_at_the_start():
    """However many there are: all at once would need memory for all at once, and hold up everybody else."""
    clock, store = FakeClock(), SharedStore()
    scheduler, cache, source = RefreshScheduler(clock), TokenCache(clock), PlayedSource(clock)
    scheduler.start()
    managers = [
        TokenManager(f"c{number}", source, store=store, clock=clock, cache=cache, scheduler=scheduler)
        for number in range(20)
    ]
    for manager in managers:
        await manager.start()
    await settle()
    assert source.count == 1
    await clock.advance(0.01)
    assert 1 < source.count < 20
    await clock.advance(1)
    assert source.count == 20
    for manager in managers:
        await manager.stop()
    await scheduler.stop()


async def test_an_eager_token_is_renewed_without_traffic_before_it_expires():
    """C8."""
    async with managed() as it:
        await it.clock.advance(3239)
        assert it.ready == "at-1"
        await it.clock.advance(2)
        assert it.ready == "at-2"
        await it.clock.advance(10 * 3600)
        assert it.source.count == 13
        assert it.state == "fresh"


async def test_a_lazy_token_is_renewed_by_the_first_request_after_it_is_due_and_nobody_waits():
    """A1."""
    async with managed(refresh=LAZY) as it:
        await it.manager.current()
        await it.clock.advance(3300)
        assert it.source.count == 1
        gate = it.source.hold()
        assert [it.ready for _ in range(50)] == ["at-1"] * 50
        await settle()
        assert it.source.count == 2
        assert it.state == "stale"
        gate.set_result(None)
        await settle()
        assert it.ready == "at-2"


async def test_a_failed_early_renewal_fails_no_request():
    """A1: the commonest mistake of its kind: a token that is still good is thrown away when an early renewal fails."""
    async with managed() as it:
        it.source.script.extend([DOWN] * 100)
        await it.clock.advance(3500)
        assert it.source.count > 3
        assert it.ready == "at-1"
        assert (await it.manager.current()).access_token == "at-1"
        assert it.state == "failing"
        assert it.manager.report().last_error == "down"


async def test_a_mistake_of_ours_in_what_renews_early_fails_no_request(caplog):
    """It is told, and tried again a while later."""

    class Broken(Changing):
        broken = False

        @property
        def changes(self) -> int:
            if self.broken:
                raise ZeroDivisionError
            return 0

        @changes.setter
        def changes(self, value: int) -> None:
            """It counts nothing."""

    secret = Broken()
    async with managed(refresh=LAZY, inputs=(secret,)) as it:
        await it.manager.current()
        it.source.script.append(DOWN)
        await it.clock.advance(3500)
        assert it.ready == "at-1"
        await settle()
        secret.broken = True
        assert [it.ready for _ in range(3)] == ["at-1"] * 3
        assert caplog.text.count("ZeroDivisionError") == 1
        secret.broken = False
        await it.clock.advance(61)
        assert it.ready == "at-1"
        await settle()
        assert it.ready == "at-3", "the third attempt"


async def test_an_expired_token_is_never_handed_out_even_if_there_is_no_other():
    """A5."""
    async with managed() as it:
        it.source.script.extend([DOWN] * 1000)
        await it.clock.advance(3594)
        assert it.ready == "at-1"
        await it.clock.advance(1)
        assert it.ready is None
        assert it.state == "expired"
        with pytest.raises(CredentialUnavailable):
            await it.manager.current()


async def test_a_repaired_issuer_is_noticed_without_traffic():
    async with managed(started=False) as it:
        it.source.script.extend([DOWN] * 4)
        await it.start()
        assert it.state == "empty"
        await it.clock.advance(1 + 2 + 4 + 8)
        assert it.source.count == 5
        assert it.state == "fresh"


async def test_a_renewal_that_brings_no_more_life_is_repeated_after_half_of_what_is_left():
    """A2."""
    async with managed() as it:
        first = it.manager.held()
        it.source.script.extend([structs.replace(first)] * 3)
        await it.clock.advance(3241)
        assert it.source.count == 2
        assert it.ready == "at-1"
        await it.clock.advance(175)
        assert it.source.count == 2
        await it.clock.advance(10)
        assert it.source.count == 3


async def test_a_short_token_is_not_fetched_for_every_request():
    """A2: a fixed window longer than the life of the token means a token request per request."""
    async with managed(lifetime=30.0, refresh=LAZY) as it:
        for _ in range(100):
            await it.manager.current()
            await it.clock.advance(0.1)
        assert it.source.count == 1


@pytest.mark.parametrize("move", ["suspend", "step_wall"])
async def test_after_a_suspend_or_a_step_the_token_is_replaced_before_use(move):
    """A8."""
    async with managed() as it:
        getattr(it.clock, move)(3600)
        assert it.ready is None
        assert (await it.manager.current()).access_token == "at-2"


async def test_without_traffic_a_step_of_the_wall_clock_is_noticed_too():
    """A8."""
    async with managed() as it:
        await it.clock.advance(1)
        it.clock.step_wall(3600)
        await it.clock.advance(31)
        assert it.source.count == 2
        assert it.ready == "at-2"


async def test_a_wall_clock_stepped_back_extends_no_life():
    """A8."""
    async with managed(refresh=LAZY) as it:
        await it.manager.current()
        it.clock.step_wall(-86400)
        await it.clock.advance(3596)
        assert it.ready is None


async def test_a_token_without_a_stated_end_is_renewed_but_serves_until_it_is_refused():
    """A9."""
    async with managed(lifetime=None) as it:
        it.source.script.extend([DOWN] * 1000)
        await it.clock.advance(10_000)
        assert it.ready == "at-1"
        assert it.source.count > 5
        assert it.manager.report().expires_at is None


async def test_a_token_that_had_expired_on_arrival_is_a_failure():
    async with managed(refresh=LAZY) as it:
        gate = it.source.hold()
        waiting = asyncio.create_task(it.manager.current())
        await settle()
        late = it.source.token(lifetime=10)
        await it.clock.advance(60)
        gate.set_result(late)
        with pytest.raises(CredentialUnavailable, match="expired"):
            await waiting
        assert it.state == "expired"


# ---- failures --------------------------------------------------------------------------------------------------------


async def test_start_up_does_not_fail_because_an_issuer_is_down():
    async with managed(started=False) as it:
        it.source.script.append(DOWN)
        await it.start()
        report = it.manager.report()
        assert (report.state, report.last_error, report.attempted) == ("empty", "down", True)


async def test_between_attempts_everyone_fails_fast():
    """A4."""
    async with managed(refresh=LAZY) as it:
        it.source.script.append(CredentialUnavailable("down", retry_after=8))
        for _ in range(50):
            with pytest.raises(CredentialUnavailable) as caught:
                await it.manager.current()
            assert caught.value.retry_after == 8
        assert it.source.count == 1
        await it.clock.advance(8)
        assert (await it.manager.current()).access_token == "at-2"


async def test_full_jitter_spreads_the_attempts():
    clock = FakeClock()
    clock.chance_value = 0.75
    async with managed(started=False, clock=clock) as it:
        it.source.script.extend([DOWN] * 3)
        await it.start()
        await it.clock.advance(0.25)
        assert it.source.count == 2
        await it.clock.advance(0.51)
        assert it.source.count == 3


async def test_a_refusal_is_held_for_seconds_and_then_tried_slowly_for_ever():
    """A4 and C7."""
    async with managed(started=False) as it:
        it.source.script.extend([NO] * 100)
        await it.start()
        await it.clock.advance(4)
        assert it.source.count == 1
        with pytest.raises(CredentialRefused, match="no"):
            await it.manager.current()
        await it.clock.advance(2)
        assert it.source.count == 2
        await it.clock.advance(8)
        assert it.source.count == 2
        await it.clock.advance(3600)
        assert 10 < it.source.count < 15


async def test_while_requests_are_refused_for_want_of_the_token_no_passing_pause_is_longer_than_ten_seconds():
    async with managed(refresh=LAZY) as it:
        it.source.script.append(CredentialUnavailable("busy", retry_after=300))
        with pytest.raises(CredentialUnavailable) as caught:
            await it.manager.current()
        assert caught.value.retry_after == 10
        await it.clock.advance(9)
        with pytest.raises(CredentialUnavailable) as caught:
            await it.manager.current()
        assert (caught.value.retry_after, it.source.count) == (1, 1)
        await it.clock.advance(1)
        assert (await it.manager.current()).access_token == "at-2"


async def test_without_requests_an_issuer_that_asks_for_time_gets_it():
    async with managed(started=False) as it:
        it.source.script.append(CredentialUnavailable("busy", retry_after=120))
        await it.start()
        await it.clock.advance(119)
        assert it.source.count == 1
        await it.clock.advance(2)
        assert it.ready == "at-2"


async def test_a_failure_keeps_nothing_alive_but_its_words():
    """Thousands of credentials fail at once when their issuer does."""
    async with managed(started=False) as it:
        it.source.script.append(DOWN)
        await it.start()
        assert it.manager.report().last_error == "down"
        assert it.manager._pause.error.__traceback__ is None


async def test_a_changed_secret_ends_a_refusal_within_seconds():
    secret = Changing()
    async with managed(started=False, inputs=(secret,)) as it:
        it.source.script.extend([NO] * 3)
        await it.start()
        await it.clock.advance(15.1)
        assert it.source.count == 3, "and held for 20 s"
        secret.changes += 1
        await it.clock.advance(5.1)
        assert it.ready == "at-4"


async def test_a_changed_secret_counts_for_a_request_at_once():
    secret = Changing()
    async with managed(refresh=LAZY, inputs=(secret,)) as it:
        it.source.script.append(NO)
        with pytest.raises(CredentialRefused):
            await it.manager.current()
        secret.changes += 1
        assert (await it.manager.current()).access_token == "at-2"


async def test_the_operator_may_renew_at_any_time():
    async with managed() as it:
        assert (await it.manager.renew_now()).access_token == "at-2"
        it.source.script.append(NO)
        with pytest.raises(CredentialRefused):
            await it.manager.renew_now()
        assert it.ready == "at-2"
        assert (await it.manager.renew_now()).access_token == "at-4"


@pytest.mark.parametrize("chance", [0.0, 0.7])
async def test_failures_are_logged_without_secrets(caplog, chance):
    """A pause of less than a second is not called none."""
    async with managed(refresh=LAZY) as it:
        it.clock.chance_value = chance
        it.source.script.append(DOWN)
        with pytest.raises(CredentialUnavailable):
            await it.manager.current()
    [record] = [record for record in caplog.records if record.levelno >= logging.WARNING]
    assert record.getMessage() == "crm: no new token: down; next attempt in 1 s"


# ---- a refused token -------------------------------------------------------------------------------------------------


async def test_a_refused_token_is_renewed_although_it_has_not_expired():
    async with managed() as it:
        refused = it.manager.ready()
        assert (await it.manager.renew(refused)).access_token == "at-2"
        assert it.ready == "at-2"


async def test_a_burst_of_refusals_costs_one_renewal():
    """A6."""
    async with managed() as it:
        refused = it.manager.ready()
        tokens = await asyncio.gather(*(it.manager.renew(refused) for _ in range(100)))
        assert it.source.count == 2
        assert {token.access_token for token in tokens} == {"at-2"}


async def test_a_late_401_never_throws_away_a_newer_token():
    """A6."""
    async with managed() as it:
        refused = it.manager.ready()
        newer = await it.manager.renew(refused)
        for _ in range(10):
            assert await it.manager.renew(refused) is newer
        assert it.source.count == 2


async def test_when_renewing_a_refused_token_fails_the_token_stays():
    """It may have been refused for another reason; and it is all there is."""
    async with managed() as it:
        it.source.script.append(DOWN)
        with pytest.raises(CredentialUnavailable, match="down"):
            await it.manager.renew(it.manager.ready())
        assert it.ready == "at-1"


async def test_a_renewal_that_brings_the_refused_token_again_lets_the_refusal_stand_for_a_while():
    async with managed() as it:
        refused = it.manager.ready()
        it.source.script.extend([structs.replace(refused)] * 5)
        for _ in range(5):
            with pytest.raises(CredentialRefused, match="again"):
                await it.manager.renew(refused)
        assert it.source.count == 2
        assert it.ready == "at-1"
        await it.clock.advance(30)
        with pytest.raises(CredentialRefused):
            await it.manager.renew(refused)
        assert it.source.count == 3


async def test_while_a_refused_token_is_renewed_others_wait_for_its_successor():
    async with managed() as it:
        gate = it.source.hold()
        renewing = asyncio.create_task(it.manager.renew(it.manager.ready()))
        await settle()
        assert it.ready is None
        waiting = asyncio.create_task(it.manager.current())
        await settle()
        gate.set_result(None)
        assert (await waiting).access_token == (await renewing).access_token == "at-2"


async def test_but_not_for_long():
    """A route that is refused whatever it sends must not hold up the others."""
    async with managed() as it:
        gate = it.source.hold()
        renewing = asyncio.create_task(it.manager.renew(it.manager.ready()))
        await settle()
        await it.clock.advance(1)
        assert it.ready == "at-1"
        gate.set_result(None)
        await renewing


async def test_who_waits_for_a_successor_that_does_not_come_gets_the_refused_token():
    async with managed() as it:
        gate = it.source.hold()
        renewing = asyncio.create_task(it.manager.renew(it.manager.ready()))
        await settle()
        waiting = asyncio.create_task(it.manager.current())
        await settle()
        gate.set_result(DOWN)
        assert (await waiting).access_token == "at-1"
        with pytest.raises(CredentialUnavailable):
            await renewing


async def test_a_refusal_during_an_early_renewal_joins_it():
    async with managed() as it:
        gate = it.source.hold()
        await it.clock.advance(3241)
        renewing = asyncio.create_task(it.manager.renew(it.manager.ready()))
        await settle()
        gate.set_result(None)
        assert (await renewing).access_token == "at-2"
        assert it.source.count == 2


async def test_a_flight_that_brings_the_refused_token_is_followed_by_one_of_our_own():
    """The first began before the token was refused: what it brings says nothing about the refusal."""
    async with managed() as it:
        refused = it.manager.ready()
        gate = it.source.hold()
        await it.clock.advance(3241)
        renewing = asyncio.create_task(it.manager.renew(refused))
        await settle()
        gate.set_result(structs.replace(refused))
        assert (await renewing).access_token == "at-3"


async def test_between_attempts_refused_tokens_fail_fast():
    async with managed() as it:
        it.source.script.append(CredentialUnavailable("down", retry_after=60))
        refused = it.manager.ready()
        for _ in range(10):
            with pytest.raises(CredentialUnavailable, match="down"):
                await it.manager.renew(refused)
        assert it.source.count == 2


async def test_a_suspected_token_that_ends_while_its_successor_is_awaited_is_not_sent():
    async with managed(lifetime=60) as it:
        refused = await it.manager.current()
        answer = it.source.hold()
        renewal = asyncio.create_task(it.manager.renew(refused))
        await settle()
        request = asyncio.create_task(it.manager.current())
        await settle()
        it.clock.suspend(120)
        answer.set_result(CredentialUnavailable("down"))
        with pytest.raises(CredentialUnavailable):
            await request
        with pytest.raises(CredentialUnavailable):
            await renewal


# ---- a very young token ----------------------------------------------------------------------------------------------


def predecessor(it) -> str | None:
    held = it.manager.held()
    found = it.manager.predecessor(held)
    return found.access_token if found is not None else None


@pytest.mark.parametrize("how", ["renewal", "push", "another process"])
async def test_for_ten_seconds_a_new_token_has_a_predecessor_wherever_it_came_from(how):
    async with managed() as it:
        await it.clock.advance(100)
        if how == "renewal":
            await it.manager.renew_now()
        elif how == "push":
            await it.manager.adopt(it.source.token("pushed"))
        else:
            async with managed(clock=it.clock, source=it.source, store=it.store) as other:
                await other.manager.renew_now()
                assert predecessor(other) == "at-1"
        assert it.ready != "at-1"
        assert predecessor(it) == "at-1"
        await it.clock.advance(9.9)
        assert predecessor(it) == "at-1"
        await it.clock.advance(0.2)
        assert predecessor(it) is None


async def test_the_first_token_of_all_and_a_token_of_the_past_have_none():
    async with managed() as it:
        first = it.manager.held()
        assert it.manager.predecessor(first) is None
        await it.manager.renew_now()
        assert it.manager.predecessor(first) is None


async def test_a_slow_issuer_takes_nothing_from_the_time_of_a_young_token():
    """It counts from when the token came: nobody can have heard of it before."""
    async with managed() as it:
        answer = it.source.hold()
        renewal = asyncio.create_task(it.manager.renew_now())
        await settle()
        late = it.source.token("at-2")
        await it.clock.advance(9)
        answer.set_result(late)
        await renewal
        await it.clock.advance(9)
        assert predecessor(it) == "at-1"


@pytest.mark.parametrize(("age", "found"), [(0, "at-1"), (9, "at-1"), (11, None), (-50, "at-1")])
async def test_a_push_that_says_when_its_token_was_issued_is_believed_but_not_the_future(age, found):
    async with managed() as it:
        await it.clock.advance(100)
        token = it.source.token("pushed").token
        issued = {"issued_wall": token.issued_wall - age, "issued_elapsed": token.issued_elapsed - age}
        await it.manager.adopt(TokenResponse(structs.replace(token, **issued)))
        assert predecessor(it) == found
        await it.clock.advance(10)
        assert predecessor(it) is None


async def test_a_predecessor_that_has_ended_is_none():
    async with managed(lifetime=100.0) as it:
        await it.clock.advance(80)
        await it.manager.adopt(it.source.token("pushed", lifetime=3600.0))
        before = "at-1" if it.source.count == 1 else "at-2"
        assert predecessor(it) == before
    async with managed(lifetime=8.0, refresh=LAZY) as it:
        await it.manager.current()
        await it.clock.advance(5)
        await it.manager.renew_now()
        assert predecessor(it) == "at-1"
        await it.clock.advance(3)
        assert predecessor(it) is None


async def test_a_token_that_was_refused_is_no_predecessor():
    async with managed() as it:
        refused = it.manager.held()
        await it.manager.renew(refused)
        assert predecessor(it) is None
    async with managed() as it:
        late = it.manager.held()
        await it.manager.renew_now()
        assert predecessor(it) == "at-1"
        assert (await it.manager.renew(late)).access_token == "at-2"
        assert predecessor(it) is None


async def test_a_predecessor_is_let_go_of_when_nobody_can_ask_for_it_any_more(monkeypatch):
    monkeypatch.setattr("proxy.tokens.policy.YOUNG", 0.01)
    async with managed() as it:
        await it.manager.renew_now()
        async with asyncio.timeout(10):
            while it.manager._held.before is not None:
                await asyncio.sleep(0.005)


async def test_a_predecessor_bound_to_a_key_that_is_gone_is_none():
    keys = DpopKeys(DpopKey.generate())
    async with managed(keys=keys, refresh=LAZY) as it:
        await it.manager.adopt(it.source.token("old", key_thumbprint="gone"))
        await it.manager.adopt(it.source.token("new"))
        assert predecessor(it) is None


# ---- mistakes of ours ------------------------------------------------------------------------------------------------


class Odd(BaseException):
    """No Exception, and no cancellation."""


@pytest.mark.parametrize("error", [KeyError("s3cret"), Odd("s3cret"), SystemExit(3), asyncio.CancelledError()])
async def test_an_eager_credential_whose_source_fails_by_a_mistake_is_renewed_again(error, caplog):
    async with managed() as it:
        it.source.script.extend([error, error])
        await it.clock.advance(3300)
        assert it.source.count >= 3
        assert it.ready == "at-4"
        assert "s3cret" not in caplog.text


async def test_a_mistake_behind_the_answer_ends_neither_the_renewals_nor_leaves_anyone_waiting(monkeypatch, caplog):
    """Wherever in the renewal it happens: who waits is told at once."""
    async with managed() as it:
        with monkeypatch.context() as broken:
            broken.setattr("proxy.tokens.attempts.Attempts.succeeded", lambda *_: 1 / 0)
            it.source.script.append(DOWN)
            broken.setattr("proxy.tokens.attempts.Attempts.failed", lambda *_: 1 / 0)
            async with asyncio.timeout(5):
                with pytest.raises(CredentialUnavailable):
                    await it.manager.renew(it.manager.ready())
        await it.clock.advance(3300)
        assert it.ready == "at-3"
        assert "ZeroDivisionError" in caplog.text


@pytest.mark.parametrize(
    "where",
    [
        *("manager.TokenManager." + name for name in ("renew_if_due", "_begin", "_schedule", "_changes", "_take")),
        *("manager.TokenManager." + name for name in ("_fly", "_renewed", "_renewer", "_fail", "_seen")),
        *("held_token.HeldToken." + name for name in ("is_due", "usable", "take", "release", "end")),
        *("grant_record.GrantRecord." + name for name in ("save_again", "read", "change")),
        "flight.Flight.landed",
        *("attempts.Attempts." + name for name in ("succeeded", "failed")),
        "shared_result.SharedResult.publish",
    ],
)
async def test_wherever_one_credential_fails_the_others_are_renewed_and_so_is_it_once_it_works_again(
    where, monkeypatch
):
    clock = FakeClock()
    scheduler = RefreshScheduler(clock)
    async with managed(clock=clock, scheduler=scheduler) as it, managed(clock=clock, scheduler=scheduler) as other:
        holder, _, name = where.rpartition(".")
        parts = (it.manager, it.manager._held, it.manager._record, it.manager._flight, it.manager._attempts)
        kind = getattr(importlib.import_module(f"proxy.tokens.{holder.partition('.')[0]}"), holder.partition(".")[2])
        victim = next(part for part in (*parts, it.manager._shared) if type(part) is kind)
        good = getattr(kind, name)

        def broken(self: object, *given: object, **named: object) -> object:
            if self is victim:
                raise ZeroDivisionError
            return good(self, *given, **named)

        with monkeypatch.context() as patched:
            patched.setattr(kind, name, broken)
            it.source.script.append(DOWN)
            await clock.advance(3300)
            await clock.advance(3300)
        assert other.source.count == 3
        await clock.advance(3700)
        assert it.ready is not None, "without traffic"
        assert other.ready == "at-4"


# ---- pushes ----------------------------------------------------------------------------------------------------------


async def test_a_pushed_token_is_used_at_once_and_renewed_like_any_other():
    async with managed() as it:
        token = await it.manager.adopt(it.source.token("pushed", lifetime=100))
        assert (it.ready, token.generation) == ("pushed", 2)
        await it.clock.advance(51)
        assert it.ready == "at-2"


async def test_a_push_wakes_those_who_wait_and_wins_over_the_renewal_in_flight():
    """In-flight renewals must not bring back what was replaced meanwhile."""
    async with managed(refresh=LAZY) as it:
        gate = it.source.hold()
        waiting = [asyncio.create_task(it.manager.current()) for _ in range(3)]
        await settle()
        pushed = await it.manager.adopt(it.source.token("pushed"))
        assert [token.access_token for token in await asyncio.gather(*waiting)] == ["pushed"] * 3
        gate.set_result(None)
        await settle()
        assert it.manager.ready().access_token == "pushed"
        assert it.manager.held().generation == pushed.generation == 1


async def test_a_new_refresh_token_from_the_renewal_in_flight_is_kept_unless_the_push_brought_one():
    for brought, kept in ((None, "rt-2"), ("rt-pushed", "rt-pushed")):
        async with managed(refresh=LAZY) as it:
            it.source.rotates = True
            await it.manager.current()
            gate = it.source.hold()
            renewing = asyncio.create_task(it.manager.renew_now())
            await settle()
            await it.manager.adopt(it.source.token("pushed", refresh_token=brought))
            gate.set_result(None)
            await renewing
            await settle()
            assert it.ready == "pushed"
            assert it.record.refresh_token == kept
            assert not it.record.spending


async def test_a_push_without_a_refresh_token_keeps_ours():
    async with managed() as it:
        await it.manager.adopt(it.source.token("one", refresh_token="r"))
        await it.manager.adopt(it.source.token("two"))
        assert (it.record.access_token, it.record.refresh_token) == ("two", "r")


async def test_a_pushed_refresh_token_is_kept_in_the_record():
    async with managed() as it:
        await it.manager.adopt(it.source.token("pushed", refresh_token="pushed-rt"))
        assert it.record.refresh_token == "pushed-rt"


async def test_a_push_is_saved():
    async with managed() as it:
        await it.manager.adopt(it.source.token("pushed"))
        assert it.record.access_token == "pushed"


@pytest.mark.parametrize(("refresh_token", "later"), [(None, 60), ("pushed-rt", 60), (None, 0)])
async def test_a_push_while_the_record_cannot_be_read_is_not_forgotten_once_it_can(refresh_token, later):
    """The store's key was the wrong one; nobody else has saved anything. Of one moment's tokens the last one counts."""
    clock = FakeClock()
    store = SharedStore()
    async with managed(clock=clock, store=store, refresh=LAZY) as it:
        await it.manager.adopt(it.source.token("old", refresh_token="old-rt"))
    await clock.advance(later)
    store.failing = StoreError("another key")
    async with managed(clock=clock, store=store, refresh=LAZY) as it:
        await it.manager.adopt(it.source.token("new", refresh_token=refresh_token))
        store.failing = None
        await clock.advance(10)
        assert it.ready == it.record.access_token == "new"
        assert it.record.refresh_token == (refresh_token or "old-rt")
        assert it.manager.held().generation == it.record.generation > 1


async def test_an_older_push_while_the_record_cannot_be_read_yields_to_it():
    clock = FakeClock()
    store = SharedStore()
    older = PlayedSource(clock).token("older")
    await clock.advance(60)
    async with managed(clock=clock, store=store, refresh=LAZY) as it:
        await it.manager.adopt(it.source.token("stored"))
    store.failing = StoreError("another key")
    async with managed(clock=clock, store=store, refresh=LAZY) as it:
        await it.manager.adopt(older)
        store.failing = None
        await clock.advance(10)
        assert it.ready == it.record.access_token == "stored"


async def test_the_very_same_push_keeps_its_generation():
    async with managed() as it:
        pushed = it.source.token("pushed")
        first = await it.manager.adopt(pushed)
        second = await it.manager.adopt(pushed)
        assert first.generation == second.generation == 2
        other = await it.manager.adopt(TokenResponse(structs.replace(pushed.token, access_token="other")))
        assert other.generation == 3


async def test_a_push_may_ask_for_the_generation_it_knows():
    async with managed() as it:
        assert (await it.manager.adopt(it.source.token("two"), if_match=1)).generation == 2
        with pytest.raises(GenerationMismatch):
            await it.manager.adopt(it.source.token("three"), if_match=1)
        assert it.ready == "two"


async def test_a_push_ends_a_refusal():
    async with managed(started=False) as it:
        it.source.script.append(NO)
        await it.start()
        await it.manager.adopt(it.source.token("pushed"))
        assert (await it.manager.current()).access_token == "pushed"
        assert it.manager.report().last_error is None


async def test_a_token_that_only_ever_is_pushed_is_not_asked_for_ahead_of_time():
    async with managed(renews=False) as it:
        assert it.manager.report().attempted
        await it.manager.adopt(it.source.token("pushed", refresh_token="r"))
        assert it.record.refresh_token is None
        await it.clock.advance(3590)
        assert it.ready == "pushed"
        assert it.source.count == 0
        assert it.manager.report().refresh_at is None


async def test_a_request_waits_for_a_push():
    async with managed(renews=False) as it:
        waiting = asyncio.create_task(it.manager.current())
        await settle()
        await it.manager.adopt(it.source.token("pushed"))
        assert (await waiting).access_token == "pushed"


async def test_a_request_that_waits_for_a_push_in_vain_is_refused():
    async with managed(renews=False, deadline=0.01) as it:
        with pytest.raises(CredentialRefused, match="No token was pushed"):
            await it.manager.current()


async def test_a_request_waits_for_the_first_push_a_second_and_for_another_as_long_as_it_may():
    async with managed(renews=False, deadline=30.0) as it:
        began = time.monotonic()
        with pytest.raises(CredentialRefused, match="No token was pushed"):
            await it.manager.current()
        assert 0.9 < time.monotonic() - began < 15
        await it.manager.adopt(it.source.token("pushed", lifetime=60.0))
        await it.clock.advance(100)
        waiting = asyncio.create_task(it.manager.current())
        await asyncio.sleep(1.2)
        assert not waiting.done()
        await it.manager.adopt(it.source.token("later"))
        assert (await waiting).access_token == "later"


async def test_a_push_that_the_store_must_keep_and_cannot_is_refused():
    async with managed() as it:
        it.store.failing = StoreError("gone", degrade=False)
        with pytest.raises(CredentialUnavailable, match="store"):
            await it.manager.adopt(it.source.token("pushed"))
        assert it.ready == "at-1"
        it.store.failing = None


class Silent(SharedStore):
    """Tells nobody of a save, as a file does that is looked at once a second and was saved over by then."""

    def watch(self, name, changed):  # noqa: ARG002 - the interface
        return lambda: None


async def test_a_push_to_another_process_reaches_us_though_our_renewal_fails_and_is_noted_over_it():
    clock, store = FakeClock(), Silent()

    async def seed() -> TokenPair:
        return TokenPair(None, "rt-0")

    async with managed(clock=clock, store=store, seed=seed) as ours, managed(clock=clock, store=store) as theirs:
        answer = ours.source.hold()
        renewal = asyncio.create_task(ours.manager.renew_now())
        await settle()
        await theirs.manager.adopt(theirs.source.token("pushed"))
        answer.set_result(CredentialUnavailable("down"))
        await settle()
        assert (await renewal).access_token == "pushed"
        assert ours.ready == "pushed"


# ---- its life --------------------------------------------------------------------------------------------------------


async def test_a_restart_goes_on_with_the_stored_token():
    async with managed() as it:
        token = it.manager.held()
    clock = FakeClock(wall=it.clock.wall() + 60, elapsed=7.0)
    async with managed(clock=clock, store=it.store) as again:
        assert again.source.count == 0
        assert again.ready == "at-1"
        assert again.manager.held().expires_wall == token.expires_wall
        assert again.manager.held().expires_elapsed == 7.0 + 3540
        assert again.manager.report().attempted


async def test_a_restart_after_the_expiry_fetches_at_once():
    async with managed() as it:
        pass
    clock = FakeClock(wall=it.clock.wall() + 3600, elapsed=7.0)
    async with managed(clock=clock, store=it.store) as again:
        assert again.source.count == 1
        assert again.manager.held().generation == 2


async def test_two_processes_that_share_a_store_renew_once_between_them():
    """C6."""
    async with managed() as one, managed(clock=one.clock, source=one.source, store=one.store) as two:
        assert (one.ready, two.ready) == ("at-1", "at-1")
        await one.clock.advance(3300)
        assert one.source.count == 2
        assert (one.ready, two.ready) == ("at-2", "at-2")
        await asyncio.gather(one.manager.renew(one.manager.held()), two.manager.renew(two.manager.held()))
        assert one.source.count == 3


async def test_two_processes_with_different_configurations_do_not_make_each_other_renew():
    """A rolling update that changes the scope: each sends what it asked for itself, and there is peace between them."""
    async with (
        managed(binding=Binding(request="read")) as one,
        managed(clock=one.clock, source=one.source, store=one.store, binding=Binding(request="write")) as two,
    ):
        assert (one.ready, two.ready) == ("at-1", "at-2")
        await one.clock.advance(60)
        assert (one.ready, two.ready) == ("at-1", "at-2")
        await one.clock.advance(3300)
        assert one.source.count == 4


async def test_a_push_reaches_every_process_and_wakes_who_waits_there():
    async with (
        managed(refresh=LAZY) as one,
        managed(clock=one.clock, store=one.store, refresh=LAZY) as two,
    ):
        gate = two.source.hold()
        waiting = asyncio.create_task(two.manager.current())
        await settle()
        await one.manager.adopt(one.source.token("pushed"))
        assert (await waiting).access_token == "pushed"
        gate.set_result(None)
        await settle()
        assert (one.ready, two.ready) == ("pushed", "pushed")


async def test_another_process_that_only_begins_a_renewal_wakes_nobody():
    async with managed() as one, managed(clock=one.clock, source=one.source, store=one.store) as two:
        one.source.rotates = True
        await one.manager.renew_now()
        gate = one.source.hold()
        refused = two.manager.ready()
        renewing = asyncio.create_task(one.manager.renew_now())
        await settle()
        joined = asyncio.create_task(two.manager.renew(refused))
        await settle()
        assert not joined.done()
        gate.set_result(None)
        assert (await joined).access_token != refused.access_token
        await renewing
        assert one.source.count == 3


async def test_stopping_waits_for_a_refresh_token_that_is_on_its_way():
    async with managed(lifetime=100.0) as it:
        it.source.rotates = True
        await it.manager.renew_now()
        gate = it.source.hold()
        renewing = asyncio.create_task(it.manager.renew_now())
        await settle()
        stopping = asyncio.create_task(it.manager.stop())
        await settle()
        assert not stopping.done()
        gate.set_result(None)
        await stopping
        await renewing
        assert it.record.refresh_token == "rt-3"


@pytest.mark.parametrize("within", [0.0, 0.05])
async def test_and_no_longer_than_there_is_time(within):
    async with managed(lifetime=100.0, deadline=60.0) as it:
        it.source.rotates = True
        await it.manager.renew_now()
        it.source.hold()
        renewing = asyncio.create_task(it.manager.renew_now())
        await settle()
        async with asyncio.timeout(10):
            await it.manager.stop(within=within)
        with pytest.raises(CredentialUnavailable, match="shutting down"):
            await renewing
        assert it.record.spending, "whoever comes next knows that the refresh token may be spent"


async def test_stopping_does_not_wait_for_anything_else():
    async with managed(refresh=LAZY) as it:
        it.source.hold()
        waiting = asyncio.create_task(it.manager.current())
        await settle()
        await it.manager.stop()
        with pytest.raises(CredentialUnavailable, match="shutting down"):
            await waiting


async def test_after_stopping_nothing_is_renewed():
    async with managed() as it:
        await it.manager.stop()
        await it.clock.advance(10_000)
        assert it.source.count == 1
        assert len(it.cache) == 0


async def test_a_token_bound_to_a_key_that_is_gone_is_not_sent():
    """D11."""
    keys = DpopKeys(DpopKey.generate())
    clock = FakeClock()
    source = PlayedSource(clock)
    source.script.append(source.token("bound", key_thumbprint=keys.current.thumbprint))
    async with managed(clock=clock, source=source, keys=keys, keeps_key=False) as it:
        assert it.ready == "bound"
    async with managed(clock=clock, store=it.store, keys=DpopKeys(DpopKey.generate()), keeps_key=False) as again:
        assert again.ready == "at-1"


async def test_a_key_that_we_made_is_kept_with_the_token_and_taken_up_again():
    """D11."""
    keys = DpopKeys(DpopKey.generate())
    clock = FakeClock()
    source = PlayedSource(clock)
    source.script.append(source.token("bound", key_thumbprint=keys.current.thumbprint))
    async with managed(clock=clock, source=source, keys=keys) as it:
        pass
    later = DpopKeys(DpopKey.generate())
    async with managed(clock=clock, store=it.store, keys=later) as again:
        assert again.ready == "bound"
        assert later.current.thumbprint == keys.current.thumbprint


async def test_the_report_tells_how_it_stands():
    async with managed() as it:
        report = it.manager.report()
        assert report.state == "fresh"
        assert report.expires_at == it.clock.wall() + 3600
        assert report.refresh_at == it.clock.wall() + 3240
        assert report.last_refresh == it.clock.wall()
        assert report.refreshes["success"] == 1
        assert "at-1" not in repr(report)


async def test_a_store_that_fails_is_saved_to_later(caplog):
    async with managed() as it:
        it.store.failing_saves = StoreError("disk full")
        await it.manager.renew_now()
        assert it.ready == "at-2"
        assert it.record.access_token == "at-1"
        assert "disk full" in caplog.text
        await it.clock.advance(6)
        it.store.failing_saves = None
        await it.clock.advance(6)
        assert it.record.access_token == "at-2"


async def test_stopping_waits_for_a_save_under_way():
    async with managed() as it:
        it.store.failing_saves = StoreError("disk full")
        await it.manager.renew_now()
        it.store.failing_saves = None
        it.manager.renew_if_due()
        await it.manager.stop()
        assert it.record.access_token == "at-2"


async def test_a_seed_that_cannot_be_read_does_not_stop_the_start(caplog):
    async def seed() -> Token | None:
        raise CredentialUnavailable("no seed")

    async with managed(seed=seed) as it:
        assert it.state == "empty"
        assert "no seed" in caplog.text


async def test_the_hot_path_is_short():
    """The bound is loose, for loaded machines; the bench has the figures."""
    clock = SystemClock()
    scheduler = RefreshScheduler(clock)
    source = PlayedSource(clock)
    manager = TokenManager(
        "crm", source, store=MemoryTokenStore(), clock=clock, cache=TokenCache(clock), scheduler=scheduler
    )
    await manager.start()
    await manager.current()
    try:
        taken = timeit.repeat(manager.ready, timer=time.process_time, number=2000, repeat=10)
        assert min(taken) / 2000 < 5e-5
    finally:
        await manager.stop()


async def test_who_joins_a_flight_that_another_began_is_told_of_the_same_token_too():
    async with managed() as it:
        refused = it.manager.ready()
        first, second = it.source.hold(), it.source.hold()
        await it.clock.advance(3241)
        renewing = [asyncio.create_task(it.manager.renew(refused)) for _ in range(3)]
        await settle()
        first.set_result(structs.replace(refused))
        await settle()
        second.set_result(structs.replace(refused))
        errors = await asyncio.gather(*renewing, return_exceptions=True)
        assert [type(error) for error in errors] == [CredentialRefused] * 3
        assert it.source.count == 3


@pytest.mark.parametrize("error", [CredentialUnavailable("x"), CredentialRefused("x"), GrantRefused("x")])
async def test_whatever_fails_the_next_success_makes_all_well(error):
    async with managed(started=False) as it:
        it.source.script.append(error)
        await it.start()
        assert it.state == "empty"
        await it.clock.advance(120)
        assert it.state == "fresh"
        assert it.manager.report().last_error is None
        assert isinstance(error, CredentialError)


# ---- a record that was written under a wrong clock -------------------------------------------------------------------


@asynccontextmanager
async def found_ahead(ahead: float = 86400, lifetime: float = 3600, **options):
    """A process that finds the token of another one, whose clock was ahead."""
    clock, store = FakeClock(), SharedStore()
    clock.step_wall(ahead)
    async with managed(clock=clock, store=store, lifetime=lifetime):
        pass
    clock.step_wall(-ahead)
    async with managed(clock=clock, store=store, started=False, **options) as found:
        yield found


async def test_a_token_that_was_dated_ahead_is_not_sent_before_a_renewal_was_tried():
    async with found_ahead() as it:
        it.source.script.append(it.source.token("new"))
        await it.start()
        assert (it.source.count, it.ready) == (1, "new")


async def test_a_request_that_comes_first_waits_for_that_renewal():
    async with found_ahead(refresh=LAZY) as it:
        await it.start()
        assert (it.ready, it.state) == (None, "stale")
        it.source.script.append(it.source.token("new"))
        assert (await it.manager.current()).access_token == "new"


async def test_where_the_renewal_fails_it_is_sent_for_its_lifetime_at_most():
    async with found_ahead(lifetime=3600) as it:
        it.source.script.extend([CredentialUnavailable("down")] * 200)
        await it.start()
        assert (await it.manager.current()).access_token == "at-1"
        assert it.manager.report().expires_at <= it.clock.wall() + 3600
        await it.clock.advance(3500)
        assert (it.ready, it.state) == ("at-1", "failing")
        await it.clock.advance(100)
        assert (it.ready, it.state) == (None, "expired")


async def test_a_pushed_token_that_was_dated_ahead_is_sent_for_its_lifetime_at_most():
    """There is nobody to ask for another."""
    clock, store = FakeClock(), SharedStore()
    clock.step_wall(86400)
    async with managed(clock=clock, store=store, renews=False) as it:
        await it.manager.adopt(it.source.token("pushed", lifetime=3600))
    clock.step_wall(-86400)
    async with managed(clock=clock, store=store, renews=False) as it:
        assert (await it.manager.current()).access_token == "pushed"
        assert (it.source.count, it.manager.report().last_error) == (0, None)
        await clock.advance(3600)
        assert (it.ready, it.state) == (None, "expired")


async def test_a_clock_that_is_wrong_at_the_start_and_stepped_forward_costs_no_pushed_token():
    """A machine without a clock of its own begins in the past, until it hears the time."""
    clock, store = FakeClock(), SharedStore()
    async with managed(clock=clock, store=store, renews=False) as it:
        await it.manager.adopt(it.source.token("pushed", lifetime=86400))
    clock.step_wall(-1e9)
    async with managed(clock=clock, store=store, renews=False) as it:
        assert (await it.manager.current()).access_token == "pushed"
        clock.step_wall(1e9 + 3600)
        await clock.advance(2)
        assert it.ready == "pushed"
        clock.step_wall(86400)
        assert it.ready is None


async def test_the_end_that_is_told_is_the_one_that_counts_after_the_clock_was_stepped_back():
    clock = FakeClock()
    clock.step_wall(86400)
    async with managed(clock=clock) as it:
        clock.step_wall(-86400)
        assert it.manager.report().expires_at == pytest.approx(clock.wall() + 3600)
        assert it.ready == "at-1"


async def test_a_warm_token_is_handed_out_with_four_python_calls():
    async with managed() as it:
        await it.manager.current()
        it.manager.ready()
        calls: list[str] = []

        def profile(frame, event: str, _argument: object) -> None:
            if event == "call":
                calls.append(frame.f_code.co_qualname)

        sys.setprofile(profile)
        try:
            it.manager.ready()
        finally:
            sys.setprofile(None)
    assert calls == ["TokenManager.ready", "FakeClock.elapsed", "HeldToken.ready", "FakeClock.wall"]
