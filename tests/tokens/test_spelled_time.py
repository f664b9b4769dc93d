"""Every spelling of a lifetime and of a moment that token endpoints were seen to use."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.tokens.spelled_time import duration, instant, number

MOMENT = 1_795_269_306  # 2026-11-21T13:55:06Z


@pytest.mark.parametrize(
    ("spelled", "seconds"),
    [
        (3600, 3600), (3600.0, 3600), ("3600", 3600), (" 3600 ", 3600), ("3600.5", 3600.5), ("3600s", 3600), ("8s", 8),
        ("1h", 3600), ("1.5h", 5400), ("90m", 5400), ("2 hours", 7200), ("7d", 604_800), ("500ms", 0.5), ("1H", 3600),
        ("30 minutes", 1800), ("PT1H", 3600), ("PT1H30M", 5400), ("P1D", 86400), ("P1DT0.5S", 86400.5), (0, 0),
        ("-5", -5),
    ],
)  # fmt: skip
def test_a_lifetime_is_read_with_and_without_a_unit(spelled, seconds):
    assert duration(spelled) == seconds


@pytest.mark.parametrize(
    "spelled", ["soon", "1 fortnight", "1h30", "h", "P", "PT", "PTH", "", None, True, [], {}, "٣s", "1  h", "s1"]
)
def test_what_is_no_lifetime_is_none(spelled):
    assert duration(spelled) is None


def test_only_a_bare_number_counts_in_the_stated_unit():
    assert duration(3_600_000, unit=0.001) == duration("3600000", unit=0.001) == 3600
    assert duration("1h", unit=0.001) == 3600


@pytest.mark.parametrize(
    "spelled",
    [
        MOMENT, str(MOMENT), float(MOMENT), MOMENT * 1000, str(MOMENT * 1000), "2026-11-21T13:55:06Z",
        "2026-11-21T13:55:06", "2026-11-21 13:55:06", "2026-11-21T13:55:06+00:00", "2026-11-21T14:55:06+0100",
        "2026-11-21T13:55:06.0000000Z", "2026-11-21 13:55:06 +00:00", "2026-11-21 13:55:06 UTC",
        "11/21/2026 13:55:06 +00:00", "11/21/2026 13:55:06", "11/21/2026 1:55:06 PM +00:00", "11/21/2026 1:55:06 PM",
        "11/21/2026 14:55:06 +01:00", "11/21/2026 13:55:06Z", f"/Date({MOMENT}000)/", f"/Date({MOMENT}000+0100)/",
        "Sat, 21 Nov 2026 13:55:06 GMT", "21 Nov 2026 13:55:06 +0000", "Saturday, 21-Nov-26 13:55:06 GMT",
        "Sat, 21 Nov 2026 14:55:06 +0100", " 2026-11-21T13:55:06Z ", "20261121T135506Z",
    ],
)  # fmt: skip
def test_a_moment_is_read_in_every_spelling_and_means_utc_unless_it_says_otherwise(spelled):
    assert instant(spelled) == MOMENT


def test_midnight_is_written_in_more_than_one_way():
    midnight = 1_795_219_200
    for spelled in ("11/21/2026 00:00:00 +00:00", "11/21/2026 12:00:00 AM", "11/21/2026 00:00:00 PM +00:00"):
        assert instant(spelled) == midnight, spelled
    assert instant("11/21/2026 12:00:00 PM") == midnight + 43200


@pytest.mark.parametrize(
    "spelled",
    [
        "tomorrow", "", None, True, [], {}, "9999-99-99T00:00:00Z", "13/45/2026 00:00:00", "/Date(x)/", "21/11",
        "11/21/2026 13:55:06 PM +99:99", "Sat, 41 Nov 2026 13:55:06 GMT", "1h",
    ],
)  # fmt: skip
def test_what_is_no_moment_is_none(spelled):
    assert instant(spelled) is None


@pytest.mark.parametrize("value", ["nan", "inf", float("inf"), 10**400, True, "1_0_x"])
def test_what_is_no_finite_number_is_none(value):
    assert number(value) is None


@given(st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(), st.dates().map(str)))
def test_anything_is_read_without_harm(value):
    for read in (duration, instant):
        found = read(value)
        assert found is None or math.isfinite(found)
