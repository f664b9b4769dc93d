"""What time a server thinks it is."""

from __future__ import annotations

from email.utils import formatdate

import pytest
from support.signing import WALL, answer

from proxy.auth.skew import ServerTime


def dated(wall: float | bytes):
    value = wall if isinstance(wall, bytes) else formatdate(wall, usegmt=True).encode()
    return answer(401, fields=((b"date", value), (b"Date", b"the second is not read")))


def test_stamps_are_whole_seconds_of_the_wall_clock():
    assert ServerTime().stamp(WALL + 0.9) == int(WALL)


def test_stamps_never_decrease_even_if_the_wall_clock_is_stepped_back():
    time = ServerTime()
    assert [time.stamp(wall) for wall in (WALL, WALL - 60, WALL + 1, WALL)] == [WALL, WALL, WALL + 1, WALL + 1]


@pytest.mark.parametrize("error", [600.0, -600.0])
def test_a_refusal_by_a_server_with_another_time_moves_our_stamps_to_its_time(error):
    time = ServerTime()
    stamped = time.stamp(WALL)
    assert time.mend(dated(WALL + error), stamped)
    assert time.stamp(WALL + 10) == WALL + 10 + error


def test_a_burst_of_refusals_learns_the_offset_once_and_each_is_worth_another_attempt():
    time = ServerTime()
    stamps = [time.stamp(WALL) for _ in range(3)]
    assert all(time.mend(dated(WALL + 600), stamp) for stamp in stamps)
    assert time.stamp(WALL) == WALL + 600


def test_a_refusal_at_the_right_time_is_not_about_time():
    time = ServerTime()
    assert not time.mend(dated(WALL + 4), time.stamp(WALL))
    assert time.offset == 0


def test_a_wrong_date_is_dropped_as_soon_as_it_did_not_help():
    time = ServerTime()
    assert time.mend(dated(WALL + 600), time.stamp(WALL))
    assert not time.mend(dated(WALL + 601), time.stamp(WALL + 1))
    assert time.stamp(WALL + 2) == WALL + 2


def test_a_clock_that_is_stepped_later_is_learned_anew():
    """D10."""
    time = ServerTime()
    time.mend(dated(WALL + 600), time.stamp(WALL))
    assert time.stamp(WALL + 600) == WALL + 1200
    assert time.mend(dated(WALL + 600), int(WALL + 1200))
    assert time.stamp(WALL + 601) == WALL + 601


@pytest.mark.parametrize("ahead", [60.0, 86_400.0])
def test_a_clock_that_was_ahead_and_is_put_right_costs_one_refusal(ahead):
    time = ServerTime()
    time.stamp(WALL + ahead)
    assert time.stamp(WALL + 1) == WALL + ahead, "as long as nobody minds"
    assert time.mend(dated(WALL + 1), None)
    assert time.stamp(WALL + 2) == WALL + 2
    assert not time.mend(dated(WALL + 2), None), "what is refused now is not about time"


@pytest.mark.parametrize("skew", [0.0, 600.0, -600.0])
@pytest.mark.parametrize("age", [0, 10, 500])
def test_the_age_of_what_is_refused_is_no_error_of_our_clock(skew, age):
    time = ServerTime()
    time.stamp(WALL)
    time.follow(dated(WALL + age + skew), WALL + age)
    assert time.offset == skew
    time.stamp(WALL + age)
    time.follow(dated(WALL + age + 60 + skew), WALL + age + 60)
    assert time.offset == skew, "refused for another reason, a minute later"
    time.stamp(WALL + age + 60)
    time.follow(dated(WALL + age + 60 + skew), WALL + age + 60)
    assert time.offset == 0, "dated by that clock, and refused at once: it was not about time"


def test_stamps_of_a_clock_that_was_put_right_are_given_up():
    time = ServerTime()
    time.stamp(WALL + 86_400)
    time.follow(dated(WALL), WALL)
    assert time.stamp(WALL) == WALL
    time.follow(answer(401), WALL)
    assert time.stamp(WALL) == WALL


def test_without_a_known_stamp_the_last_one_counts():
    time = ServerTime()
    time.stamp(WALL)
    assert not time.mend(dated(WALL), None)
    assert time.mend(dated(WALL + 60), None)


@pytest.mark.parametrize(
    "value",
    [b"Sunday, 06-Nov-94 08:49:37 GMT", b"Sun Nov  6 08:49:37 1994", b"Sun, 06 Nov 1994 08:49:37 GMT"],
)
def test_a_date_before_the_ten_digit_years_is_not_believed(value):
    time = ServerTime()
    assert not time.mend(dated(value), time.stamp(WALL))


@pytest.mark.parametrize(
    "value", [b"Sunday, 06-Nov-33 08:49:37 GMT", b"Sun Nov  6 08:49:37 2033", b"Sun, 06 Nov 2033 08:49:37 GMT"]
)
def test_a_date_is_read_in_all_three_formats(value):
    """RFC 9110 §5.6.7."""
    time = ServerTime()
    assert time.mend(dated(value), time.stamp(WALL))
    assert time.stamp(WALL) == 2_014_879_777


@pytest.mark.parametrize(
    "value",
    [b"", b"soon", b"\xff", b"Sun, 99 Nov 9999999 08:49:37 GMT", b"Sun, 06 Nov 2033 99:99:99 +9999999999999999"],
)
def test_a_malformed_date_teaches_nothing(value):
    time = ServerTime()
    assert not time.mend(dated(value), time.stamp(WALL))


def test_an_answer_without_a_date_teaches_nothing():
    assert not ServerTime().mend(answer(401), 0)
