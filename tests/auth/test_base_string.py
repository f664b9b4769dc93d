"""What an OAuth 1 signature covers."""

from __future__ import annotations

from urllib.parse import parse_qsl, quote

import pytest
from hypothesis import given
from hypothesis import strategies as st
from oauthlib.oauth1.rfc5849 import signature as oauthlib_signature
from oauthlib.oauth1.rfc5849.utils import escape as oauthlib_escape

from proxy.auth.base_string import base_string, escaped, form_pairs, is_form

QUERY = b"b5=%3D%253D&a3=a&c%40=&a2=r%20b"
BODY = b"c2&a3=2+q"
OAUTH = [
    ("oauth_consumer_key", "9djdj82h48djs9d2"),
    ("oauth_token", "kkk9d7dh3k39sjv7"),
    ("oauth_signature_method", "HMAC-SHA1"),
    ("oauth_timestamp", "137131201"),
    ("oauth_nonce", "7d8f3e4a"),
]
BASE = (
    "POST&http%3A%2F%2Fexample.com%2Frequest&a2%3Dr%2520b%26a3%3D2%2520q%26a3%3Da%26b5%3D%253D%25253D%26c%2540%3D%26c2%3D%26"
    "oauth_consumer_key%3D9djdj82h48djs9d2%26oauth_nonce%3D7d8f3e4a%26oauth_signature_method%3DHMAC-SHA1%26"
    "oauth_timestamp%3D137131201%26oauth_token%3Dkkk9d7dh3k39sjv7"
)


def test_the_base_string_of_rfc_5849():
    """E1: section 3.4.1.1."""
    pairs = [*OAUTH, ("oauth_signature", "excluded"), *form_pairs(QUERY), *form_pairs(BODY)]
    assert base_string(b"POST", "http://example.com", b"/request", pairs) == BASE


def test_the_parameters_of_rfc_5849_in_their_encoded_order():
    """E3: section 3.4.1.3.2."""
    pairs = sorted([*OAUTH, *form_pairs(QUERY), *form_pairs(BODY)])
    assert "&".join(f"{name}={value}" for name, value in pairs) == (
        "a2=r%20b&a3=2%20q&a3=a&b5=%3D%253D&c%40=&c2=&oauth_consumer_key=9djdj82h48djs9d2&oauth_nonce=7d8f3e4a&"
        "oauth_signature_method=HMAC-SHA1&oauth_timestamp=137131201&oauth_token=kkk9d7dh3k39sjv7"
    )


@pytest.mark.parametrize(
    ("path", "expected"),
    [(b"/r%20v/X", "http%3A%2F%2Fexample.com%2Fr%2520v%2FX"), (b"/a;b~c", "http%3A%2F%2Fexample.com%2Fa%3Bb~c")],
)
def test_the_path_is_encoded_as_it_is_spelled(path, expected):
    """E2."""
    assert base_string(b"GET", "http://example.com", path, []) == f"GET&{expected}&"


def test_a_method_is_signed_in_upper_case_whatever_it_is_made_of():
    """E1."""
    assert base_string(b"get", "http://a", b"/", []).startswith("GET&")
    assert base_string(b"m-search|x", "http://a", b"/", []).startswith("M-SEARCH%7CX&")


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        (b"searchCriteria[pageSize]=1", [("searchCriteria%5BpageSize%5D", "1")]),
        (b"q={a|b}", [("q", "%7Ba%7Cb%7D")]),
        (b"a+b=c+d%2Be", [("a%20b", "c%20d%2Be")]),
        (b"", []),
        (b"&&a&", [("a", "")]),
        (b"=x&y==z", [("", "x"), ("y", "%3Dz")]),
        ("ü=é".encode(), [("%C3%BC", "%C3%A9")]),
        (b"a=\xff", [("a", "%FF")]),
        (b"a=%zz&b=%&c=%f", [("a", "%25zz"), ("b", "%25"), ("c", "%25f")]),
        (b"a=%7e%41", [("a", "~A")]),
        (b"a;b=1;c=2", [("a%3Bb", "1%3Bc%3D2")]),
        (b"a=1&a=&a=1", [("a", "1"), ("a", ""), ("a", "1")]),
        (b'a="<>\\^`', [("a", "%22%3C%3E%5C%5E%60")]),
        (b"u=a?b/c:d", [("u", "a%3Fb%2Fc%3Ad")]),
    ],
)
def test_an_odd_query_is_signed_as_a_form_decoder_reads_it(query, expected):
    """E10 and E11."""
    assert form_pairs(query) == expected


@given(st.binary(max_size=80).filter(lambda octets: b"#" not in octets))
def test_every_query_agrees_with_the_standard_librarys_form_decoder(query):
    """Latin-1 in both directions keeps every octet apart."""
    read = parse_qsl(query.decode("latin-1"), keep_blank_values=True, encoding="latin-1")
    expected = [
        (quote(name, safe="", encoding="latin-1"), quote(value, safe="", encoding="latin-1")) for name, value in read
    ]
    assert form_pairs(query) == expected


@given(st.text(max_size=40))
def test_percent_encoding_agrees_with_oauthlib(text):
    """E1."""
    assert escaped(text) == oauthlib_escape(text)


@given(
    st.lists(st.tuples(st.text(max_size=6), st.text(max_size=6)), max_size=6),
    st.sampled_from(["GET", "post", "PATCH"]),
    st.sampled_from(["/", "/a%20b", "/a;v=1/b", "//x"]),
)
def test_whole_base_strings_agree_with_oauthlib(pairs, method, path):
    normal = oauthlib_signature.normalize_parameters(pairs)
    uri = oauthlib_signature.base_string_uri(f"https://Api.Example:443{path}")
    expected = oauthlib_signature.signature_base_string(method, uri, normal)
    encoded = [(escaped(name), escaped(value)) for name, value in pairs if name != "oauth_signature"]
    assert base_string(method.encode(), "https://api.example", path.encode(), encoded) == expected


@pytest.mark.parametrize(
    ("content_type", "expected"),
    [
        (b"application/x-www-form-urlencoded", True),
        (b"Application/X-WWW-Form-Urlencoded ; charset=utf-8", True),
        (b"application/x-www-form-urlencoded2", False),
        (b"multipart/form-data; boundary=x", False),
        (b"application/json", False),
        (b"", False),
        (None, False),
    ],
)
def test_only_a_form_is_part_of_what_is_signed(content_type, expected):
    """E3."""
    assert is_form(content_type) is expected
