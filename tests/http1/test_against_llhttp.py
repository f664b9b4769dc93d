"""A second opinion on every head and body: llhttp, the parser of Node.js (through httptools).

Where the two disagree, the sample stands in a table below with the reason; a sample that they agree on again must leave
it. In one direction there is no table: whatever we accept, llhttp reads as the same method, target, fields, framing and
body, unless it does not know the method or minds octets above 0x7F.
"""

from __future__ import annotations

from typing import Any

import httptools
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.heads import (
    ACCEPTED_ANSWERS,
    ACCEPTED_REQUESTS,
    MALFORMED_ANSWERS,
    MALFORMED_REQUESTS,
    REFUSED_REQUESTS,
    get,
)

from proxy import errors
from proxy.http1.answer import read_answer
from proxy.http1.chunked import ChunkedDecoder
from proxy.http1.fields import pairs
from proxy.http1.grammar import SPACED_NAME, GrammarError
from proxy.http1.request import read_request

METHODS = [b"GET", b"HEAD", b"POST", b"PUT", b"DELETE", b"OPTIONS", b"PATCH"]

ONLY_WE_ACCEPT = {
    "a method nobody knows": "any token is a method (RFC 9110 §9.1)",
    "a method in lower case is another method": "the same",
    "every character of a token as method": "the same",
    "octets above 0x7F in the target": "apps send them, and what is signed are the octets that were sent",
}

ONLY_LLHTTP_ACCEPTS = {
    "a length of 2^63": "fits its 64 bits, but not the signed integers of others",
    "a length of 2^64 - 1": "the same",
    "Transfer-Encoding twice, one harmless": "codings are lists; we know but one",
    "Transfer-Encoding on HTTP/1.0": "RFC 9112 §6.1 calls it faulty framing",
    "no Host": "it leaves Host to its caller",
    "no fields at all": "the same",
    "Host twice": "the same",
    "an empty Host": "the same",
    "Host with a path and user info": "the same",
    "Host as a list": "the same",
    "a malformed Host on HTTP/1.0": "the same",
    "a fragment": "its URLs may have one",
    "no version": "it speaks HTTP/0.9",
    "two spaces before the target": "it skips white space",
    "two spaces behind the target": "the same",
    "two empty lines before": "it skips any number of them",
    "a bare LF before": "the same",
    "an asterisk for another method": "it leaves the form of a target to its caller",
    "an asterisk and more": "the same",
    "a scheme that is not HTTP's": "the same",
    "Connection nominating Host": "it forwards nothing, so it does not mind",
    "Connection nominating Content-Length": "the same",
    "Connection nominating Authorization": "the same",
    "Connection nominating Cookie in its second line": "the same",
    "an Upgrade with a length": "it ends the message where the new protocol begins: the way of requests that vanish",
    "an Upgrade to one of two with a length": "the same",
    "an Upgrade in its second line with a length": "the same",
    "an Upgrade with chunks": "the same",
    "CONNECT": "it parses for servers that tunnel",
    "TRACE": "the same",
    "two codings": "it un-chunks and leaves the coding beneath to its caller",
    "an empty coding before": "the same",
    "HTTP/2.0": "it takes the version as written",
    "HTTP/0.9": "the same",
    "another version behind an empty line": "the same",
}

ONLY_LLHTTP_ACCEPTS_AN_ANSWER = {
    "a length of 2^63": "fits its 64 bits, but not the signed integers of others",
    "Transfer-Encoding twice": "what is not plainly chunked is read until the connection closes (RFC 9112 §6.3)",
    "identity": "the same",
    "gzip under chunked": "the same",
    "chunked under identity": "the same",
    "xchunked": "the same",
    "Transfer-Encoding on HTTP/1.0": "RFC 9112 §6.1 calls it faulty framing",
    "a control in the reason": "it reads no reason",
    "HTTP/0.9": "it knows the version by its digits",
    "HTTP/2.0": "the same",
    "a status below 100": "three digits are enough for it",
    "an empty line before": "it skips any number of them",
}


class Heard:
    """What a parser of httptools reports."""

    def __init__(self, kind: type[httptools.HttpRequestParser | httptools.HttpResponseParser], data: bytes) -> None:
        self.target = b""
        self.fields: list[tuple[bytes, bytes]] = []
        self.body = b""
        self.head_complete = False
        self.complete = False
        self.persistent = False
        self.parser: Any = kind(self)
        self.error = ""
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            pass  # the head is accepted; what follows belongs to another protocol
        except httptools.HttpParserError as error:
            self.error = str(error) or type(error).__name__

    def on_url(self, part: bytes) -> None:
        self.target += part

    def on_header(self, name: bytes, value: bytes) -> None:
        self.fields.append((name, value.rstrip(b" \t")))

    def on_headers_complete(self) -> None:
        self.head_complete = True
        self.persistent = self.parser.should_keep_alive()

    def on_body(self, part: bytes) -> None:
        self.body += part

    def on_message_complete(self) -> None:
        self.complete = True

    @property
    def accepted(self) -> bool:
        return self.head_complete and not self.error


ONLY_WE_ACCEPT_AS_AN_ANSWER = {"HTTP/1.2", "HTTP/1.9", "white space before a colon"}
"""What a proxy has to read (RFC 9110 §2.5, RFC 9112 §5.1); none of it goes on."""

REFUSED = {
    name: get(line, *([b"Transfer-Encoding: " + coding] if coding else []))
    for name, (line, coding, _, _) in REFUSED_REQUESTS.items()
}


@pytest.mark.parametrize("name", ACCEPTED_REQUESTS)
def test_llhttp_accepts_the_requests_that_we_accept(name):
    assert Heard(httptools.HttpRequestParser, ACCEPTED_REQUESTS[name]).accepted == (name not in ONLY_WE_ACCEPT)


@pytest.mark.parametrize("name", [*MALFORMED_REQUESTS, *REFUSED])
def test_llhttp_refuses_the_requests_that_we_refuse(name):
    data = {**MALFORMED_REQUESTS, **REFUSED}[name]

    assert Heard(httptools.HttpRequestParser, data).accepted == (name in ONLY_LLHTTP_ACCEPTS)


@pytest.mark.parametrize("name", ACCEPTED_ANSWERS)
def test_llhttp_accepts_the_answers_that_we_accept(name):
    heard = Heard(httptools.HttpResponseParser, ACCEPTED_ANSWERS[name])

    assert heard.accepted == (name not in ONLY_WE_ACCEPT_AS_AN_ANSWER)


@pytest.mark.parametrize("name", MALFORMED_ANSWERS)
def test_llhttp_refuses_the_answers_that_we_refuse(name):
    heard = Heard(httptools.HttpResponseParser, MALFORMED_ANSWERS[name])

    assert heard.accepted == (name in ONLY_LLHTTP_ACCEPTS_AN_ANSWER)


def test_no_reason_is_given_for_a_difference_that_is_none():
    assert ACCEPTED_REQUESTS.keys() >= ONLY_WE_ACCEPT.keys()
    assert MALFORMED_REQUESTS.keys() | REFUSED.keys() >= ONLY_LLHTTP_ACCEPTS.keys()
    assert MALFORMED_ANSWERS.keys() >= ONLY_LLHTTP_ACCEPTS_AN_ANSWER.keys()


# ---- the same message ------------------------------------------------------------------------------------------------

NAMES = st.sampled_from([
    b"Host", b"X", b"x-y_z", b"Content-Length", b"Transfer-Encoding", b"Connection", b"Expect", b"TE", b"Cookie", b"",
    b"X ", b"content-length", b"X\xe9",
])  # fmt: skip
VALUES = st.sampled_from([
    b"a", b"", b" a", b"a\t", b"3", b"03", b"+3", b"3, 3", b"chunked", b" Chunked ", b"gzip, chunked", b"close",
    b"a\rb", b"keep-alive, x", b"\xe9\xff", b"a\x00", b"a\x7f", b"a\r\n b", b"a\nb", b"100-continue", b"trailers",
])  # fmt: skip
LINES = st.lists(st.builds(b"%b:%b\r\n".__mod__, st.tuples(NAMES, VALUES)), max_size=5).map(b"".join)
BODIES = st.sampled_from([b"", b"abc", b"3\r\nabc\r\n0\r\n\r\n", b"3;a=b\r\nabc\r\n0\r\nX: y\r\n\r\n"])
TARGETS = st.sampled_from([
    b"/", b"/a%2Fb//../?c=d&e", b"*", b"http://a/b", b"//a/b", b"/a b", b"/a#b", b'/"<>\\^`{|}', b"a",
])  # fmt: skip
VERSIONS = st.sampled_from([b"HTTP/1.1", b"HTTP/1.1", b"HTTP/1.0", b"HTTP/1.2"])


@given(st.sampled_from(METHODS), TARGETS, VERSIONS, LINES, BODIES)
def test_what_we_accept_as_a_request_llhttp_reads_in_the_same_way(method, target, version, lines, body):
    data = b"%b %b %b\r\nHost: a\r\n%b\r\n%b" % (method, target, version, lines, body)
    try:
        head = read_request(data, 0, 32768, 200)
    except errors.ClientError:
        return
    assert head is not None
    fields = head.fields
    heard = Heard(httptools.HttpRequestParser, data[: head.size])

    assert (heard.parser.get_method(), heard.target) == (head.method, head.target)
    assert heard.fields == pairs(fields.lines)
    assert heard.complete == (not fields.has_body)
    assert heard.persistent == fields.persistent
    if fields.length is not None:
        assert Heard(httptools.HttpRequestParser, data[: head.size] + b"x" * fields.length).complete


@given(VERSIONS, st.sampled_from([b"200 OK", b"404", b"901 \xe9", b"500 "]), LINES)
def test_what_we_accept_as_an_answer_llhttp_reads_in_the_same_way(version, status, lines):
    data = b"%b %b\r\n%b\r\n" % (version, status, lines)
    try:
        head = read_answer(data, 0, 32768, 200)
    except errors.UpstreamError:
        return
    assert head is not None
    plain = SPACED_NAME.sub(rb"\r\n\1:", data).replace(b"HTTP/1.2", b"HTTP/1.1", 1)  # what a proxy has to read
    heard = Heard(httptools.HttpResponseParser, plain)

    assert heard.accepted
    assert heard.parser.get_status_code() == head.status
    assert heard.fields == pairs(head.lines)
    assert heard.complete == (head.length == 0)


CHUNKS = st.lists(
    st.sampled_from([
        b"3\r\nabc\r\n", b"3;a=b\r\nabc\r\n", b'3;a="b;\\"c";d\r\nabc\r\n', b"03\r\nabc\r\n", b"A\r\n0123456789\r\n",
        b"3 \r\nabc\r\n", b"3 ; a\r\nabc\r\n", b"0x3\r\nabc\r\n", b"3\nabc\r\n", b"3\r\nabc\n", b"3\r\nabcd\r\n",
        b"\r\n", b"3;\r\nabc\r\n", b"3;a=\r\nabc\r\n", b"g\r\n", b"1\r\n\r\r\n", b"2\r\n\r\n\r\n", b"3;a\nb\r\nabc\r\n",
        b"8000000000000000\r\n", b"00000000000000003\r\nabc\r\n",
    ]),
    max_size=3,
).map(b"".join)  # fmt: skip
ENDS = st.sampled_from([
    b"0\r\n\r\n", b"00\r\n\r\n", b"0;a\r\n\r\n", b"0\r\nX: y\r\nZ:\r\n\r\n", b"0\r\nX : y\r\n\r\n", b"0\n\r\n",
    b"0\r\n\n",
    b"0\r\nX: a\x00\r\n\r\n", b"0\r\n X: y\r\n\r\n", b"0\r\n: y\r\n\r\n",
])  # fmt: skip


@given(CHUNKS, ENDS)
def test_what_we_accept_as_chunks_llhttp_reads_as_the_same_body(chunks, end):
    decoder = ChunkedDecoder()
    try:
        payload = b"".join(decoder.feed(chunks + end))
    except GrammarError:
        return
    if b" ;" in chunks:
        return  # RFC 9112 §7.1.1 has us accept white space around a semicolon; llhttp does not
    head = b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n"
    heard = Heard(httptools.HttpRequestParser, head + chunks + end)

    assert decoder.done
    assert (heard.complete, heard.body, heard.error) == (True, payload, "")
    # llhttp reports trailers as if they were header fields: they are told apart only by when they come
    assert heard.fields[1:] == pairs(decoder.trailers)
