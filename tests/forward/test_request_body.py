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
    upload = RequestBody(fields(b"Content-Length: 5"), None, 100)

    assert upload.feed(b"hel") == ([b"hel"], b"")
    assert not upload.complete
    assert upload.feed(b"loGET /") == ([b"lo"], b"GET /")
    assert upload.complete
    assert upload.wire([b"hel", b"lo"]) == upload.body() == b"hello"


def test_a_chunked_body_is_put_in_chunks_again_with_its_trailers():
    upload = RequestBody(CHUNKED, None, 100)

    pieces, rest = upload.feed(b"2;a=b\r\nhe\r\n3\r\nllo\r\n0\r\nX-Sum: 1\r\n\r\nGET /")

    assert rest == b"GET /"
    assert upload.wire(pieces) == b"5\r\nhello\r\n0\r\nX-Sum: 1\r\n\r\n"


def test_no_trailer_frames_authenticates_or_stands_for_what_is_injected():
    upload = RequestBody(CHUNKED, None, 100, frozenset({b"x-api-key"}))

    upload.feed(b"0\r\nA: b\r\nX_Api_Key: mine\r\nAuthorization: mine\r\nContent-Length: 5\r\nx-api-key: mine\r\n\r\n")

    assert upload.wire([]) == b"0\r\nA: b\r\n\r\n"


def test_a_body_is_kept_while_it_is_small_enough_to_be_sent_again():
    upload = RequestBody(CHUNKED, None, 5)

    upload.feed(b"5\r\nhello\r\n")
    upload.sent()
    assert (upload.whole, upload.body()) == (True, b"hello")
    upload.feed(b"1\r\n!\r\n")
    upload.sent()
    assert (upload.whole, upload.pieces) == (False, [])


def test_a_body_over_the_limit_is_refused_as_soon_as_that_is_known():
    """Row 40."""
    with pytest.raises(RequestBodyTooLarge):
        RequestBody(fields(b"Content-Length: 6"), 5, 100)
    upload = RequestBody(CHUNKED, 5, 100)
    upload.feed(b"5\r\nhello\r\n")
    with pytest.raises(RequestBodyTooLarge):
        upload.feed(b"1\r\n!\r\n")


def test_malformed_chunks_are_for_the_caller_to_answer():
    with pytest.raises(GrammarError):
        RequestBody(CHUNKED, None, 100).feed(b"0x5\r\n")
