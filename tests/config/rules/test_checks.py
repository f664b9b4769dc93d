"""What names, URLs and pointers must look like, wherever they stand."""

from __future__ import annotations

from pathlib import Path

import pytest

from proxy.config.document import compose
from proxy.config.parse_context import ParseContext
from proxy.config.rules import checks
from proxy.config.schema import ClientTls


@pytest.fixture
def context():
    return ParseContext("c.yaml", compose("a: b"), Path("/"), {})


@pytest.mark.parametrize("name", ["X-A", "x_y", "!#$%&'*+.^`|~", "Cookie"])
def test_a_field_may_have_this_name(context, name):
    checks.header_name(name, (), context)
    assert context.problems() == []


@pytest.mark.parametrize(
    "name", ["", "X A", "X:", "é", "Host", "TE", "transfer-encoding", "Upgrade", "Keep-Alive", "Trailer"]
)
def test_a_field_may_not_have_this_name(context, name):
    checks.header_name(name, (), context)
    assert len(context.problems()) == 1


@pytest.mark.parametrize(
    ("value", "good"), [("", True), ("a\tb c", True), ("é", True), ("a\nb", False), ("\x7f", False), ("\0", False)]
)
def test_a_field_holds_no_control_characters(context, value, good):
    checks.header_value(value, (), context)
    assert (context.problems() == []) is good


@pytest.mark.parametrize(
    ("text", "good"),
    [(None, True), ("", True), ("/a/b~0~1", True), ("/", True), ("a", False), ("/~2", False), ("/~", False)],
)
def test_a_pointer_starts_with_a_slash(context, text, good):
    checks.pointer(text, (), context)
    assert (context.problems() == []) is good


@pytest.mark.parametrize(
    ("text", "good"),
    [
        (None, True),
        ("https://a/b?c", True),
        ("http://localhost:1", True),
        ("http://[::1]/", True),
        ("http://a", False),
        ("a", False),
    ],
)
def test_secrets_go_over_https_or_stay_here(context, text, good):
    """A13."""
    checks.secure_url(text, (), context)
    assert (context.problems() == []) is good


def test_pairs_are_given_together_or_not_at_all(context):
    checks.pairs(("cert_file", "key_file"), ClientTls(), (), context)
    checks.pairs(("cert_file", "key_file"), ClientTls(cert_file="a", key_file="b"), (), context)
    assert context.problems() == []
    checks.pairs(("cert_file", "key_file"), ClientTls(key_file="b"), (), context)
    assert [problem.message for problem in context.problems()] == ["`key_file` needs `cert_file` next to it"]


def test_methods_have_their_case(context):
    checks.method("PURGE", (), context)
    assert context.problems() == []
    checks.method("purge", (), context)
    assert [problem.severity for problem in context.problems()] == ["warning"]
