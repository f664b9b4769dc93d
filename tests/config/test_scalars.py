"""What a plain word means, and the words that YAML 1.1, YAML 1.2 and people read differently."""

from __future__ import annotations

import datetime as dt

import pytest
import yaml
from hypothesis import example, given
from hypothesis import strategies as st

from proxy.config.scalars import (
    format_duration,
    format_rate,
    format_size,
    is_null,
    other_kind,
    parse_duration,
    parse_rate,
    parse_size,
    to_bool,
    to_float,
    to_int,
)

RESOLVER = yaml.SafeLoader("")


@given(st.text("0123456789:_.-+xobeEaAfFnNyYsSoOrTtlLuU~ =<Z", max_size=12))
@example("1:30")
@example("010")
@example("1_000")
@example("2024-01-01")
@example("12e03")
@example(".inf")
@example("=")
def test_whatever_yaml_1_1_reads_as_no_string_is_known(text):
    """PyYAML is the oracle."""
    tag = RESOLVER.resolve(yaml.ScalarNode, text, (True, False))
    if tag != "tag:yaml.org,2002:str":
        assert other_kind(text) is not None


@pytest.mark.parametrize(
    "text", ["a", "1.2.3", "1a", "127.0.0.1:8080", "a:b", "-", "v1", "1-2", "0x", "12:ab", "nope", "offer", "1h"]
)
def test_other_words_are_strings(text):
    assert other_kind(text) is None


@given(st.integers(-(10**17), 10**17))
def test_a_decimal_number_is_a_number(number):
    assert to_int(str(number)) == number
    assert to_float(str(number)) == float(number)


@pytest.mark.parametrize("text", ["", "+1", "01", "0x1", "1_0", "1:2", "1.0", "1e3", "٣", " 1", "9" * 30])
def test_no_other_spelling_is_a_whole_number(text):
    assert to_int(text) is None


@pytest.mark.parametrize("text", ["", ".", "-", "e5", "-.", "01", "1_0.5", ".inf", ".nan", "1e999", "1:2", "0x1p3"])
def test_no_other_spelling_is_a_number(text):
    assert to_float(text) is None


def test_numbers_booleans_and_null_of_yaml_1_2():
    assert [to_float(text) for text in (".5", "1.", "0.9", "1e3", "-2")][2:] == [0.9, 1000.0, -2.0]
    assert [to_bool(text) for text in ("true", "False", "TRUE", "yes", "on", "")] == [
        True,
        False,
        True,
        None,
        None,
        None,
    ]
    assert [is_null(text) for text in ("", "~", "null", "none")] == [True, True, True, False]


@pytest.mark.parametrize(
    ("text", "seconds"), [("500ms", 0.5), ("30s", 30), ("1.5m", 90), ("12h", 43200), ("7d", 604800), ("0s", 0)]
)
def test_durations_carry_their_unit(text, seconds):
    assert parse_duration(text) == pytest.approx(seconds)
    assert parse_duration(text) == dt.timedelta(seconds=seconds).total_seconds()


@pytest.mark.parametrize(
    ("text", "octets"), [("1B", 1), ("64KiB", 65536), ("1.5KB", 1500), ("1GiB", 2**30), ("2MB", 2_000_000)]
)
def test_sizes_carry_their_unit(text, octets):
    assert parse_size(text) == octets


@pytest.mark.parametrize(("text", "rate"), [("100/s", 100), ("30/m", 0.5), ("3600/h", 1)])
def test_rates_carry_their_unit(text, rate):
    assert parse_rate(text) == rate


@pytest.mark.parametrize("parse", [parse_duration, parse_size, parse_rate])
@pytest.mark.parametrize(
    "text",
    [
        "",
        "1",
        "s",
        "-1s",
        "1 s",
        "1S",
        "1x",
        "1/0",
        "0/s",
        "1e3s",
        "9" * 15 + "d",
        "9" * 15 + "GiB",
        "0.5B",
        "٣s",
        "1s\n",
    ],
)
def test_no_other_spelling_is_an_amount(parse, text):
    with pytest.raises(ValueError, match=r"^a "):
        parse(text)


@given(st.integers(0, 10**9))
def test_amounts_are_shown_as_they_are_read(number):
    assert parse_duration(format_duration(number / 1000)) == pytest.approx(number / 1000)
    assert parse_size(format_size(number)) == number
    assert parse_rate(format_rate(number + 1)) == pytest.approx(number + 1)


def test_amounts_are_shown_short():
    assert [format_duration(s) for s in (0, 0.5, 30, 60, 90, 86400)] == ["0s", "500ms", "30s", "1m", "90s", "1d"]
    assert [format_size(n) for n in (0, 1000, 65536)] == ["0B", "1000B", "64KiB"]
    assert [format_rate(r) for r in (100.0, 0.5, 1 / 3600)] == ["100/s", "30/m", "1/h"]
