"""The pieces of the patterns, each against the RFC's own list of characters."""

from __future__ import annotations

import re
import string

import pytest

from proxy.http1.grammar import HOPELESS, MAX_LENGTH, SECTION, TOKEN, VALUE

TCHAR = set(("!#$%&'*+-.^_`|~" + string.digits + string.ascii_letters).encode())
CONTROLS = set(range(0x20)) - {0x09} | {0x7F}


def octets_that_fit(pattern: bytes, before: bytes, after: bytes) -> set[int]:
    return {octet for octet in range(256) if re.fullmatch(pattern, before + bytes([octet]) + after)}


def test_a_token_is_made_of_the_characters_of_rfc_9110():
    assert octets_that_fit(TOKEN, b"", b"") == TCHAR


def test_a_value_holds_no_control_but_the_tab():
    assert octets_that_fit(VALUE, b"a", b"b") == set(range(256)) - CONTROLS


def test_a_name_is_a_token_and_stands_before_its_colon():
    assert octets_that_fit(SECTION, b"a", b": b\r\n") == TCHAR | set(b":")
    assert octets_that_fit(SECTION, b"", b"a: b\r\n") == TCHAR


def test_hopeless_is_what_neither_a_line_nor_its_end_may_hold():
    found = {octet for octet in range(256) if HOPELESS.search(b"a" + bytes([octet]) + b"b")}

    assert found == CONTROLS


@pytest.mark.parametrize(("data", "hopeless"), [(b"a\r\n", False), (b"a\r", False), (b"a\n", True), (b"\r\r\n", True)])
def test_the_end_of_a_line_is_both_octets(data, hopeless):
    assert (HOPELESS.search(data) is not None) == hopeless


def test_hopeless_is_judged_by_what_stands_before_the_place_where_a_search_goes_on():
    assert HOPELESS.search(b"a\r\nb", 2) is None
    assert HOPELESS.search(b"aa\nb", 2) is not None


def test_lengths_fit_63_bits():
    assert MAX_LENGTH == 0x7FFF_FFFF_FFFF_FFFF
