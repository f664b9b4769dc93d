from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.http1.fields import content_length, lines_named, lines_of, listed, pairs, read, value_of, without
from proxy.http1.grammar import GrammarError

SECTION = b"\r\nHost: a\r\nx-One:  1 \t\r\nCONTENT-type:text/plain\r\nX-ONE: 2\r\ncontent-TYPE: b\r\nX-Two:\r\n"


def test_lines_keep_every_octet_and_the_name_as_spelled():
    lines = lines_of(SECTION)

    assert b"\r\n" + b"".join(line for line, _ in lines) == SECTION
    assert [name for _, name in lines] == [b"Host", b"x-One", b"CONTENT-type", b"X-ONE", b"content-TYPE", b"X-Two"]


def test_known_fields_are_found_in_any_case_in_their_order():
    found, _ = read(SECTION)

    assert found == {b"host": [b"a"], b"content-type": [b"text/plain", b"b"]}


def test_no_lines_are_no_fields():
    assert read(b"\r\n") == ({}, b"\r\n")
    assert lines_of(b"\r\n") == []


def test_a_name_is_never_taken_out_of_a_value_or_of_a_longer_name():
    section = b"\r\nX: Host: b\r\nY: \tContent-Length: 5\r\nX-Upgrade: a\r\nUpgrade-Insecure-Requests: 1\r\nTEa: b\r\n"

    assert [name for _, name in lines_of(section)] == [b"X", b"Y", b"X-Upgrade", b"Upgrade-Insecure-Requests", b"TEa"]
    assert read(section) == ({}, section)


def test_hop_by_hop_lines_are_cut_out_and_nothing_else_is_touched():
    section = (
        b"\r\nTE: trailers\r\nA: TE: trailers\r\nconnection: x, close \r\nB:\r\nTE: trailers\r\nKeep-Alive:\r\n"
        b"C: \r\nTE: TE\r\nproxy-Authorization: Basic x\r\n"
    )

    found, kept = read(section)

    assert kept == b"\r\nA: TE: trailers\r\nB:\r\nC: \r\n"
    assert found == {
        b"te": [b"trailers", b"trailers", b"TE"],
        b"connection": [b"x, close"],
        b"keep-alive": [b""],
        b"proxy-authorization": [b"Basic x"],
    }


NAMES = st.sampled_from([b"TE", b"te", b"Connection", b"Upgrade", b"Host", b"X", b"X-TE", b"TE-X", b"Keep-Alive", b"T"])
VALUES = st.sampled_from([b"", b"a", b"TE: a", b"Connection", b" a b ", b"\xff:", b"\t"])


@given(st.lists(st.tuples(NAMES, VALUES)))
def test_reading_agrees_with_looking_at_each_line(fields):
    lines = [(b"%b:%b\r\n" % field, field[0]) for field in fields]
    section = b"\r\n" + b"".join(line for line, _ in lines)
    hop_by_hop = {b"te", b"connection", b"upgrade", b"keep-alive"}

    found, kept = read(section)

    assert lines_of(section) == lines
    assert lines_of(kept) == [line for line in lines if line[1].lower() not in hop_by_hop]
    for name in hop_by_hop | {b"host"}:
        assert found.get(name, []) == [value.strip(b" \t") for spelled, value in fields if spelled.lower() == name]


def test_pairs_have_no_white_space_around_values():
    assert pairs(lines_of(SECTION)) == [
        (b"Host", b"a"),
        (b"x-One", b"1"),
        (b"CONTENT-type", b"text/plain"),
        (b"X-ONE", b"2"),
        (b"content-TYPE", b"b"),
        (b"X-Two", b""),
    ]


@pytest.mark.parametrize(("name", "value"), [(b"x-one", b"1, 2"), (b"x-two", b""), (b"host", b"a"), (b"x", None)])
def test_several_lines_of_one_field_are_one_value(name, value):
    assert value_of(lines_of(SECTION), name) == value


@pytest.mark.parametrize(
    ("line", "plain", "alias"),
    [
        (b"X-Api-Key: v", True, True),
        (b"x-aPI-kEY:v", True, True),
        (b"X_Api_Key: v", False, True),
        (b"x-api_key:\tv", False, True),
        (b"token: v", True, True),
        (b"TOKEN:v", True, True),
        (b"X-Api-Keys: v", False, False),
        (b"XX-Api-Key: v", False, False),
        (b"XxApi-Key: v", False, False),
        (b"A: X-Api-Key: v", False, False),
    ],
)
def test_lines_are_found_by_name_with_and_without_aliases(line, plain, alias):
    section = b"\r\nA: b\r\n" + line + b"\r\nC: d\r\n"
    names = [b"x-api-key", b"token"]

    for aliases, expected in ((False, plain), (True, alias)):
        matches = lines_named(names, aliases=aliases).findall(section)
        assert [(match[0], match[2]) for match in matches] == ([(b"\r\n" + line, b"v")] if expected else [])


def test_lines_that_a_peer_names_are_cut_out_in_any_case_and_no_other():
    names = {b"x-one", b"x:y", b"(", b"content-type"}

    assert without(SECTION, names) == b"\r\nHost: a\r\nX-Two:\r\n"
    assert without(SECTION, set()) == SECTION
    assert without(b"\r\n", names) == b"\r\n"


def test_an_underscore_in_a_name_of_ours_has_aliases_too():
    assert lines_named([b"api_key"], aliases=True).search(b"\r\nApi-Key: v\r\n") is not None


@pytest.mark.parametrize(
    ("values", "members"),
    [
        ([b"close"], {b"close"}),
        ([b"Keep-Alive"], {b"keep-alive"}),
        ([b" Keep-Alive ,\tX-A"], {b"keep-alive", b"x-a"}),
        ([b"a", b"B, a"], {b"a", b"b"}),
        ([b"close", b"Close"], {b"close"}),
        ([b""], set()),
        ([b", ,,"], set()),
    ],
)
def test_a_list_is_its_members_whatever_its_commas(values, members):
    assert listed(values) == members


@given(st.integers(0, 2**63 - 1))
def test_every_length_of_63_bits_is_read(length):
    """Row 3."""
    assert content_length([b"%d" % length]) == length


@pytest.mark.parametrize(
    "values", [[b"5", b"5"], [b"5,5"], [b""], [b"+5"], [b"-1"], [b"0x5"], [b"1_0"], [b"9" * 19], [b"5\n"], [b"\xb2"]]
)
def test_any_other_length_is_refused(values):
    """Row 3."""
    with pytest.raises(GrammarError):
        content_length(values)
