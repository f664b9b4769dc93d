"""XML as values that pointers lead through, and what of XML is refused."""

from __future__ import annotations

import pytest

from proxy.tokens.xml_answer import xml_value


def test_elements_are_members_by_their_local_names():
    body = b'<?xml version="1.0"?><s:Env xmlns:s="urn:x"><s:Body><Token> a-1 </Token><ttl>60</ttl></s:Body></s:Env>'
    assert xml_value(body) == {"Env": {"Body": {"Token": "a-1", "ttl": "60"}}}


def test_elements_of_one_name_are_a_list_and_attributes_are_marked():
    body = b'<r><t k="1">a</t><t>b</t><t/><u x:k="2" xmlns:x="urn:x"/></r>'
    assert xml_value(body) == {"r": {"t": [{"@k": "1", "#text": "a"}, "b", ""], "u": {"@k": "2"}}}


def test_a_declared_charset_is_followed():
    assert xml_value('<?xml version="1.0" encoding="latin-1"?><r>é</r>'.encode("latin-1")) == {"r": "é"}


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"a-1",
        b"<r>",
        b'<!DOCTYPE r [<!ENTITY a "aa">]><r>&a;</r>',
        b'<!DOCTYPE r SYSTEM "file:///etc/passwd"><r/>',
        b'<?xml version="1.0" encoding="no-such"?><r/>',
    ],
)
def test_what_is_no_xml_and_what_would_expand_is_refused(body):
    assert xml_value(body) is None


def test_what_is_nested_without_end_does_no_harm():
    depth = 100_000
    found = xml_value(b"<a>" * depth + b"x" + b"</a>" * depth)
    assert found is not None
    for _ in range(100):
        found = found["a"]
    assert found == {"a": ""} or found["a"] == ""
