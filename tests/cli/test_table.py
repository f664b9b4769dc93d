"""Columns and moments."""

from __future__ import annotations

import pytest

from proxy.cli.table import span, table


def test_columns_stand_below_each_other_and_lines_end_without_blanks():
    assert table(("A", "LONG"), [("wide one", "x"), ("b", "")]) == "A         LONG\nwide one  x\nb"


def test_a_table_without_rows_is_its_head():
    assert table(("A", "B"), []) == "A  B"


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "0s"), (0.4, "0s"), (59.6, "1m"), (61, "1m 1s"), (3600, "1h"), (3661, "1h 1m"), (90061, "1d 1h"), (-3, "-3s")],
)
def test_spans_have_two_units_at_most(seconds, text):
    assert span(seconds) == text
