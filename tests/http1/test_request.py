from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.heads import ACCEPTED_REQUESTS, MALFORMED_REQUESTS, REFUSED_REQUESTS, get, post

from proxy import errors
from proxy.http1 import request
from proxy.http1.fields import pairs
from proxy.http1.request import RequestHead, read_request

LIMIT = 32 * 1024


def read(data: bytes, *, size: int = LIMIT, count: int = 200) -> RequestHead | None:
    return read_request(data, 0, size, count)


def whole(data: bytes) -> RequestHead:
    head = read(data)
    assert head is not None
    return head


@pytest.mark.parametrize("data", ACCEPTED_REQUESTS.values(), ids=ACCEPTED_REQUESTS)
def test_a_head_of_the_grammar_is_accepted_whole(data):
    """Row 8."""
    assert whole(data).size == len(data)


@pytest.mark.parametrize("data", MALFORMED_REQUESTS.values(), ids=MALFORMED_REQUESTS)
def test_what_is_outside_the_grammar_is_malformed_and_ends_the_connection(data):
    """Rows 3, 6, 7, 9 and 10."""
    with pytest.raises(errors.MalformedRequest) as refusal:
        read(data)

    assert (refusal.value.status, refusal.value.close) == (400, True)


@pytest.mark.parametrize("data", MALFORMED_REQUESTS.values(), ids=MALFORMED_REQUESTS)
def test_what_is_malformed_is_so_however_it_arrives(data):
    with pytest.raises(errors.MalformedRequest):
        octet_by_octet(data)


def octet_by_octet(data: bytes) -> None:
    for end in range(1, len(data) + 1):
        assert read_request(data[:end], end - 1, LIMIT, 200) is None


@pytest.mark.parametrize(("line", "coding", "error", "status"), REFUSED_REQUESTS.values(), ids=REFUSED_REQUESTS)
def test_what_is_well_formed_but_not_ours_to_do_has_a_status_of_its_own(line, coding, error, status):
    """Rows 4, 5, 7 and 11."""
    with pytest.raises(error) as refusal:
        read(get(line, b"Transfer-Encoding: " + coding) if coding else get(line))

    assert (refusal.value.status, refusal.value.close) == (status, True)


@pytest.mark.parametrize("method", [b"CONNECT evil.example:443", b"TRACE /"])
def test_a_refused_method_names_the_methods_that_there_are(method):
    with pytest.raises(errors.MethodRefused) as refusal:
        read(get(method + b" HTTP/1.1"))

    assert dict(refusal.value.headers)["Allow"].startswith("GET, HEAD, POST")


@pytest.mark.parametrize("data", ACCEPTED_REQUESTS.values(), ids=ACCEPTED_REQUESTS)
def test_a_head_is_the_same_however_it_arrives(data):
    at_once = whole(data)
    for end in range(len(data)):
        assert read_request(data[:end], max(0, end - 1), LIMIT, 200) is None

    bit_by_bit = read_request(data + b"GET", len(data) - 1, LIMIT, 200)

    assert bit_by_bit is not None
    assert (bit_by_bit.method, bit_by_bit.target, bit_by_bit.size) == (at_once.method, at_once.target, at_once.size)
    assert bit_by_bit.fields.lines == at_once.fields.lines


def test_nothing_of_a_head_is_changed():
    fields = b"hOST: LocalHost:8080\r\nX-App:  caf\xe9 \t\r\nx-app:two\r\nCookie: a=b\r\n"

    head = whole(b"PaTch /a%2fB//../?q=%zz&\xff HTTP/1.1\r\n" + fields + b"\r\nbody")

    assert (head.method, head.target) == (b"PaTch", b"/a%2fB//../?q=%zz&\xff")
    assert b"".join(line for line, _ in head.fields.lines) == fields
    assert pairs(head.fields.lines) == [
        (b"hOST", b"LocalHost:8080"),
        (b"X-App", b"caf\xe9"),
        (b"x-app", b"two"),
        (b"Cookie", b"a=b"),
    ]


def test_a_head_ends_where_its_blank_line_ends():
    data = get(b"GET / HTTP/1.1")

    assert whole(data + data).size == len(data)
    assert whole(b"\r\n" + data + data).size == len(data) + 2


@pytest.mark.parametrize(
    ("lines", "length", "chunked", "has_body"),
    [
        ((), None, False, False),
        ((b"Content-Length: 0",), 0, False, False),
        ((b"Content-Length: 17",), 17, False, True),
        ((b"Transfer-Encoding: Chunked",), None, True, True),
    ],
)
def test_the_framing_of_the_body_is_read_once(lines, length, chunked, has_body):
    fields = whole(post(*lines)).fields

    assert (fields.length, fields.chunked, fields.has_body) == (length, chunked, has_body)


@pytest.mark.parametrize(
    ("version", "connection", "persistent"),
    [
        (b"1.1", b"", True),
        (b"1.1", b"close", False),
        (b"1.1", b"keep-alive, CLOSE", False),
        (b"1.1", b"x,close ,", False),
        (b"1.1", b"closed", True),
        (b"1.0", b"", False),
        (b"1.0", b"Keep-Alive", True),
        (b"1.0", b"keep-alive, close", False),
    ],
)
def test_a_connection_stays_open_as_its_version_and_connection_say(version, connection, persistent):
    lines = [b"Connection: " + connection] if connection else []

    assert whole(post(*lines, version=version)).fields.persistent is persistent


@pytest.mark.parametrize(
    ("version", "lines", "upgrade"),
    [
        (b"1.1", [b"Connection: keep-alive, Upgrade", b"Upgrade: websocket"], b"websocket"),
        (b"1.1", [b"Connection: upgrade", b"Upgrade: h2c, websocket"], b"h2c, websocket"),
        (b"1.1", [b"Connection: upgrade", b"Upgrade: h2c", b"Upgrade: websocket"], b"h2c, websocket"),
        (b"1.1", [b"Upgrade: websocket"], None),
        (b"1.1", [b"Connection: upgrade"], None),
        (b"1.0", [b"Connection: upgrade", b"Upgrade: websocket"], None),
    ],
)
def test_an_upgrade_counts_where_connection_nominates_it_and_the_version_knows_it(version, lines, upgrade):
    assert whole(post(*lines, version=version)).fields.upgrade == upgrade


@pytest.mark.parametrize(
    ("version", "expect", "expects"),
    [
        (b"1.1", [b"Expect: 100-Continue"], True),
        (b"1.0", [b"Expect: 100-continue"], False),
        (b"1.1", [b"Expect: something"], False),
        (b"1.1", [], False),
    ],
)
def test_only_an_app_of_http_1_1_expects_a_100(version, expect, expects):
    assert whole(post(b"Content-Length: 5", *expect, version=version)).fields.expects_continue is expects


def test_what_connection_nominates_is_known_in_one_spelling():
    fields = whole(get(b"GET / HTTP/1.1", b"Connection: X-One, , x-TWO", b"Connection: keep-alive")).fields

    assert fields.nominated == {b"x-one", b"x-two", b"keep-alive"}


def test_a_head_as_large_as_the_limit_passes_and_one_octet_more_does_not():
    data = get(b"GET / HTTP/1.1", b"X: " + b"a" * 200)

    assert read(data, size=len(data)) is not None
    with pytest.raises(errors.RequestHeadTooLarge) as refusal:
        read(data, size=len(data) - 1)
    assert (refusal.value.status, refusal.value.close) == (431, True)


@pytest.mark.parametrize("before", [b"", b"\r\n"])
def test_a_head_that_grows_past_the_limit_is_refused_before_it_ends(before):
    with pytest.raises(errors.RequestHeadTooLarge):
        read(before + b"GET / HTTP/1.1\r\n" + b"X: a\r\n" * 20, size=100)
    with pytest.raises(errors.RequestTargetTooLong) as refusal:
        read(before + b"GET /" + b"a" * 100, size=100)
    assert (refusal.value.status, refusal.value.close) == (414, True)


def test_a_complete_head_whose_line_alone_is_too_long_has_a_target_that_is_too_long():
    with pytest.raises(errors.RequestTargetTooLong):
        read(get(b"GET /" + b"a" * 200 + b" HTTP/1.1"), size=100)


def test_as_many_fields_as_the_limit_pass_and_one_more_does_not():
    data = get(b"GET / HTTP/1.1", *[b"X-Many: a"] * 9)

    with pytest.raises(errors.RequestHeadTooLarge):
        read(data, count=9)
    assert read(data, count=10) is not None


def test_limits_hold_for_fields_that_were_seen_before():
    """Remembered fields were measured by an earlier request's limits; a reload may have changed them."""
    data = get(b"GET / HTTP/1.1", b"X-Seen: before", b"X-Seen: again")
    whole(data)
    whole(data)

    with pytest.raises(errors.RequestHeadTooLarge):
        read(data, count=2)


def test_requests_with_the_same_fields_share_them():
    whole(get(b"GET /first HTTP/1.1", b"X: same"))
    one, two = whole(get(b"GET /a HTTP/1.1", b"X: same")), whole(get(b"POST /b HTTP/1.1", b"X: same"))

    assert one.fields is two.fields
    assert (one.method, one.target, two.method, two.target) == (b"GET", b"/a", b"POST", b"/b")


def test_the_version_is_part_of_what_is_remembered():
    one, two = whole(post(b"X: version")), whole(post(b"X: version", version=b"1.0"))

    assert (one.fields.version, two.fields.version) == (1, 0)


def test_what_is_remembered_can_be_forgotten():
    data = get(b"GET / HTTP/1.1", b"X: forget me")
    whole(data)
    before = whole(data).fields
    before.note("a route of an old configuration", b"")
    assert before.outgoing

    request.forget()

    assert whole(data).fields is not before
    assert whole(data).fields.outgoing == {}


def test_a_refusal_never_quotes_the_request():
    for data in [*MALFORMED_REQUESTS.values(), get(b"GET / HTTP/1.1", b"Authorization: Bearer hunter2\x00")]:
        with pytest.raises(errors.MalformedRequest) as refusal:
            read(data)
        assert "hunter2" not in repr(refusal.value)
        assert "evil" not in str(refusal.value)


@given(st.binary(max_size=300))
def test_no_octets_raise_anything_but_an_error_of_the_client(data):
    for attempt in (data, b"GET / HTTP/1.1\r\nHost: a\r\n" + data + b"\r\n\r\n", b"GET " + data + b" HTTP/1.1\r\n\r\n"):
        try:
            read(attempt)
        except errors.ClientError:
            continue


FRAGMENTS = st.sampled_from([
    b"GET", b"POST", b" ", b"/", b"/a", b"*", b" HTTP/1.1", b" HTTP/1.0", b" HTTP/2.0", b"\r\n", b"\r", b"\n", b"Host",
    b":", b": ", b"a", b"Content-Length", b"5", b"Transfer-Encoding", b"chunked", b"Connection", b"Upgrade", b"close",
    b"\t", b"\x00", b"\x7f", b"\xe9", b"#", b"X", b"http://a/", b"GET / HTTP/1.1\r\nHost: a\r\n", b"\r\n\r\n",
])  # fmt: skip


@given(st.lists(FRAGMENTS, max_size=25).map(b"".join), st.data())
def test_where_the_network_cuts_a_request_changes_nothing(data, draw):
    def outcome(steps):
        searched = 0
        for end in steps:
            try:
                head = read_request(data[:end], searched, LIMIT, 200)
            except errors.ClientError as error:
                return type(error)
            if head is not None:
                return head.method, head.target, head.size, head.fields.lines
            searched = end
        return None

    cuts = sorted(draw.draw(st.sets(st.integers(0, len(data)), max_size=8)))

    assert outcome([*cuts, len(data)]) == outcome(range(len(data) + 1))


def test_only_on_fields_that_are_remembered_are_notes_kept():
    request.forget()
    data = get(b"GET / HTTP/1.1", b"X: seen for the first time")
    first = whole(data).fields
    first.note("route", b"lines")
    assert first.outgoing == {}
    again = whole(data).fields
    again.note("route", b"lines")
    assert whole(data).fields.outgoing == {"route": b"lines"}
