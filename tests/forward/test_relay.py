"""An answer for the app, without anything that it goes over."""

from __future__ import annotations

import pytest
from support.routes_alone import answer_of, head_of, live_route_of, outgoing

from proxy.auth.bearer import BearerScheme
from proxy.config import schema
from proxy.forward.cors import NO_PAGE
from proxy.forward.outbound import Outbound, as_request
from proxy.forward.relay import Relay


def relay_of(live_route=None, head=None, *, scheme=b"http", sent=None, **more):
    request = outgoing(live_route or live_route_of(), head or head_of(), **more)
    if sent is not None:
        request.sent = sent
    return Relay(request, scheme)


def begun(relay, head, pieces=(), *, done=False, close=False, trailers=(), extra=b""):
    return relay.begin(head, list(pieces), done=done, close=close, trailers=list(trailers), extra=extra)


def test_an_answer_of_known_length_goes_on_as_it_comes():
    relay = relay_of()
    octets = begun(relay, answer_of("Content-Length: 4", "X: y"), [b"ab"])
    assert octets == b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\nX: y\r\n\r\nab"
    assert relay.more([b"c", b"d"], done=True, trailers=[]) == b"cd"
    assert (relay.status, relay.closes, relay.until_close) == (200, False, False)


def test_an_answer_of_unknown_length_is_put_in_chunks_with_its_trailers():
    relay = relay_of()
    octets = begun(relay, answer_of("Transfer-Encoding: chunked"), [b"ab"])
    assert octets == b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n"
    end = relay.more([b"c"], done=True, trailers=[(b"X-Sum: 1\r\n", b"X-Sum")])
    assert end == b"1\r\nc\r\n0\r\nX-Sum: 1\r\n\r\n"


def test_for_an_app_of_http_1_0_its_end_is_that_of_the_connection():
    relay = relay_of(head=head_of(version=b"1.0"))
    octets = begun(relay, answer_of("Transfer-Encoding: chunked"), [b"ab"])
    assert octets == b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nab"
    assert relay.more([b"c"], done=True, trailers=[]) == b"c"
    assert (relay.closes, relay.until_close) == (True, True)


@pytest.mark.parametrize(("version", "close", "line"), [
    (b"1.1", False, b""), (b"1.1", True, b"Connection: close\r\n"),
    (b"1.0", False, b"Connection: keep-alive\r\n"), (b"1.0", True, b"Connection: close\r\n"),
])  # fmt: skip
def test_the_app_is_told_what_becomes_of_its_connection(version, close, line):
    relay = relay_of(head=head_of("Connection: keep-alive", version=version))
    octets = begun(relay, answer_of("Content-Length: 0"), done=True, close=close)
    assert octets == b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n" + line + b"\r\n"
    assert relay.closes is close


@pytest.mark.parametrize("method", ["HEAD", "GET"])
def test_where_there_is_no_body_nothing_is_framed(method):
    relay = relay_of(head=head_of(method=method))
    answer = answer_of("Transfer-Encoding: chunked", status="200 OK" if method == "HEAD" else "304 Same")
    assert begun(relay, answer, done=True).endswith(b"\r\n\r\n")
    assert relay.more([], done=True, trailers=[]) == b""


def test_what_is_for_one_hop_or_for_us_stays_behind_and_what_is_ours_goes_along():
    relay = relay_of(sent=Outbound(b"", hidden=frozenset({b"dpop-nonce"})))
    answer = answer_of("Connection: X-Hop", "X-Hop: 1", "DPoP-Nonce: n", "X: y", "Content-Length: 0")
    octets = begun(relay, answer, done=True, extra=b"Proxy-Status: us\r\n")
    assert octets == b"HTTP/1.1 200 OK\r\nX: y\r\nContent-Length: 0\r\nProxy-Status: us\r\n\r\n"


def test_a_nonce_that_nobody_here_learns_from_is_the_apps():
    assert b"DPoP-Nonce: n" in begun(relay_of(), answer_of("DPoP-Nonce: n", "Content-Length: 0"), done=True)


@pytest.mark.parametrize("scheme", [b"http", b"https"])
def test_a_promise_of_tls_goes_to_who_uses_it(scheme):
    answer = answer_of("Strict-Transport-Security: max-age=1", "Content-Length: 0")
    assert (b"Strict-Transport" in begun(relay_of(scheme=scheme), answer, done=True)) is (scheme == b"https")


def test_who_may_read_an_answer_is_said_with_it():
    told = NO_PAGE.told(b"\r\nContent-Length: 0\r\n")
    assert (
        begun(relay_of(readers=NO_PAGE), answer_of("Content-Length: 0"), done=True) == b"HTTP/1.1 200 OK%b\r\n" % told
    )
    last = relay_of(readers=NO_PAGE).switched(answer_of("X: y", status="101 Go"), b"Upgrade: x\r\n", b"")
    assert last == b"HTTP/1.1 101 Go%bUpgrade: x\r\n\r\n" % NO_PAGE.told(b"\r\nX: y\r\n")


def test_nothing_of_a_request_or_its_answer_is_printed():
    relay = relay_of(head=head_of("X-Key: s3cret", target="/crm/x?key=s3cret"), sent=Outbound(b"s3cret"))
    begun(relay, answer_of("Set-Cookie: s3cret"))
    assert "s3cret" not in repr(relay) + repr(relay.request) + repr(relay.request.sent)


@pytest.mark.parametrize(("ends", "kind", "streams"), [
    ("close", "text/event-stream; charset=x", True), ("close", "text/plain", False),
    ("keep", "text/event-stream", False),
])  # fmt: skip
def test_a_stream_that_ends_with_its_token_is_known(ends, kind, streams):
    relay = relay_of(live_route_of(BearerScheme(), on_token_expiry=ends))
    begun(relay, answer_of(f"Content-Type: {kind}", "Transfer-Encoding: chunked"))
    assert relay.streams is streams


ASKED = as_request(live_route_of(), head_of(), b"/v1/x", None)


class Pupil:
    def __init__(self):
        self.learned = []

    def wants_answer(self, request):
        raise AssertionError(request)

    def learn(self, request, status, body):
        self.learned.append((request, status, body))


@pytest.mark.parametrize("pieces", [[[b"ab", b"c"]], [[b"a"], [b"bc"]], [[], [b"abc"]]])
def test_who_learns_from_answers_has_learned_when_the_last_octet_goes_on(pieces):
    pupil = Pupil()
    relay = relay_of(live_route_of(BearerScheme(), observer=pupil), sent=Outbound(b"", learned_from=ASKED))
    begun(relay, answer_of("Content-Length: 3"), pieces[0], done=len(pieces) == 1)
    for more in pieces[1:]:
        assert pupil.learned == []
        relay.more(more, done=True, trailers=[])
    assert pupil.learned == [(ASKED, 200, b"abc")]


LED = {"rewrite_response": schema.RewriteResponse(location=True, json_pointers=("/url",))}


def test_links_in_a_body_wait_for_all_of_it():
    relay = relay_of(live_route_of(**LED))
    answer = answer_of("Content-Type: application/json", "Content-Length: 32", "Location: http://a.example/v1/b")
    body = b'{"url": "http://a.example/v1/x"}'
    assert begun(relay, answer, [body[:9]]) is None
    octets = begun(relay, answer, [body[9:]], done=True)
    assert octets.endswith(b'{"url": "http://localhost/crm/x"}')
    assert b"Location: http://localhost/crm/b\r\n" in octets
    assert b"Content-Length: %d\r\n" % len(octets.partition(b"\r\n\r\n")[2]) in octets


def test_links_lead_here_before_the_answer_and_in_its_last_head_too():
    relay = relay_of(live_route_of(**LED))
    hint = answer_of("Location: http://a.example/v1/b", status="103 Early Hints")
    assert relay.interim(hint) == b"HTTP/1.1 103 Early Hints\r\nLocation: http://localhost/crm/b\r\n\r\n"
    last = relay.switched(hint, b"Connection: Upgrade\r\n", b"frames")
    assert last == (
        b"HTTP/1.1 103 Early Hints\r\nLocation: http://localhost/crm/b\r\nConnection: Upgrade\r\n\r\nframes"
    )


def test_where_the_app_does_not_say_what_we_are_called_nothing_is_led_here():
    relay = relay_of(live_route_of(**LED), host=None)
    answer = answer_of("Location: http://a.example/v1/b", "Content-Length: 0")
    assert b"Location: http://a.example/v1/b\r\n" in begun(relay, answer, done=True)
