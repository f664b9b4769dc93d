from __future__ import annotations

import pytest
from msgspec import structs
from support.clock import FakeClock

from proxy.config.schema import Refresh
from proxy.model import Token
from proxy.tokens.cache import TokenCache
from proxy.tokens.held_token import HeldToken


class Setup:
    def __init__(self) -> None:
        self.clock = FakeClock()
        self.cache = TokenCache(self.clock)
        self.held_token = HeldToken(self.clock, self.cache, Refresh(jitter=0.0))

    def token(self, lifetime: float | None = 3600.0, name: str = "t", generation: int = 1, **more) -> Token:
        wall, elapsed = self.clock.wall(), self.clock.elapsed()
        stated = lifetime is not None
        return Token(
            access_token=name,
            expires_wall=wall + lifetime if stated else None,
            expires_elapsed=elapsed + lifetime if stated else None,
            lifetime=lifetime if stated else 300.0,
            issued_wall=wall,
            issued_elapsed=elapsed,
            generation=generation,
            **more,
        )

    def ready(self) -> Token | None:
        return self.held_token.ready(self.clock.elapsed())

    def due_in(self) -> float:
        return self.held_token.due - self.clock.elapsed()


def test_an_empty_hand_has_nothing_and_is_due():
    s = Setup()
    s.held_token.take(None)
    assert s.ready() is None
    assert s.held_token.usable() is None
    assert s.held_token.is_due(s.clock.elapsed())
    assert s.held_token.end() == s.clock.elapsed()


def test_the_same_object_is_handed_out_as_long_as_it_is_the_same_token():
    s = Setup()
    s.held_token.take(s.token())
    assert s.ready() is s.ready() is s.held_token.token


async def test_a_warm_token_needs_no_look_up_in_the_cache(monkeypatch):
    s = Setup()
    s.held_token.take(s.token(3600))
    assert s.ready() is not None
    looked_up: list[object] = []
    monkeypatch.setattr(s.cache, "get", looked_up.append)
    assert s.ready() is s.held_token.token
    assert looked_up == []
    s.clock.step_wall(3595)
    assert s.ready() is None
    s.clock.step_wall(-3595)
    assert s.ready() is s.held_token.token
    await s.clock.advance(3595)
    assert s.ready() is None


async def test_it_is_handed_out_until_shortly_before_its_end():
    s = Setup()
    s.held_token.take(s.token(3600))
    await s.clock.advance(3594.9)
    assert s.ready() is not None
    await s.clock.advance(0.1)
    assert s.ready() is None
    assert s.held_token.usable() is None


def test_either_clock_can_end_it():
    """A8."""
    for move in ("suspend", "step_wall"):
        s = Setup()
        s.held_token.take(s.token(3600))
        getattr(s.clock, move)(3600)
        assert s.ready() is None, move


def test_a_wall_clock_stepped_back_keeps_nothing_alive():
    s = Setup()
    s.held_token.take(s.token(3600))
    s.clock.step_wall(-86400)
    s.clock.suspend(3600)
    assert s.ready() is None


async def test_a_token_without_a_stated_end_is_due_but_stays():
    s = Setup()
    s.held_token.take(s.token(None))
    assert s.due_in() == 240
    await s.clock.advance(1e6)
    assert s.ready() is not None
    assert s.held_token.is_due(s.clock.elapsed())


def test_what_the_cache_evicted_is_still_in_hand():
    s = Setup()
    s.held_token.take(s.token())
    s.cache.drop(s.held_token)
    assert s.ready() is s.held_token.token
    assert s.cache.get(s.held_token) is s.held_token.token


def test_ready_made_fields_are_a_token_too():
    s = Setup()
    s.held_token.take(s.token(name="", fields=((b"X-Key", b"k"),)))
    assert s.ready() is not None


def test_without_a_token_there_is_nothing_to_send_and_a_renewal_is_due():
    s = Setup()
    s.held_token.take(None)
    assert s.ready() is None
    assert s.held_token.is_due(s.clock.elapsed())


async def test_a_renewal_without_more_life_is_not_repeated_at_once():
    s = Setup()
    first = s.token(3600)
    s.held_token.take(first, asked=True)
    await s.clock.advance(3300)
    again = s.token(300, generation=2)
    s.held_token.take(again, asked=True)
    assert s.due_in() == 240, "its own life says 240 s, half of what is left only 150"
    await s.clock.advance(280)
    s.held_token.take(s.token(20, generation=3), asked=True)
    assert s.due_in() == 18, "30 s at least, but not beyond its end"


@pytest.mark.parametrize("lifetime", [0.5, 2.0, 8.0, 3600.0])
async def test_a_short_token_is_renewed_ahead_each_time(lifetime):
    """The second that issuers may round by is half of the life of some tokens."""
    s = Setup()
    s.held_token.take(s.token(lifetime, "t0"))
    for number in range(1, 5):
        await s.clock.advance(s.due_in())
        s.held_token.take(s.token(lifetime, f"t{number}"), asked=True)
        assert s.due_in() == pytest.approx(lifetime - min(60.0, lifetime / 2), rel=0.2)


async def test_a_token_used_to_its_end_is_due_there():
    s = Setup()
    s.held_token.take(s.token(3600), to_its_end=True)
    assert s.due_in() == 3595
    s.held_token.take(s.token(None, generation=2), to_its_end=True)
    assert s.due_in() == 300


def test_the_same_token_read_again_changes_nothing_about_it():
    s = Setup()
    s.held_token.take(s.token(3600))
    before = s.held_token.token
    s.held_token.take(s.token(1))
    assert s.held_token.token.expires_wall == before.expires_wall


async def test_a_suspected_token_is_held_back_for_a_while():
    s = Setup()
    s.held_token.take(s.token())
    s.held_token.quarantine()
    assert s.ready() is None
    assert s.held_token.usable() is not None
    assert s.held_token.quarantine_left() == 1.0
    await s.clock.advance(0.5)
    s.held_token.quarantine()
    assert s.held_token.quarantine_left() == 0.5, "one suspicion at a time"
    await s.clock.advance(0.5)
    assert s.ready() is not None


def test_suspicion_ends_with_trust_or_with_another_token():
    s = Setup()
    s.held_token.take(s.token())
    s.held_token.quarantine()
    s.held_token.release()
    assert s.ready() is not None
    s.held_token.quarantine()
    s.held_token.take(s.token(name="other", generation=2))
    assert s.ready().access_token == "other"
    s.cache.drop(s.held_token)
    assert s.ready().access_token == "other"


def test_a_dropped_hand_leaves_the_cache():
    s = Setup()
    s.held_token.take(s.token())
    assert s.ready() is not None
    assert len(s.cache) == 1
    s.held_token.drop()
    assert len(s.cache) == 0


def test_a_token_that_nobody_asks_for_takes_no_room_in_the_cache():
    s = Setup()
    s.held_token.take(s.token())
    assert len(s.cache) == 0
    assert s.ready() is s.held_token.token
    s.held_token.take(s.token(name="newer", generation=2))
    assert len(s.cache) == 0
    assert s.ready().access_token == "newer"


@pytest.mark.parametrize("lifetime", [3600, 300, 10, 1, None])
def test_it_is_due_before_it_ends(lifetime):
    s = Setup()
    s.held_token.take(s.token(lifetime))
    assert s.held_token.due <= s.held_token.end()


@pytest.mark.parametrize("ahead", [61, 86400])
def test_a_token_that_is_found_dated_ahead_is_held_back_until_something_better_was_asked_for(ahead):
    s = Setup()
    token = s.token(3600)
    s.held_token.take(structs.replace(token, issued_wall=token.issued_wall + ahead), asked=True)
    assert s.ready() is None
    assert s.held_token.usable() is not None
    assert (s.due_in(), s.held_token.quarantine_left()) == (0, 1.0)


@pytest.mark.parametrize("ahead", [-3600, 0, 59])
def test_a_token_that_is_found_with_a_right_date_is_sent(ahead):
    """Whoever pushes may be a minute ahead."""
    s = Setup()
    token = s.token(3600)
    s.held_token.take(structs.replace(token, issued_wall=token.issued_wall + ahead), asked=True)
    assert s.ready() is not None


def test_what_another_process_has_just_saved_with_a_wrong_clock_is_sent_and_not_renewed_at_once():
    """Or two machines whose clocks differ would renew against each other for ever."""
    s = Setup()
    s.held_token.take(s.token(3600))
    token = s.token(3600, "theirs", generation=2)
    s.held_token.take(structs.replace(token, issued_wall=token.issued_wall + 86400), asked=True)
    assert s.ready().access_token == "theirs"
    assert s.due_in() > 3000


async def test_a_clock_that_was_ahead_makes_no_later_token_seem_to_have_no_more_life():
    s = Setup()
    s.clock.step_wall(86400)
    s.held_token.take(s.token(3600))
    s.clock.step_wall(-86400)
    await s.clock.advance(3300)
    s.held_token.take(s.token(300, "t2", generation=2), asked=True)
    assert s.due_in() == 240 * 1.0, "it has as much life as any"
    s.held_token.take(s.token(3600, "t3", generation=3), asked=True)
    assert s.due_in() == 3240
