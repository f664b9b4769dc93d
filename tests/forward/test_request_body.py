from __future__ import annotations

import pytest
from support.heads import post

from proxy.errors import RequestBodyTooLarge
from proxy.forward.request_body import RequestBody
from proxy.http1.grammar import GrammarError
from proxy.http1.request import RequestFields, read_request


def fields(*lines: bytes) -> RequestFields:
    head = read_request(post(*lines), 0, 32768, 200)
    assert head is not None
    return head.fields


CHUNKED = fields(b"Transfer-Encoding: chunked")


def test_a_body_of_known_length_goes_on_as_it_comes_and_ends_where_it_ends():
    body = RequestBody(fields(b"Content-Length: 5"), None, 100)

    assert body.feed(b"hel") == ([b"hel"], b"")
    assert not body.complete
    assert body.feed(b"loGET /") == ([b"lo"], b"GET /")
    assert body.complete
    assert body.go_on([b"hel", b"lo"]) == body.body() == b"hello"


def test_a_chunked_body_is_put_in_chunks_again_with_its_trailers():
    body = RequestBody(CHUNKED, None, 100)

    pieces, rest = body.feed(b"2;a=b\r\nhe\r\n3\r\nllo\r\n0\r\nX-Sum: 1\r\n\r\nGET /")

    assert rest == b"GET /"
    assert body.go_on(pieces) == b"5\r\nhello\r\n0\r\nX-Sum: 1\r\n\r\n"


def test_no_trailer_frames_authenticates_or_stands_for_what_is_injected():
    body = RequestBody(CHUNKED, None, 100, frozenset({b"x-api-key"}))

    body.feed(b"0\r\nA: b\r\nX_Api_Key: mine\r\nAuthorization: mine\r\nContent-Length: 5\r\nx-api-key: mine\r\n\r\n")

    assert body.go_on([]) == b"0\r\nA: b\r\n\r\n"


def test_a_body_is_kept_while_it_is_small_enough_to_be_sent_again():
    body = RequestBody(CHUNKED, None, 5)

    body.feed(b"5\r\nhello\r\n")
    body.go_on([])
    assert (body.whole, body.body()) == (True, b"hello")
    body.feed(b"1\r\n!\r\n")
    body.go_on([])
    assert (body.whole, body.pieces) == (False, [])


def test_a_body_over_the_limit_is_refused_as_soon_as_that_is_known():
    """Row 40."""
    with pytest.raises(RequestBodyTooLarge):
        RequestBody(fields(b"Content-Length: 6"), 5, 100)
    body = RequestBody(CHUNKED, 5, 100)
    body.feed(b"5\r\nhello\r\n")
    with pytest.raises(RequestBodyTooLarge):
        body.feed(b"1\r\n!\r\n")


def test_malformed_chunks_are_for_the_caller_to_answer():
    with pytest.raises(GrammarError):
        RequestBody(CHUNKED, None, 100).feed(b"0x5\r\n")


def test_the_app_is_asked_for_its_body_once():
    body = RequestBody(CHUNKED, None, 100)
    assert [body.invite(), body.invite()] == [b"HTTP/1.1 100 Continue\r\n\r\n", b""]


def test_each_attempt_begins_with_all_there_is_and_what_was_withheld_is_part_of_the_next():
    body = RequestBody(fields(b"Content-Length: 5"), None, 100)
    body.feed(b"he")
    assert body.begin() == b"he"
    body.withheld = True
    body.feed(b"llo")
    assert not body.delivered
    assert body.begin() == b"hello"
    assert body.delivered


@pytest.mark.parametrize(("buffer", "fits"), [(5, True), (4, False)])
def test_a_body_that_is_to_be_signed_is_refused_as_soon_as_it_is_known_to_be_too_large(buffer, fits):
    body = RequestBody(fields(b"Content-Length: 5"), None, buffer)
    assert body.fits is fits
    if fits:
        assert not body.gathered()
        body.feed(b"hello")
        assert body.gathered()
    else:
        with pytest.raises(RequestBodyTooLarge):
            body.gathered()


@pytest.mark.parametrize(
    ("framing", "octets", "buffer", "again"),
    [
        (b"Content-Length: 5", b"", 5, True),
        (b"Content-Length: 5", b"", 4, False),
        (b"Transfer-Encoding: chunked", b"1\r\na\r\n", 100, False),
        (b"Transfer-Encoding: chunked", b"1\r\na\r\n0\r\n\r\n", 100, True),
    ],
)
def test_whether_a_body_can_come_again_is_known_before_it_is_sent(framing, octets, buffer, again):
    body = RequestBody(fields(framing), None, buffer)
    if octets:
        body.feed(octets)
    assert body.can_come_again is again
