"""Text to nodes, each with its place, within bounds."""

from __future__ import annotations

import pytest
import yaml
from support.full_file import FULL

from proxy.config.document import (
    Document,
    DocumentError,
    Span,
    YamlMapping,
    YamlNode,
    YamlScalar,
    YamlSequence,
    compose,
    decode,
    split_lines,
)


def same(ours: YamlNode, theirs: yaml.Node) -> bool:
    """Against PyYAML's own composer, places included."""
    start = theirs.start_mark
    if (ours.span.line, ours.span.column) != (start.line, start.column):
        return False
    match ours, theirs:
        case YamlScalar(), yaml.ScalarNode():
            return ours.text == theirs.value and ours.plain == (theirs.style in (None, ""))
        case YamlSequence(), yaml.SequenceNode():
            return all(map(same, ours.items, theirs.value))
        case YamlMapping(), yaml.MappingNode():
            return all(same(k, K) and same(v, V) for (k, v), (K, V) in zip(ours.pairs, theirs.value, strict=True))
    return False


@pytest.mark.parametrize(
    "text", [FULL, "a: [b, {c: 'd', ? e : \"f\"}]\ng: |\n  h\n   i\nj: >-\n  k\n  l\n", "plain", "- - - a"]
)
def test_nodes_and_places_are_those_of_pyyaml(text):
    root, theirs = compose(text).root, yaml.compose(text, Loader=yaml.SafeLoader)
    assert root is not None
    assert theirs is not None
    assert same(root, theirs)


def test_the_parser_in_python_gives_the_same(monkeypatch):
    """Where PyYAML came without libyaml."""
    fast = compose(FULL)
    monkeypatch.setattr("proxy.config.document._LOADER", yaml.SafeLoader)
    assert compose(FULL) == fast
    for text in ("a: b: c", "a: [b", 'a: "b', "a:\n\tb: c", "a: \0", "a:\n  - b\n c: d\n"):
        with pytest.raises(DocumentError):
            compose(text)


def test_nothing_is_an_empty_document():
    assert compose("# nothing\n") == Document(None, "# nothing\n", [])


def test_aliases_share_their_node_and_merge_keys_are_resolved():
    root = compose("a: &x {k: 1, l: 2}\nb: *x\nc: {<<: [*x, {m: 3, k: 4}], l: 5}\n").root
    assert isinstance(root, YamlMapping)
    (_, a), (_, b), (_, c) = root.pairs
    assert a is b
    assert isinstance(c, YamlMapping)
    texts = [
        (key.text, value.text)
        for key, value in c.entries
        if isinstance(key, YamlScalar) and isinstance(value, YamlScalar)
    ]
    assert texts == [("l", "5"), ("k", "1"), ("m", "3")]


def test_a_quoted_merge_key_is_a_key():
    root = compose('"<<": a\n').root
    assert isinstance(root, YamlMapping)
    assert len(root.pairs) == 1


def test_lines_end_where_yaml_ends_them():
    assert split_lines("a\nb\r\nc\rd\x85e\u2028f") == list("abcdef")


def test_octets_are_utf8_with_or_without_a_byte_order_mark():
    assert decode("\ufeffä".encode()) == "ä"
    with pytest.raises(DocumentError) as caught:
        decode("a: ä\nb: ".encode() + b"\xe4")
    assert caught.value.span == Span(1, 3, 1, 3)


def test_no_message_quotes_the_file():
    """PyYAML's own messages name aliases, escapes and tags."""
    for text in (
        "a: *hush",
        "a: !hush b",
        'a: "\\h"',
        "a: %hush",
        "a: @hush",
        "a: &hush *hush",
        "a: hush: hush",
        "a: [hush",
        "!hush!a b",
        "%TAG hush",
    ):
        with pytest.raises(DocumentError) as caught:
            compose(text)
        assert "hush" not in f"{caught.value} {caught.value.hint}"


def test_too_many_nodes_end_in_a_message():
    with pytest.raises(DocumentError, match=r"too (many|large)"):
        compose("[" + "a," * 200_000 + "]")
