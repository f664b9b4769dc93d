"""What is a placeholder, what is none, and what time it is in one."""

from __future__ import annotations

import pytest

from proxy.config.placeholders import is_now, now, places

WALL = 1_795_269_306.5  # 2026-11-21T13:55:06.5Z


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("{pw}", {"pw"}),
        ("a{pw}b{per}c", {"pw", "per"}),
        ("{now+7d:%Y-%m-%d}/{now-1h}/{now}/{now:%H:%M}", {"now+7d:%Y-%m-%d", "now-1h", "now", "now:%H:%M"}),
        ('{"a": {"b": "{pw}"}}', {"pw"}),
        ('{"a":{"b":[{}]}}', set()),
        ("{ pw } {a b} {1} {} { {\n} {a.b} {a:b}", set()),
        ("{{pw}} {{{pw}}} ${pw}", set()),
        ("mutation{login(a:1){id name}}", set()),
    ],
)
def test_only_a_word_in_braces_is_a_placeholder(text, names):
    assert places(text) == names


def test_placeholders_are_found_anywhere_in_a_json_value_but_not_in_names():
    assert places({"{a}": ["{b}", {"c": ("{d}",)}], "n": 1}) == {"b", "d"}


@pytest.mark.parametrize(
    ("name", "written"),
    [
        ("now", "2026-11-21T13:55:06Z"),
        ("now+7d:%Y-%m-%d", "2026-11-28"),
        ("now-1h:%H:%M", "12:55"),
        ("now+90s", "2026-11-21T13:56:36Z"),
        ("now-30m:%j", "325"),
    ],
)
def test_a_time_is_written_as_its_placeholder_says(name, written):
    assert is_now(name)
    assert now(name, WALL) == written


@pytest.mark.parametrize("name", ["nowhere", "now+7", "now+7w", "pw", "now7d"])
def test_what_only_begins_alike_is_no_time(name):
    assert not is_now(name)


@pytest.mark.parametrize("name", ["now+999999999d", "nowhere"])
def test_a_time_that_there_is_not_is_an_error(name):
    with pytest.raises(ValueError, match=r"no (such )?time"):
        now(name, WALL)
