"""What is known of one file while it is read."""

from __future__ import annotations

from pathlib import Path

import pytest

from proxy.config.document import Span, compose
from proxy.config.parse_context import ParseContext, spelled

HERE, THERE = Span(0, 0, 0, 1), Span(1, 0, 1, 1)


@pytest.fixture
def context():
    return ParseContext("c.yaml", compose("a: b\nc: d\n"), Path("/"), {})


def said(context: ParseContext) -> list[tuple[int, int, str]]:
    return [(p.line, p.column, p.message) for p in context.problems()]


def test_problems_come_in_the_order_of_the_file_warnings_last(context):
    context.warn(("a",), "doubt")
    context.refuse(("c",), "second")
    context.error(HERE, ("a", "x"), "first")
    assert said(context) == [(1, 1, "first"), (2, 4, "second"), (1, 4, "doubt")]


def test_the_same_mistake_is_said_once(context):
    for _ in range(2):
        context.error(HERE, ("a",), "first")
    assert len(said(context)) == 1


@pytest.mark.parametrize(("path", "silent"), [(("a",), True), (("a", "x", 0), True), (("c",), False), ((), False)])
def test_what_hangs_on_a_broken_key_is_silent(context, path, silent):
    context.error(HERE, ("a",), "first")
    context.refuse(path, "more")
    context.warn(path, "doubt")
    context.refuse(("c",), "needs", needs=[path])
    assert ("more" not in str(said(context))) == silent
    assert ("doubt" not in str(said(context))) == silent
    assert ("needs" not in str(said(context))) == silent


def test_a_key_that_is_not_there_is_reported_where_it_would_stand(context):
    context.refuse(("a", "b", 0), "x")
    context.refuse(("nowhere",), "y")
    assert said(context) == [(1, 1, "y"), (1, 4, "x")]


def test_paths_are_spelled_for_people():
    assert spelled(("routes", 0, "headers", "set", "X\n" + "y" * 99)).startswith("routes[0].headers.set.X?yyy")
    assert spelled(()) == ""


def test_given_is_what_the_file_has_however_broken(context):
    context.broken.add(("x",))
    assert [context.given((key,)) for key in "acxz"] == [True, True, True, False]
