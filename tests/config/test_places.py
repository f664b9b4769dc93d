from __future__ import annotations

import time

import pytest

from proxy.config.document import Span, compose
from proxy.config.places import Places, SourcePosition

TEXT = """\
a: {b: [c, {d: e}]}
base: &base {x: 1, y: 2}
more: {<<: *base, y: 3, y: 4}
"""


def places(text: str) -> Places:
    return Places(compose(text).root)


@pytest.mark.parametrize(
    ("path", "place"),
    [
        ((), SourcePosition(Span(0, 0, 3, 0), Span(0, 0, 3, 0))),
        (("a",), SourcePosition(Span(0, 0, 0, 1), Span(0, 3, 0, 19))),
        (("a", "b", 0), SourcePosition(Span(0, 8, 0, 9), Span(0, 8, 0, 9))),
        (("a", "b", 1, "d"), SourcePosition(Span(0, 12, 0, 13), Span(0, 15, 0, 16))),
        (("more", "x"), SourcePosition(Span(1, 13, 1, 14), Span(1, 16, 1, 17))),
        (("more", "y"), SourcePosition(Span(2, 18, 2, 19), Span(2, 21, 2, 22))),
    ],
)
def test_a_path_leads_to_key_and_value(path, place):
    assert path in places(TEXT)
    assert places(TEXT).nearest(path) == place


@pytest.mark.parametrize(
    ("path", "around"),
    [
        (("a", "nothing"), ("a",)),
        (("a", "b", 7), ("a", "b")),
        (("a", "b", 0, "path"), ("a", "b", 0)),
        (("nothing", "more"), ()),
    ],
)
def test_where_nothing_stands_the_nearest_key_around_it_is_told(path, around):
    assert path not in places(TEXT)
    assert places(TEXT).nearest(path) == places(TEXT).nearest(around)


def test_a_single_item_stands_where_its_list_would():
    assert ("a", 0) in places("a: b")
    assert places("a: b").nearest(("a", 0)).value == Span(0, 3, 0, 4)


def test_an_empty_file_has_one_place():
    assert places("").nearest(("a",)) == SourcePosition(Span(0, 0, 0, 0), Span(0, 0, 0, 0))
    assert ("a",) not in places("")


def test_thousands_of_keys_are_not_searched_one_by_one():
    """The bound is loose, for loaded machines: from end to end each time, it would take ten times as long."""
    many = places("".join(f"k{number}: v\n" for number in range(9000)))
    many.nearest(("k0",))
    began = time.process_time()
    assert all((f"k{number}",) in many for number in range(9000))
    assert time.process_time() - began < 1
