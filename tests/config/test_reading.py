"""What is known of one file while it is read."""

from __future__ import annotations

from pathlib import Path

import pytest

from proxy.config.document import Span, compose
from proxy.config.reading import Reading, spelled

HERE, THERE = Span(0, 0, 0, 1), Span(1, 0, 1, 1)


@pytest.fixture
def reading():
    return Reading("c.yaml", compose("a: b\nc: d\n"), Path("/"), {})


def said(reading: Reading) -> list[tuple[int, int, str]]:
    return [(p.line, p.column, p.message) for p in reading.problems()]


def test_problems_come_in_the_order_of_the_file_warnings_last(reading):
    reading.warn(("a",), "doubt")
    reading.refuse(("c",), "second")
    reading.error(HERE, ("a", "x"), "first")
    assert said(reading) == [(1, 1, "first"), (2, 4, "second"), (1, 4, "doubt")]


def test_the_same_mistake_is_said_once(reading):
    for _ in range(2):
        reading.error(HERE, ("a",), "first")
    assert len(said(reading)) == 1


@pytest.mark.parametrize(("path", "silent"), [(("a",), True), (("a", "x", 0), True), (("c",), False), ((), False)])
def test_what_hangs_on_a_broken_key_is_silent(reading, path, silent):
    reading.error(HERE, ("a",), "first")
    reading.refuse(path, "more")
    reading.warn(path, "doubt")
    reading.refuse(("c",), "needs", needs=[path])
    assert ("more" not in str(said(reading))) == silent
    assert ("doubt" not in str(said(reading))) == silent
    assert ("needs" not in str(said(reading))) == silent


def test_a_key_that_is_not_there_is_reported_where_it_would_stand(reading):
    reading.refuse(("a", "b", 0), "x")
    reading.refuse(("nowhere",), "y")
    assert said(reading) == [(1, 1, "y"), (1, 4, "x")]


def test_paths_are_spelled_for_people():
    assert spelled(("routes", 0, "headers", "set", "X\n" + "y" * 99)).startswith("routes[0].headers.set.X?yyy")
    assert spelled(()) == ""


def test_given_is_what_the_file_has_however_broken(reading):
    reading.broken.add(("x",))
    assert [reading.given((key,)) for key in "acxz"] == [True, True, True, False]
