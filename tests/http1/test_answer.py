from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.heads import ACCEPTED_ANSWERS, MALFORMED_ANSWERS, ok

from proxy import errors
from proxy.errors import AnswerHeadTooLarge
from proxy.http1.answer import AnswerHead, read_answer
from proxy.http1.fields import pairs

LIMIT = 32 * 1024


def read(data: bytes, *, size: int = LIMIT, count: int = 200) -> AnswerHead | None:
    return read_answer(data, 0, size, count)


def whole(data: bytes) -> AnswerHead:
    head = read(data)
    assert head is not None
    return head


@pytest.mark.parametrize("data", ACCEPTED_ANSWERS.values(), ids=ACCEPTED_ANSWERS)
def test_a_head_of_the_grammar_is_accepted_whole(data):
    assert whole(data).size == len(data)


@pytest.mark.parametrize("data", MALFORMED_ANSWERS.values(), ids=MALFORMED_ANSWERS)
def test_what_is_outside_the_grammar_is_an_error_of_the_upstream(data):
    """Rows 26 and 54."""
    with pytest.raises(errors.MalformedAnswer) as refusal:
        read(data)

    assert refusal.value.status == 502


@pytest.mark.parametrize("data", MALFORMED_ANSWERS.values(), ids=MALFORMED_ANSWERS)
def test_what_is_malformed_is_so_however_it_arrives(data):
    with pytest.raises(errors.MalformedAnswer):
        octet_by_octet(data)


def octet_by_octet(data: bytes) -> None:
    for end in range(1, len(data) + 1):
        assert read_answer(data[:end], end - 1, LIMIT, 200) is None


@pytest.mark.parametrize("data", ACCEPTED_ANSWERS.values(), ids=ACCEPTED_ANSWERS)
def test_a_head_is_the_same_however_it_arrives(data):
    for end in range(len(data)):
        assert read_answer(data[:end], max(0, end - 1), LIMIT, 200) is None

    bit_by_bit = read_answer(data + b"body", len(data) - 1, LIMIT, 200)

    assert bit_by_bit is not None
    assert (bit_by_bit.line, bit_by_bit.size) == (whole(data).line, len(data))


def test_nothing_of_a_head_is_changed():
    fields = b"sET-cookie: a\r\nSet-Cookie:  b=\xe9\t\r\nX:\r\n"

    head = whole(b"HTTP/1.1 901 No \xe9 such\ttoken \r\n" + fields + b"\r\nbody")

    assert (head.status, head.line) == (901, b"901 No \xe9 such\ttoken ")
    assert b"".join(line for line, _ in head.lines) == fields
    assert pairs(head.lines) == [(b"sET-cookie", b"a"), (b"Set-Cookie", b"b=\xe9"), (b"X", b"")]


@pytest.mark.parametrize(
    ("status", "method", "has_body"),
    [
        (b"200", b"GET", True),
        (b"200", b"HEAD", False),
        (b"404", b"HEAD", False),
        (b"205", b"GET", True),
        (b"204", b"GET", False),
        (b"304", b"GET", False),
        (b"100", b"POST", False),
        (b"103", b"GET", False),
        (b"199", b"GET", False),
    ],
)
def test_some_answers_have_no_body_whatever_their_fields_say(status, method, has_body):
    assert whole(ok(b"Content-Length: 5", status=status)).has_body(method) is has_body


@pytest.mark.parametrize(
    ("version", "connection", "persistent"),
    [
        (b"1.1", b"", True),
        (b"1.1", b"Close", False),
        (b"1.1", b"x, close", False),
        (b"1.0", b"", False),
        (b"1.0", b"Keep-Alive", True),
        (b"1.0", b"keep-alive, close", False),
    ],
)
def test_a_connection_stays_open_as_its_version_and_connection_say(version, connection, persistent):
    lines = [b"Connection: " + connection] if connection else []

    assert whole(ok(*lines, version=version)).persistent is persistent


@pytest.mark.parametrize(
    ("lines", "length", "chunked"),
    [((), None, False), ((b"content-length: 0",), 0, False), ((b"Transfer-Encoding: chunked",), None, True)],
)
def test_the_framing_of_the_body_is_read_once(lines, length, chunked):
    head = whole(ok(*lines))

    assert (head.length, head.chunked) == (length, chunked)


def test_a_head_as_large_as_the_limit_passes_and_one_octet_more_does_not():
    data = ok(b"X: " + b"a" * 200)

    assert read(data, size=len(data)) is not None
    with pytest.raises(errors.AnswerHeadTooLarge) as refusal:
        read(data, size=len(data) - 1)
    assert refusal.value.status == 502
    with pytest.raises(errors.AnswerHeadTooLarge):
        read(data[:-4], size=len(data) - 10)


def test_as_many_fields_as_the_limit_pass_and_one_more_does_not():
    data = ok(*[b"X: a"] * 10)

    assert read(data, count=10) is not None
    with pytest.raises(errors.AnswerHeadTooLarge):
        read(data, count=9)


def test_a_refusal_never_quotes_the_answer():
    for data in (ok(b"Set-Cookie: hunter2\x00"), ok(b"Content-Length: hunter2"), ok(b"Transfer-Encoding: hunter2")):
        with pytest.raises(errors.MalformedAnswer) as refusal:
            read(data)
        assert "hunter2" not in repr(refusal.value)


@given(st.binary(max_size=300))
def test_no_octets_raise_anything_but_an_error_of_the_upstream(data):
    for attempt in (data, b"HTTP/1.1 200 OK\r\n" + data + b"\r\n\r\n", b"HTTP/1.1 200 " + data + b"\r\n\r\n"):
        try:
            read(attempt)
        except errors.UpstreamError:
            continue


FRAGMENTS = st.sampled_from([
    b"HTTP/1.1 200 OK\r\n", b"HTTP/1.1", b"HTTP/1.0", b" ", b"200", b"X", b":", b": ", b"a", b"\r\n", b"\r", b"\n",
    b"\t", b"Content-Length", b"5", b"Transfer-Encoding", b"chunked", b"\x00", b"\xe9", b"\r\n\r\n",
])  # fmt: skip


@given(st.lists(FRAGMENTS, max_size=25).map(b"".join), st.data())
def test_where_the_network_cuts_an_answer_changes_nothing(data, draw):
    def outcome(steps):
        searched = 0
        for end in steps:
            try:
                head = read_answer(data[:end], searched, LIMIT, 200)
            except errors.UpstreamError as error:
                return type(error)
            if head is not None:
                return head.line, head.size, head.lines
            searched = end
        return None

    cuts = sorted(draw.draw(st.sets(st.integers(0, len(data)), max_size=8)))

    assert outcome([*cuts, len(data)]) == outcome(range(len(data) + 1))


def test_a_head_that_was_read_before_is_the_same_and_limits_still_count():
    head = b"HTTP/1.1 200 OK\r\nA: 1\r\nB: 2\r\nContent-Length: 2\r\n\r\n"
    read_answer(head + b"ok", 0, 1000, 10)
    second = read_answer(head + b"ok", 0, 1000, 10)
    assert read_answer(head + b"no", 0, 1000, 10) is second
    with pytest.raises(AnswerHeadTooLarge):
        read_answer(head, 0, 1000, 2)


def test_heads_that_set_cookies_are_not_kept():
    head = b"HTTP/1.1 200 OK\r\nSET-Cookie: a=b\r\nContent-Length: 2\r\n\r\n"
    read_answer(head, 0, 1000, 10)
    assert read_answer(head, 0, 1000, 10) is not read_answer(head, 0, 1000, 10)


@pytest.mark.parametrize("space", [b" ", b"\t", b" \t  "])
def test_white_space_before_a_colon_is_removed(space):
    """RFC 9112 §5.1: it is no part of the name, and does not reach whoever reads it otherwise."""
    data = ok(b"X-One" + space + b": a : b", b"Content-Length" + space + b":5", b"Connection" + space + b": X-One")

    for head in (whole(data), whole(data), whole(data)):
        assert (head.size, head.length, head.nominated) == (len(data), 5, frozenset({b"x-one"}))
        assert head.kept == b"\r\nX-One: a : b\r\nContent-Length:5\r\n"
        assert pairs(head.lines)[0] == (b"X-One", b"a : b")


@pytest.mark.parametrize("space", [b" ", b"\t"])
def test_framing_is_read_over_white_space_too(space):
    assert whole(ok(b"Transfer-Encoding" + space + b": chunked")).chunked


@pytest.mark.parametrize("version", [b"1.1", b"1.2", b"1.9"])
def test_a_minor_version_that_nobody_knows_means_what_the_highest_known_one_means(version):
    """RFC 9110 §2.5."""
    head = whole(ok(b"Transfer-Encoding: chunked", version=version))

    assert (head.chunked, head.persistent) == (True, True)


@pytest.mark.parametrize("status", [b"204 No Content", b"101 Switching", b"103 Hints", b"199 x"])
@pytest.mark.parametrize("name", [b"Content-Length", b"content-LENGTH ", b"Content-Length\t"])
def test_an_answer_that_can_have_no_body_has_no_length(status, name):
    """RFC 9110 §8.6."""
    head = whole(ok(b"A: 1", name + b": 5", b"B: 2", status=status))

    assert head.kept == b"\r\nA: 1\r\nB: 2\r\n"


@pytest.mark.parametrize("status", [b"200 OK", b"304 Not Modified", b"205 Reset", b"404 No"])
def test_every_other_answer_keeps_it(status):
    assert whole(ok(b"Content-Length: 0", status=status)).kept == b"\r\nContent-Length: 0\r\n"


def test_what_leads_around_us_ends_here():
    head = whole(ok(b"A: 1", b'alt-SVC: h3=":443"', b"Alt-Svc : clear", b"X-Alt-Svc: 1", b"Alt-Svc-X: 1"))

    assert head.kept == b"\r\nA: 1\r\nX-Alt-Svc: 1\r\nAlt-Svc-X: 1\r\n"


@pytest.mark.parametrize(
    ("value", "seconds"),
    [(b"timeout=5, max=100", 5.0), (b"max=100,timeout=60", 60.0), (b"timeout=x", None), (b"timeout=55555", None)],
)
def test_how_long_an_idle_connection_is_kept(value, seconds):
    assert whole(ok(b"Keep-Alive: " + value)).keep_alive() == seconds
    assert whole(ok()).keep_alive() is None
