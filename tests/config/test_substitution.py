"""`${NAME}` and `${NAME:-default}` in ordinary strings."""

from __future__ import annotations

import pytest

from proxy.config.substitution import SubstitutionError, has_reference, masked_path, substitute

ENVIRON = {"A": "1", "EMPTY": "", "NESTED": "${A}"}


@pytest.mark.parametrize(
    ("text", "result"),
    [
        ("", ""),
        ("plain $A $ $$ {A}", "plain $A $ $$ {A}"),
        ("${A}${A}", "11"),
        ("x${B:-y}z", "xyz"),
        ("${B:-}", ""),
        ("${A:-y}", "1"),
        ("${EMPTY}", ""),
        ("${EMPTY:-y}", "y"),
        ("${B:-a:-b$c{d}", "a:-b$c{d"),
        ("$${A}", "${A}"),
        ("$${A}${A}", "${A}1"),
        ("${NESTED}", "${A}"),
    ],
)
def test_references_are_replaced_once(text, result):
    assert substitute(text, ENVIRON) == result


@pytest.mark.parametrize(("text", "name"), [("${B}", "B"), ("a${A}${_b9}", "_b9")])
def test_a_variable_that_is_not_set_is_named(text, name):
    with pytest.raises(SubstitutionError, match=f"^the environment variable {name} is not set$") as caught:
        substitute(text, ENVIRON)
    assert caught.value.name == name


@pytest.mark.parametrize("text", ["${", "${}", "${A", "${1}", "${A-b}", "${A:b}", "${ A }", "${a.b}"])
def test_a_reference_that_cannot_be_read_is_refused(text):
    with pytest.raises(SubstitutionError, match="no reference") as caught:
        substitute(text, ENVIRON)
    assert caught.value.name is None


def test_only_braces_make_a_reference():
    assert [has_reference(text) for text in ("$A", "${A}", "$${A}", "{A}")] == [False, True, True, False]


@pytest.mark.parametrize(
    ("written", "shown"),
    [
        ("https://api.example/bot${KEY}/v1", "https://api.example/bot***/v1"),
        ("https://${HOST}/a/${KEY}", "https://api.example/a/***"),
        ("https://${HOST}:${PORT}", "https://api.example:8443"),
        ("${BASE}/v2", "https://api.example/***/v2"),
        ("${HOSTED}/${KEY}", "https://api.example/***"),
        ("https://api.example/${NONE:-d}/$${x}", "https://api.example/***/${x}"),
        ("https://api.example/plain", "https://api.example/plain"),
    ],
)
def test_the_path_of_a_url_shows_no_value(written, shown):
    environ = {
        "KEY": "hush", "HOST": "api.example", "PORT": "8443", "BASE": "https://api.example/hush",
        "HOSTED": "https://api.example",
    }  # fmt: skip
    assert masked_path(written, environ, "***") == shown
