"""A word where something other than a string is meant."""

from __future__ import annotations

from typing import Literal

import msgspec.inspect as types
import pytest

from proxy.config.document import Span, YamlScalar
from proxy.config.kinds import Marks
from proxy.config.schema import Duration, Rate, Size
from proxy.config.words import WordError, read_word

PLACE = Span(0, 0, 0, 0)


def read(text: str, kind: object, *, plain: bool = True, off: bool = False, zero: bool = False) -> object:
    return read_word(YamlScalar(text, plain, PLACE), types.type_info(kind), Marks(off=off, zero=zero))


@pytest.mark.parametrize(
    ("text", "kind", "value"),
    [
        ("true", bool, True),
        ("5", int, 5),
        ("0.5", float, 0.5),
        ("1", float, 1.0),
        ("5s", Duration, 5.0),
        ("1KiB", Size, 1024),
        ("60/m", Rate, 1.0),
        ("a", Literal["a", "b"], "a"),
        ("1", Literal[1], 1),
    ],
)
def test_a_word_says_what_is_meant(text, kind, value):
    assert read(text, kind) == value
    assert type(read(text, kind)) in (type(value), kind)


@pytest.mark.parametrize(
    ("text", "kind", "said", "hint"),
    [
        ("yes", bool, "true or false", None),
        ("010", int, "plain decimal digits", None),
        ("1.5", int, "a whole number", None),
        ("1:30", float, "a number", None),
        ("0", int, "more than 0", None),
        ("-1", float, "more than 0", None),
        ("0s", Duration, "more than 0", None),
        ("30", Duration, "a duration is", "with a unit: 30s or 30ms"),
        ("x", Literal["aa", "bb"], "must be aa or bb", None),
        ("ab", Literal["aab", "bb"], "must be", "did you mean `aab`?"),
        ("1.2", Literal["1.2"], "may read this as a number", 'quote it: "1.2"'),
    ],
)
def test_a_word_that_does_not_is_refused_with_its_mend(text, kind, said, hint):
    with pytest.raises(WordError) as caught:
        read(text, kind)
    assert said in str(caught.value)
    assert caught.value.hint == hint


@pytest.mark.parametrize(("text", "kind"), [("true", bool), ("5", int), ("0.5", float), ("1", Literal[1])])
def test_quotes_make_a_string(text, kind):
    with pytest.raises(WordError):
        read(text, kind, plain=False)


def test_amounts_and_words_may_be_quoted():
    assert read("5s", Duration, plain=False) == 5.0
    assert read("1.2", Literal["1.2"], plain=False) == "1.2"


def test_zero_is_good_where_it_means_something():
    assert read("0s", Duration, zero=True) == 0
    with pytest.raises(WordError) as caught:
        read("0s", Duration, off=True)
    assert caught.value.hint == "to switch it off, write off"
