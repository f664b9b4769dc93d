from __future__ import annotations

import posixpath
from urllib.parse import parse_qsl, unquote_to_bytes

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.errors import MalformedRequest
from proxy.http1.target import Form, form_of, leaves_prefix, split_absolute, with_parameter, without_parameters

# ---- forms -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("method", "target", "form"),
    [
        (b"GET", b"/", Form.ORIGIN),
        (b"GET", b"//evil.example/", Form.ORIGIN),
        (b"OPTIONS", b"/a", Form.ORIGIN),
        (b"OPTIONS", b"*", Form.ASTERISK),
        (b"GET", b"http://a/", Form.ABSOLUTE),
        (b"GET", b"HTTPS://a", Form.ABSOLUTE),
        (b"OPTIONS", b"http://a", Form.ABSOLUTE),
        (b"CONNECT", b"a:443", Form.AUTHORITY),
    ],
)
def test_a_target_has_one_of_four_forms(method, target, form):
    assert form_of(method, target) is form


@pytest.mark.parametrize(
    ("method", "target"),
    [
        (b"GET", b"*"),
        (b"OPTIONS", b"**"),
        (b"GET", b"a"),
        (b"GET", b"a:443"),
        (b"GET", b"ftp://a/"),
        (b"GET", b"http:/a"),
        (b"GET", b"http:///a"),
        (b"GET", b"?x"),
        (b"GET", b"\\a"),
        (b"GET", b"ws://a/"),
    ],
)
def test_anything_else_is_malformed(method, target):
    with pytest.raises(MalformedRequest):
        form_of(method, target)


@pytest.mark.parametrize(
    ("target", "parts"),
    [
        (b"http://a/b?c", (b"http", b"a", b"/b?c")),
        (b"HTTPS://LocalHost:8080/a%2Fb//../", (b"https", b"LocalHost:8080", b"/a%2Fb//../")),
        (b"http://a", (b"http", b"a", b"/")),
        (b"http://a?b=/c", (b"http", b"a", b"/?b=/c")),
        (b"http://[::1]:80/", (b"http", b"[::1]:80", b"/")),
        (b"http://a//evil.example/", (b"http", b"a", b"//evil.example/")),
    ],
)
def test_an_absolute_target_falls_into_scheme_authority_and_the_rest_as_it_came(target, parts):
    assert split_absolute(target) == parts


def test_options_without_a_path_is_about_the_whole_server():
    assert split_absolute(b"http://a", method=b"OPTIONS") == (b"http", b"a", b"*")
    assert split_absolute(b"http://a?b", method=b"OPTIONS") == (b"http", b"a", b"/?b")


@pytest.mark.parametrize(
    "target",
    [
        b"ftp://a/",
        b"/a",
        b"http://",
        b"http:///a",
        b"http://u@a/",
        b"http://u:p@a/",
        b"http://a:x/",
        b"http://a,b/",
        b"//a/b",
        b"http://a:65536/",
        b"http://a\\@b/",
        b"http://[::1/",
        b"http://a:80:80/",
    ],
)
def test_an_absolute_target_of_nobody_is_malformed(target):
    with pytest.raises(MalformedRequest):
        split_absolute(target)


# ---- prefixes --------------------------------------------------------------------------------------------------------

CLIMBING = [
    b"/..",
    b"/../",
    b"/../x",
    b"/a/../../x",
    b"/./../x",
    b"//../x",  # servers that merge slashes see one segment less
    b"/;/../x",  # and some drop path parameters first
    b"/.;x/../x",
    b"/%2e%2e/x",
    b"/%2E%2E/x",
    b"/.%2e/x",
    b"/%2e./x",
    b"/..%2fx",
    b"/..%2Fx",
    b"/..%5cx",
    b"/..%5Cx",
    b"/..\\x",
    b"\\..\\x",
    b"/a\\..\\..\\x",
    b"/a%5c..%5c..%5cx",
    b"/..;/x",
    b"/..;a=b/x",
    b"/..%3b/x",
    b"/%2e%2e;/x",
    b"/%2e%2e%3bx/y",
    b"/%252e%252e/x",
    b"/%252e%252e%252fx",
    b"/..%252fx",
    b"/..%255cx",
    b"/%25252e%25252e/x",
    b"/%2525252525252e./x",
    b"/%" + b"25" * 1000 + b"2e./x",
    b"/%%32%65%%32%65/x",
    b"/%2%65%2%65/x",
    b"/%%32%45./x",
    b"/%25%32%65./x",
    b"/%2%35%32%35%32e./x",
    b"/a%2fb/../../x",  # a server that keeps %2F sees one segment, and one that normalises twice does too
    b"/a%2f..%2f..%2fx",
    b"/a%2fb/../%2e%2e/x",
    b"/a/..%2f../x",
    b"/a/b/../../../x",
    b"/a/b/c/..;/..%2f..%5c../x",
    b"/a/../../crm/a",  # it comes back, but it was outside
    b"/%2e%2e%2fcrm/a",
    b"/%2f../x",
    b"/a/%2e%2e%2f%2e%2e%2f",
]

STAYING = [
    b"",
    b"/",
    b"/a",
    b"/a/../b",
    b"/a/..",
    b"/a/%2e%2e/b",
    b"/a%2f..%2fb",
    b"/a\\..\\b",
    b"/a/b/../../c",
    b"/a/..;x/b",
    b"/a/./b/.",
    b"/a%2Fb",
    b"//",
    b"//a//b",
    b"/a/%2e/b",
    b"/...",
    b"/..a/x",
    b"/a../x",
    b"/a..b",
    b"/v1..2/x",
    b"/%2e%2e%2e/x",
    b"/..%20/x",
    b"/%41%42",
    b"/%",
    b"/%zz",
    b"/100%25",
    b"/%2",
    b"/a%",
    b"/caf%C3%A9/%E2%82%AC",
    b"/caf\xc3\xa9/\xff",
    b"/a;b=..",
    b"/a;../b",
    b"/a/;x/b",
    b"/%32%33%34",
    b"/a/%252e%252e/b",
    b"/a\\b%5cc",
    b"/a|b",
]


@pytest.mark.parametrize("prefix", [b"", b"/crm", b"/a/b/c"])
@pytest.mark.parametrize("rest", CLIMBING)
def test_a_path_that_climbs_out_of_its_prefix_for_any_reader_leaves_it(prefix, rest):
    assert leaves_prefix(prefix + rest, prefix)


@pytest.mark.parametrize("prefix", [b"", b"/crm", b"/a/b/c"])
@pytest.mark.parametrize("rest", STAYING)
def test_any_other_path_stays(prefix, rest):
    assert not leaves_prefix(prefix + rest, prefix)


def test_an_escape_nested_deeper_than_anybody_decodes_is_refused_and_not_followed():
    hidden = b".."
    for _ in range(30):
        hidden = hidden.replace(b"2", b"%32").replace(b".", b"%2e", 1)
        hidden = hidden.replace(b"%3", b"%%33", 1)

    assert leaves_prefix(b"/crm/" + hidden + b"/x", b"/crm")


PIECES = st.lists(
    st.sampled_from([
        b"/", b"/", b"..", b".", b"a", b"b;c", b"%2e", b"%2E", b"%2f", b"%5c", b"\\", b"%25", b"%252e", b"2e", b"2f",
        b";", b"%", b"%3b", b"%32", b"%65",
    ]),
    max_size=14,
).map(b"".join)  # fmt: skip


@given(PIECES, st.integers(0, 4), st.booleans(), st.booleans(), st.booleans())
def test_no_reader_gets_out_of_the_prefix_with_a_path_that_stays(rest, rounds, backslash, parameters, merging):
    """The readers: decode some times, take backslashes for slashes or not, cut path parameters or not, normalise."""
    path = b"/crm/" + rest
    if leaves_prefix(path, b"/crm"):
        return
    for _ in range(rounds):
        path = unquote_to_bytes(path)
    if backslash:
        path = path.replace(b"\\", b"/")
    if parameters:
        path = b"/".join(segment.partition(b";")[0] for segment in path.split(b"/"))
    normal = _remove_dot_segments(path) if not merging else posixpath.normpath(path).replace(b"//", b"/")

    assert (normal + b"/").startswith(b"/crm/")


@given(PIECES, st.integers(0, 3))
def test_no_chain_of_readers_gets_out_either(rest, rounds):
    """Every hop normalises what it sees and decodes once more for the next."""
    path = b"/crm/" + rest
    if leaves_prefix(path, b"/crm"):
        return
    for _ in range(rounds):
        path = unquote_to_bytes(_remove_dot_segments(path))

    assert (_remove_dot_segments(path) + b"/").startswith(b"/crm/")


def _remove_dot_segments(path: bytes) -> bytes:
    """RFC 3986 §5.2.4, to the letter (empty segments count)."""
    out: list[bytes] = []
    segments = path.split(b"/")[1:]
    for index, segment in enumerate(segments):
        last = index == len(segments) - 1
        if segment == b"..":
            if out:
                out.pop()
            if last:
                out.append(b"")
        elif segment == b".":
            if last:
                out.append(b"")
        else:
            out.append(segment)
    return b"/" + b"/".join(out)


@given(st.binary(max_size=60))
def test_no_octets_are_too_odd_to_judge(rest):
    assert leaves_prefix(b"/crm/" + rest, b"/crm") in {True, False}


# ---- query parameters ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("target", "rest"),
    [
        (b"/a", b"/a"),
        (b"/a?", b"/a?"),
        (b"/a?key=1", b"/a"),
        (b"/a?key", b"/a"),
        (b"/a?key=", b"/a"),
        (b"/a?key=1&key=2", b"/a"),
        (b"/a?b=1&key=2&c=%zz+", b"/a?b=1&c=%zz+"),
        (b"/a?key=2&b", b"/a?b"),
        (b"/a?b&key=2", b"/a?b"),
        (b"/a?%6bey=1&b=2", b"/a?b=2"),
        (b"/a?k%65%79=1", b"/a"),
        (b"/a?&key=1&&", b"/a?&&"),
        (b"/a?Key=1&keys=2&xkey=3&b=key", b"/a?Key=1&keys=2&xkey=3&b=key"),
        (b"/a?key%3D1", b"/a?key%3D1"),
        (b"/a?b=1?key=2", b"/a?b=1?key=2"),
        (b"/key=1?b", b"/key=1?b"),
        (b"/a?b=%6bey&\xff=+", b"/a?b=%6bey&\xff=+"),
        (b"/a?%256bey=1", b"/a?%256bey=1"),
        (b"/a?b=1;key=2;c=3&d;e", b"/a?b=1;c=3&d;e"),
        (b"/a?key=1;b=2&c", b"/a?c"),
        (b"/a?b;%6bey=1", b"/a?b"),
        (b"*", b"*"),
    ],
)
def test_the_callers_copies_of_a_parameter_go_and_nothing_else_changes(target, rest):
    assert without_parameters(target, [b"key"]) == rest


def test_parameters_of_several_names_go_at_once():
    assert without_parameters(b"/a?a=1&b=2&c=3&%61=4", (b"a", b"c")) == b"/a?b=2"


def test_a_plus_in_a_name_is_a_space():
    assert without_parameters(b"/a?api+key=1&api%20key=2&api%2Bkey=3", [b"api key"]) == b"/a?api%2Bkey=3"


@pytest.mark.parametrize(
    ("target", "longer"),
    [
        (b"/a", b"/a?key=v"),
        (b"/a?", b"/a?key=v"),
        (b"/a?b", b"/a?b&key=v"),
        (b"/a?b=1&", b"/a?b=1&key=v"),
        (b"/a?b=what?", b"/a?b=what?&key=v"),
        (b"/a??", b"/a??&key=v"),
        (b"/a&", b"/a&?key=v"),
        (b"/a?b=%zz+\xff", b"/a?b=%zz+\xff&key=v"),
        (b"*", b"*"),
    ],
)
def test_a_parameter_is_added_at_the_end(target, longer):
    assert with_parameter(target, b"key", b"v") == longer


@given(st.binary().map(b"key%b".__mod__), st.binary(), st.sampled_from([b"/a", b"/a?b=c", b"/a?b&", b"/a?b?"]))
def test_a_parameter_is_read_back_as_it_was_given_and_can_be_taken_away_again(name, value, target):
    longer = with_parameter(target, name, value)

    assert form_pairs(longer)[-1] == (name, value)
    assert without_parameters(longer, [name]) in {target, target + b"?", target.rstrip(b"&")}


@given(st.binary(), st.binary(min_size=1))
def test_after_dropping_no_form_decoder_finds_the_parameter(query, name):
    rest = without_parameters(b"/a?" + query, [name])

    assert name not in {key for key, _ in form_pairs(rest)}


def form_pairs(target: bytes) -> list[tuple[bytes, bytes]]:
    query = target.partition(b"?")[2].decode("latin-1")
    found = parse_qsl(query, keep_blank_values=True, encoding="latin-1")
    return [(key.encode("latin-1"), value.encode("latin-1")) for key, value in found]
