"""What a directory may say. The oracle for addresses and hosts is a URL parser that is not ours: yarl."""

from __future__ import annotations

import ipaddress
import json

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from msgspec.structs import replace
from yarl import URL

from proxy.config.address import Address
from proxy.config.schema import Discover
from proxy.forward.directory import BaseUrl, Rule, allows
from proxy.forward.directory_errors import DirectoryError, DirectoryRefused, DirectoryUnavailable

HTTPS = Discover(url="https://directory.example/x", allow_hosts=("*.example.net", "api.example", "127.0.0.1", "[::1]"))
RULE = Rule(HTTPS, (Address("127.0.0.1", 8080),))
PLAIN = Rule(replace(HTTPS, scheme="http"), RULE.ours)


@pytest.mark.parametrize(
    ("value", "url"),
    [
        ("va.msg.example.net", "https://va.msg.example.net"),
        ("VA.msg.Example.NET.", "https://va.msg.example.net"),
        (" va.msg.example.net\n", "https://va.msg.example.net"),
        ("api.example:8443", "https://api.example:8443"),
        ("api.example:443/", "https://api.example"),
        ("api.example/v2/x/", "https://api.example/v2/x"),
        ("https://api.example/v2//", "https://api.example/v2"),
        ("HTTPS://API.example/V2", "https://api.example/V2"),
        ("127.0.0.1:9", "https://127.0.0.1:9"),
        ("[::1]:9/a", "https://[::1]:9/a"),
        ("[0:0:0:0:0:0:0:1]", "https://[::1]"),
    ],
)
def test_a_value_is_a_host_with_or_without_port_and_path_or_a_whole_url(value, url):
    found = RULE.judge(value)
    assert found.url == url
    assert found.value == value


def test_what_was_found_is_taken_apart():
    assert PLAIN.judge("api.example/v2/") == BaseUrl("http", "api.example", 80, "/v2", "api.example/v2/")
    assert RULE.judge("[::1]:9") == BaseUrl("https", "::1", 9, "", "[::1]:9")


@pytest.mark.parametrize(
    ("value", "why"),
    [
        ("", "neither a host"),
        ("/v2", "neither a host"),
        ("//api.example", "neither a host"),
        ("api.example:", "neither a host"),
        ("api.example:0", "neither a host"),
        ("api.example:99999", "neither a host"),
        ("api.example:80a", "neither a host"),
        ("user@api.example", "neither a host"),
        ("https://user:hush@api.example", "neither a host"),
        ("api.example?x", "neither a host"),
        ("api.example#x", "neither a host"),
        ("api.example/a b", "neither a host"),
        ("api.exämple", "neither a host"),
        ("api.example\\.evil.example", "neither a host"),
        ("https://evil.example\\@api.example", "neither a host"),
        ("api.example\r\nHost: evil", "neither a host"),
        ("wss://api.example", "neither a host"),
        ("javascript://api.example", "neither a host"),
        ("api.example/a/../b", "in its path"),
        ("api.example/a/%2e%2E", "in its path"),
        ("api.example/..;/b", "in its path"),
        ("http://api.example", "http:// URL"),
        ("example.net", "`allow_hosts`"),
        ("evilexample.net", "`allow_hosts`"),
        ("a.example.net.evil.example", "`allow_hosts`"),
        ("10.0.0.1", "`allow_hosts`"),
        ("[::2]", "`allow_hosts`"),
        ("2130706433", "neither a host"),
        ("169.254.169.254", "link-local"),
        ("169.254.0.1:80/latest", "link-local"),
        ("[fe80::1]", "link-local"),
        ("[::ffff:169.254.169.254]", "link-local"),
        ("[2002:a9fe:a9fe::]", "link-local"),
        ("[64:ff9b::169.254.169.254]", "link-local"),
        ("[fd00:ec2::254]", "link-local"),
        ("100.100.100.200", "link-local"),
        ("0.0.0.0", "link-local"),
        ("[::]", "link-local"),
        ("127.0.0.1:8080", "our own listeners"),
    ],
)
def test_what_a_directory_may_not_name_is_refused(value, why):
    with pytest.raises(DirectoryRefused, match=why) as caught:
        RULE.judge(value)
    assert "evil" not in caught.value.detail
    assert "hush" not in f"{caught.value.detail} {caught.value.named}"


def test_a_directory_may_say_https_where_http_would_do_and_never_the_other_way_round():
    assert PLAIN.judge("https://api.example").url == "https://api.example"
    assert PLAIN.judge("http://api.example").url == "http://api.example"
    with pytest.raises(DirectoryRefused):
        RULE.judge("http://api.example")


def test_a_link_local_address_is_refused_whatever_the_list_says():
    rule = Rule(replace(HTTPS, allow_hosts=("169.254.169.254",)))
    with pytest.raises(DirectoryRefused, match="link-local"):
        rule.judge("169.254.169.254")


_ALPHABET = st.text(alphabet="ab.:/[]@?#%\\ -_*0159xX\t\r\n;", max_size=30)
_PIECES = st.lists(
    st.sampled_from(
        ["https://", "http://", "//", "/", ":", "@", "?", "#", "\\", "%2e", "..", ".", "example.net", "api.example",
         "evil.example", "a", "127.0.0.1", "169.254.169.254", "[::1]", "[fe80::1]", "443", "8080", " ", "\n", "\x00"]
    ),
    max_size=8,
).map("".join)  # fmt: skip


@given(_ALPHABET | _PIECES | st.text(max_size=20))
@example("https://api.example:443/a")
@example("a.example.net:8080")
def test_whatever_a_directory_says_requests_go_to_allowed_hosts_only(value):
    for rule in (RULE, PLAIN):
        try:
            found = rule.judge(value)
        except DirectoryRefused:
            continue
        seen = URL(found.url)
        assert seen.host == found.host == found.host.lower()
        assert seen.port == found.port
        assert seen.user is None
        assert seen.query_string == seen.fragment == ""
        assert ".." not in seen.path.split("/")
        assert found.scheme == "https" or rule is PLAIN
        assert found.host in {"api.example", "127.0.0.1", "::1"} or found.host.endswith(".example.net")
        assert not found.base.endswith("/")
        assert not any(octet <= " " or octet > "~" for octet in found.url)
        assert rule.judge(found.url) == replace(found, value=found.url)


@given(st.ip_addresses())
@example(ipaddress.ip_address("169.254.169.254"))
def test_no_wildcard_ever_is_an_address(address):
    assert not allows(("*.example.net", "*.net", "*.1", "*.254", "*.0.0.1"), str(address))
    assert allows((str(address),), str(address))


@pytest.mark.parametrize(
    ("pattern", "host", "allowed"),
    [
        ("api.example", "API.Example", True),
        ("API.example.", "api.example", True),
        ("api.example", "x.api.example", False),
        ("*.example.net", "a.example.net", True),
        ("*.Example.net", "a.b.c.EXAMPLE.net", True),
        ("*.example.net", "example.net", False),
        ("*.example.net", "aexample.net", False),
        ("*.example.net", ".example.net", False),
        ("*.example.net", "a.example.net.", True),
        ("[::1]", "::1", True),
    ],
)
def test_a_name_is_itself_and_a_wildcard_all_names_below(pattern, host, allowed):
    assert allows((pattern,), host) is allowed


def answer(document, rule=RULE, status=200, requested=0.0):
    return rule.read(status, json.dumps(document).encode(), requested)


def test_the_value_stands_where_the_pointer_says():
    assert answer({"baseURI": "api.example"}).host == "api.example"
    deep = Rule(replace(HTTPS, json_pointer="/domains/1/base~1uri"))
    assert answer({"domains": [{}, {"base/uri": "api.example"}]}, deep).host == "api.example"
    assert answer("api.example", Rule(replace(HTTPS, json_pointer=""))).host == "api.example"
    assert RULE.read(200, b'\xef\xbb\xbf{"baseURI": "api.example"}').host == "api.example"


@pytest.mark.parametrize(
    ("status", "body", "kind", "why"),
    [
        (200, b"", DirectoryRefused, "no string"),
        (200, b"{", DirectoryRefused, "no string"),
        (200, b"\xff\xfe", DirectoryRefused, "no string"),
        (200, b'{"baseUri": "api.example"}', DirectoryRefused, "no string"),
        (200, b'{"baseURI": null}', DirectoryRefused, "no string"),
        (200, b'{"baseURI": true}', DirectoryRefused, "no string"),
        (200, b'{"baseURI": ["api.example"]}', DirectoryRefused, "no string"),
        (200, b'{"baseURI": 443}', DirectoryRefused, "neither a host"),
        (200, b"[" * 100_000, DirectoryRefused, "no string"),
        (200, b" " * 1_048_577, DirectoryRefused, "1 MiB"),
        (204, b"", DirectoryRefused, "answered 204"),
        (301, b"", DirectoryRefused, "redirects are not followed"),
        (307, b"", DirectoryRefused, "redirects are not followed"),
        (304, b"", DirectoryRefused, "answered 304"),
        (401, b"", DirectoryRefused, "answered 401"),
        (404, b"", DirectoryRefused, "answered 404"),
        (408, b"", DirectoryUnavailable, "answered 408"),
        (429, b"", DirectoryUnavailable, "answered 429"),
        (500, b"", DirectoryUnavailable, "answered 500"),
        (503, b"", DirectoryUnavailable, "answered 503"),
    ],
)
def test_an_answer_without_a_value_is_an_error_of_the_directory(status, body, kind, why):
    with pytest.raises(kind, match=why) as caught:
        RULE.read(status, body, 7.0)
    assert not isinstance(caught.value, DirectoryUnavailable) or caught.value.requested == 7.0


@given(st.integers(100, 999), st.binary(max_size=60))
def test_no_answer_breaks_the_reader(status, body):
    try:
        found = RULE.read(status, body)
    except DirectoryError:
        return
    assert allows(HTTPS.allow_hosts, found.host)
