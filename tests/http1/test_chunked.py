from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.http1.chunked import ChunkedDecoder, chunk, forwardable_trailers, last_chunk
from proxy.http1.grammar import GrammarError

LIMIT = 1024


def decode(data: bytes, *cuts: int) -> tuple[bytes, bool, list[tuple[bytes, bytes]], bytes]:
    """Payload, whether it is complete, trailers, and what follows; the data arriving in pieces that end at `cuts`."""
    return decode_by(ChunkedDecoder(LIMIT, 5), data, *cuts)


def decode_by(decoder: ChunkedDecoder, data: bytes, *cuts: int) -> tuple[bytes, bool, list[tuple[bytes, bytes]], bytes]:
    """The same by a decoder of one's own."""
    payload = b""
    start = 0
    for end in [*sorted(cuts), len(data)]:
        payload += b"".join(decoder.feed(data[start:end]))
        start = end
    return payload, decoder.done, decoder.trailers, decoder.rest


WELL_FORMED = {
    "one chunk": (b"5\r\nhello\r\n0\r\n\r\n", b"hello"),
    "no chunk": (b"0\r\n\r\n", b""),
    "several": (b"2\r\nhe\r\n3\r\nllo\r\n0\r\n\r\n", b"hello"),
    "either case of the size": (b"a\r\n0123456789\r\nA\r\n0123456789\r\n0\r\n\r\n", b"0123456789" * 2),
    "zeros before a size": (b"0000000000000005\r\nhello\r\n000\r\n\r\n", b"hello"),
    "CRLF in the payload": (b"4\r\n\r\n\r\n\r\n0\r\n\r\n", b"\r\n\r\n"),
    "a last chunk in the payload": (b"5\r\n0\r\n\r\n\r\n0\r\n\r\n", b"0\r\n\r\n"),
    "an extension": (b"5;a\r\nhello\r\n0;b=c\r\n\r\n", b"hello"),
    "extensions with all that RFC 9112 allows": (
        b'5 ; a = b;\tc\t=\t"d\\"\\\\ \xff;";e\r\nhello\r\n0\r\n\r\n',
        b"hello",
    ),
    "the longest size line": (b"1;" + b"a" * 254 + b"\r\nx\r\n0\r\n\r\n", b"x"),
}

MALFORMED = {
    "a prefix 0x": b"0x5\r\nhello\r\n0\r\n\r\n",
    "a plus": b"+5\r\nhello\r\n0\r\n\r\n",
    "a minus": b"-5\r\nhello\r\n0\r\n\r\n",
    "an underscore": b"1_0\r\n" + b"a" * 16 + b"\r\n0\r\n\r\n",
    "white space before the size": b" 5\r\nhello\r\n0\r\n\r\n",
    "white space behind the size": b"5 \r\nhello\r\n0\r\n\r\n",
    "a tab behind the size": b"5\t\r\nhello\r\n0\r\n\r\n",
    "no size": b"\r\nhello\r\n0\r\n\r\n",
    "no size before an extension": b";a\r\nhello\r\n0\r\n\r\n",
    "a letter beyond f": b"g\r\nhello\r\n0\r\n\r\n",
    "digits of another script": "\u0665\r\nhello\r\n0\r\n\r\n".encode(),
    "17 digits": b"00000000000000005\r\nhello\r\n0\r\n\r\n",
    "a size of 2^63": b"8000000000000000\r\nhello\r\n0\r\n\r\n",
    "a size of 2^64 - 1": b"ffffffffffffffff\r\nhello\r\n0\r\n\r\n",
    "a bare LF behind the size": b"5\nhello\r\n0\r\n\r\n",
    "a bare CR behind the size": b"5\rhello\r\n0\r\n\r\n",
    "two CR behind the size": b"5\r\r\nhello\r\n0\r\n\r\n",
    "a bare LF behind the payload": b"5\r\nhello\n0\r\n\r\n",
    "a payload longer than its size": b"5\r\nhello!\r\n0\r\n\r\n",
    "a payload longer than its size by CR": b"5\r\nhello\r\r\n0\r\n\r\n",
    "nothing behind the payload": b"5\r\nhello0\r\n\r\n",
    "an extension without a name": b"5;\r\nhello\r\n0\r\n\r\n",
    "an extension without a value": b"5;a=\r\nhello\r\n0\r\n\r\n",
    "white space behind an extension": b"5;a \r\nhello\r\n0\r\n\r\n",
    "an LF in an extension": b"5;a\nb\r\nhello\r\n0\r\n\r\n",
    "a CR in an extension": b"5;a\rb\r\nhello\r\n0\r\n\r\n",
    "a control in an extension": b"5;a\x01\r\nhello\r\n0\r\n\r\n",
    "an LF in a quoted extension": b'5;a="\n"\r\nhello\r\n0\r\n\r\n',
    "an open quotation": b'5;a="b\r\nhello\r\n0\r\n\r\n',
    "a size line too long": b"1;" + b"a" * 255 + b"\r\nx\r\n0\r\n\r\n",
    "a size line that never ends": b"1;" + b"a" * 1000,
    "a bare LF behind the last chunk": b"0\n\r\n",
    "a bare LF as the end": b"0\r\nX: y\r\n\n\r\n\r\n",
    "a trailer with a bare LF": b"0\r\nX: y\nZ: z\r\n\r\n",
    "a trailer without a colon": b"0\r\nGET / HTTP/1.1\r\n\r\n",
    "a trailer with white space before its colon": b"0\r\nX : y\r\n\r\n",
    "a folded trailer": b"0\r\nX: y\r\n z\r\n\r\n",
    "a folded first trailer": b"0\r\n X: y\r\n\r\n",
    "a control in a trailer": b"0\r\nX: \x00\r\n\r\n",
    "too many trailers": b"0\r\n" + b"X: y\r\n" * 6 + b"\r\n",
    "trailers too large": b"0\r\nX: " + b"y" * LIMIT + b"\r\n\r\n",
    "trailers that never end": b"0\r\nX: " + b"y" * 2 * LIMIT,
}


@pytest.mark.parametrize(("data", "payload"), WELL_FORMED.values(), ids=WELL_FORMED)
def test_a_body_is_what_its_chunks_hold(data, payload):
    assert decode(data + b"GET / HTTP/1.1") == (payload, True, [], b"GET / HTTP/1.1")


@pytest.mark.parametrize(("data", "payload"), WELL_FORMED.values(), ids=WELL_FORMED)
def test_a_body_that_lacks_one_octet_is_not_done(data, payload):
    assert decode(data[:-1]) == (payload, False, [], b"")


@pytest.mark.parametrize("data", MALFORMED.values(), ids=MALFORMED)
def test_whatever_is_not_to_the_letter_is_refused(data):
    with pytest.raises(GrammarError):
        decode(data)


@pytest.mark.parametrize("data", MALFORMED.values(), ids=MALFORMED)
def test_and_is_refused_octet_by_octet_too(data):
    with pytest.raises(GrammarError):
        decode(data, *range(len(data)))


@pytest.mark.parametrize("data", [data for data, _ in WELL_FORMED.values()], ids=WELL_FORMED)
def test_where_the_network_cuts_a_body_changes_nothing(data):
    data += b"next"
    whole = decode(data)

    assert decode(data, *range(len(data))) == whole
    for cut in range(len(data)):
        assert decode(data, cut) == whole


TRAILERS = b"5\r\nhello\r\n0\r\nX-Sum:  1 \r\nx-sum: \xe9\r\nEmpty:\r\n\r\n"


def test_trailers_are_a_section_of_their_own_and_keep_every_octet():
    for cut in range(len(TRAILERS)):
        payload, done, trailers, rest = decode(TRAILERS + b"next", cut)
        assert (payload, done, rest) == (b"hello", True, b"next")
        assert trailers == [(b"X-Sum:  1 \r\n", b"X-Sum"), (b"x-sum: \xe9\r\n", b"x-sum"), (b"Empty:\r\n", b"Empty")]


def test_trailers_as_large_as_the_limit_pass():
    assert decode(b"0\r\nX: " + b"y" * (LIMIT - 5) + b"\r\n\r\n")[1]
    with pytest.raises(GrammarError):
        decode(b"0\r\nX: " + b"y" * (LIMIT - 4) + b"\r\n\r\n")


def test_an_error_in_a_size_line_is_seen_before_the_line_ends():
    for begun in (b"0x", b"5 x", b"5\rx", b"g", b"5;\x01", b"11111111111111111"):
        with pytest.raises(GrammarError):
            decode(begun)


def test_an_error_in_a_chunks_end_is_seen_at_its_first_octet():
    with pytest.raises(GrammarError):
        decode(b"5\r\nhello!")


@pytest.mark.parametrize("begun", [b"0\r\n\n", b"0\r\nX: y\n", b"0\r\nX: y\rZ", b"0\r\nX: \x00"])
def test_an_error_in_a_trailer_is_seen_before_the_trailers_end(begun):
    with pytest.raises(GrammarError):
        decode(begun)
    with pytest.raises(GrammarError):
        decode(begun, *range(len(begun)))


def test_what_comes_behind_the_end_waits_until_somebody_asks():
    decoder = ChunkedDecoder()
    decoder.feed(b"0\r\n\r\nGET")

    assert decoder.feed(b" /") == []
    assert decoder.rest == b"GET /"


def test_nothing_is_nothing():
    decoder = ChunkedDecoder()

    assert decoder.feed(b"") == []
    assert decoder.feed(b"5\r\n") == []
    assert decoder.feed(b"") == []
    assert decoder.feed(b"hello\r\n0\r\n\r\n") == [b"hello"]


def test_a_large_chunk_is_passed_on_without_being_copied():
    decoder = ChunkedDecoder()
    decoder.feed(b"100000\r\n")
    data = b"a" * 65536

    assert decoder.feed(data)[0] is data


def test_extensions_may_not_outweigh_the_body():
    """A body of one octet per 250 octets of extension is work for us and nothing for anybody else."""
    line = b"1;" + b"a" * 250 + b"\r\nx\r\n"
    decoder = ChunkedDecoder()

    with pytest.raises(GrammarError):
        decoder.feed(line * 100)


def test_extensions_that_a_signing_client_sends_with_every_large_chunk_are_fine():
    line = b"1000;chunk-signature=" + b"a" * 64 + b"\r\n" + b"x" * 4096 + b"\r\n"
    decoder = ChunkedDecoder()

    assert sum(len(piece) for _ in range(1000) for piece in decoder.feed(line)) == 4096 * 1000


def test_a_refusal_never_quotes_the_body():
    for data in (b"5\r\nhunter2\r\n", b"hunter2\r\n", b"5;hunter2\x00\r\n", b"0\r\nhunter2\r\n\r\n"):
        with pytest.raises(GrammarError) as refusal:
            decode(data)
        assert "hunter" not in repr(refusal.value)


@given(st.lists(st.binary(), max_size=8), st.binary(max_size=20), st.data())
def test_what_is_put_in_chunks_comes_out_again_wherever_it_was_cut(pieces, rest, draw):
    data = b"".join(map(chunk, pieces)) + last_chunk([]) + rest
    cuts = draw.draw(st.sets(st.integers(0, len(data)), max_size=8))

    assert decode(data, *cuts) == (b"".join(pieces), True, [], rest)


FRAGMENTS = st.sampled_from([
    b"0", b"1", b"5", b"a", b"\r\n", b"\r", b"\n", b"hello", b"x", b";", b"=", b'"', b"\\", b" ", b"\t", b"X: y\r\n",
    b":", b"\x00", b"\xff", b"5\r\nhello\r\n", b"0\r\n\r\n",
])  # fmt: skip


@given(st.lists(FRAGMENTS, max_size=15).map(b"".join), st.data())
def test_no_octets_raise_anything_but_a_grammar_error_and_no_cut_changes_that(data, draw):
    """Where the error comes behind some payload, more or less of it may have been passed on; never anything else."""

    def outcome(*cuts):
        try:
            return decode(data, *cuts)
        except GrammarError:
            return GrammarError

    cuts = draw.draw(st.sets(st.integers(0, len(data)), max_size=8))

    assert outcome(*cuts) == outcome(*range(len(data)))


@given(st.binary(max_size=100))
def test_random_octets_raise_nothing_else_either(data):
    try:
        decode(data)
    except GrammarError:
        return


# ---- from upstreams --------------------------------------------------------------------------------------------------

OF_UPSTREAMS_ALONE = {
    "a space behind the size": b"5 \r\nhello\r\n0\r\n\r\n",
    "a tab behind the size": b"5\t\r\nhello\r\n0\r\n\r\n",
    "a size of a fixed width": b"5       \r\nhello\r\n0       \r\n\r\n",
    "white space behind the last size": b"5\r\nhello\r\n0 \t\r\n\r\n",
    "white space behind an extension": b"5;a \r\nhello\r\n0;b=c\t\r\n\r\n",
}


@pytest.mark.parametrize("data", OF_UPSTREAMS_ALONE.values(), ids=OF_UPSTREAMS_ALONE)
def test_white_space_behind_a_size_is_read_from_upstreams_alone(data):
    for cuts in ((), range(len(data)), *((cut,) for cut in range(len(data)))):
        assert decode_by(ChunkedDecoder(answer=True), data + b"next", *cuts) == (b"hello", True, [], b"next")
    with pytest.raises(GrammarError):
        decode(data)


_READ_FROM_UPSTREAMS = ("white space behind", "a tab behind", "white space before its colon")


@pytest.mark.parametrize(
    "data", [data for name, data in MALFORMED.items() if not any(part in name for part in _READ_FROM_UPSTREAMS)]
)
def test_nothing_else_is_read_from_upstreams_either(data):
    for cuts in ((), range(len(data))):
        with pytest.raises(GrammarError):
            decode_by(ChunkedDecoder(LIMIT, 5, answer=True), data, *cuts)


@pytest.mark.parametrize("data", [b"5 5\r\nhello\r\n", b"5 x\r\nhello\r\n", b" 5\r\nhello\r\n", b"5 \nhello\r\n"])
def test_nor_is_anything_behind_the_white_space(data):
    with pytest.raises(GrammarError):
        decode_by(ChunkedDecoder(answer=True), data)


def test_white_space_before_the_colon_of_a_trailer_is_removed():
    data = b"0\r\nX-Sum : 1\r\nContent-Length\t: 5\r\n\r\n"
    for cut in range(len(data)):
        trailers = decode_by(ChunkedDecoder(answer=True), data, cut)[2]
        assert last_chunk(trailers) == b"0\r\nX-Sum: 1\r\n\r\n"


@pytest.mark.parametrize("answer", [False, True])
@pytest.mark.parametrize("error", [b"zz\r\n", b"5\r\nhello!", b"5;\x01", b"0\r\nX: \x00", b"8000000000000000\r\n"])
def test_what_came_before_an_error_in_the_same_octets_is_not_lost(answer, error):
    decoder = ChunkedDecoder(answer=answer)
    with pytest.raises(GrammarError) as refusal:
        decoder.feed(b"2\r\nab\r\n3\r\ncde\r\n" + error)
    assert b"".join(refusal.value.before).startswith(b"abcde")


# ---- the other way ---------------------------------------------------------------------------------------------------


def test_a_payload_becomes_a_chunk_and_nothing_becomes_nothing():
    assert chunk(b"hello world") == b"b\r\nhello world\r\n"
    assert chunk(b"") == b""


def test_the_end_carries_the_trailers_as_they_came():
    assert last_chunk([]) == b"0\r\n\r\n"
    assert last_chunk(decode(TRAILERS)[2]) == b"0\r\nX-Sum:  1 \r\nx-sum: \xe9\r\nEmpty:\r\n\r\n"


@pytest.mark.parametrize(
    "name",
    [
        b"Transfer-Encoding", b"content-length", b"Content_Length", b"Host", b"Trailer", b"TE", b"Connection",
        b"Upgrade", b"Authorization", b"Proxy-Authorization", b"COOKIE", b"Set-Cookie", b"X-Api-Key", b"x_api_key",
        b"X-API_key",
    ],
)  # fmt: skip
def test_trailers_that_frame_route_or_authenticate_are_not_passed_on(name):
    trailers = decode(b"0\r\nA: b\r\n" + name + b": v\r\nC: d\r\n\r\n")[2]

    kept = forwardable_trailers(trailers, frozenset({b"x-api-key"}))

    assert [kept_name for _, kept_name in kept] == [b"A", b"C"]
    assert last_chunk(trailers, frozenset({b"x-api-key"})) == b"0\r\nA: b\r\nC: d\r\n\r\n"


def test_all_other_trailers_are():
    trailers = decode(b"0\r\nX-Checksum: 1\r\nServer-Timing: a\r\nGrpc-Status: 0\r\n\r\n")[2]

    assert forwardable_trailers(trailers, frozenset()) == trailers
