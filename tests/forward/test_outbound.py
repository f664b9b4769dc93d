"""A request as it goes out, without anything to go over."""

from __future__ import annotations

import base64

import pytest
from support.routes_alone import head_of, live_route_of

from proxy.auth.bearer import BearerScheme
from proxy.auth.body_value import BodyScheme
from proxy.auth.cookie import CookieScheme
from proxy.auth.dpop import DpopScheme, claims_of
from proxy.auth.dpop_key import DpopKey, DpopKeys
from proxy.auth.oauth1 import OAuth1Scheme
from proxy.auth.query import QueryScheme
from proxy.auth.signature import OAuth1Keys
from proxy.config import schema
from proxy.errors import CredentialRefused, RequestDenied
from proxy.forward.live_route import AuthorizationAction
from proxy.forward.outbound import NOTHING_SENT, as_request, fate_of_authorization, render, upgraded
from proxy.model import Moment, Token

TOKEN = Token(access_token="t")
FORM = "Content-Type: application/x-www-form-urlencoded"


class Stopped:
    """A clock that stands, and chance that is none; counts how often it is asked."""

    def __init__(self) -> None:
        self.asked = 0

    def wall(self) -> float:
        self.asked += 1
        return 1_800_000_000.0

    def octets(self, count: int) -> bytes:
        return bytes(count)


class Pupil:
    """Wants the answer to what ends in `wanted`."""

    def wants_answer(self, request):
        return request.target.endswith(b"wanted")


def test_a_plain_request_is_what_may_cross_and_nothing_of_a_credential():
    sent = render(
        live_route_of(), head_of("X-A: b", "Connection: close"), b"/v1/x", AuthorizationAction.REPLACE, None, Stopped()
    )
    assert sent.octets == b"GET /v1/x HTTP/1.1\r\nHost: a.example\r\nX-A: b\r\n\r\n"
    assert (sent.request, list(sent.signed), sent.hidden, sent.learned_from) == (None, [], frozenset(), None)


def test_fields_that_are_good_for_every_request_are_made_once_for_each_token():
    live_route, clock = live_route_of(BearerScheme()), Stopped()
    first, second = (
        render(live_route, head_of(), b"/v1/x", AuthorizationAction.REPLACE, TOKEN, clock) for _ in range(2)
    )
    assert first.octets == second.octets == b"GET /v1/x HTTP/1.1\r\nHost: a.example\r\nAuthorization: Bearer t\r\n\r\n"
    assert list(first.signed) == [(b"Authorization", b"Bearer t")]
    assert second.request is None
    assert clock.asked == 1
    other = Token(access_token="t")
    assert render(live_route, head_of(), b"/v1/x", AuthorizationAction.REPLACE, other, clock).request is not None
    assert live_route.signed_token is other


@pytest.mark.parametrize("scheme", [QueryScheme("key"), OAuth1Scheme("k", OAuth1Keys(consumer_secret="s"))])
def test_what_depends_on_the_request_is_made_anew_for_each(scheme):
    live_route, clock = live_route_of(scheme), Stopped()
    first, second = (
        render(live_route, head_of(), target, AuthorizationAction.REPLACE, TOKEN, clock)
        for target in (b"/v1/x", b"/v1/y")
    )
    assert live_route.signed_token is None
    assert clock.asked == 2
    assert first.octets.partition(b" ")[2] != second.octets.partition(b" ")[2]
    bare = as_request(live_route, head_of(), b"/v1/y", None)
    assert second.request is not None
    assert second.request.target == scheme.place(bare, TOKEN, Moment(clock.wall(), clock.octets)).target


def test_a_cookie_goes_into_the_line_of_the_apps_own_which_is_the_last_of_nothing():
    live_route = live_route_of(CookieScheme("k"))
    sent = render(
        live_route, head_of("Cookie: a=b; k=mine", "X: y"), b"/v1/x", AuthorizationAction.REPLACE, TOKEN, Stopped()
    )
    assert sent.octets == b"GET /v1/x HTTP/1.1\r\nHost: a.example\r\nCookie: a=b; k=t\r\nX: y\r\n\r\n"
    assert sent.body is None
    assert live_route.signed_token is None


def test_a_value_in_the_body_comes_with_the_body_and_its_length():
    live_route = live_route_of(BodyScheme(form="k"))
    head = head_of(FORM, "Content-Length: 3", "Digest: x", method="POST")
    body = live_route.request_body(head.fields)
    body.feed(b"a=b")
    sent = render(live_route, head, b"/v1/x", AuthorizationAction.REPLACE, TOKEN, Stopped(), body=body)
    assert sent.body == b"a=b&k=t"
    assert sent.octets.endswith(b"x-www-form-urlencoded\r\nContent-Length: 7\r\n\r\n")
    assert body.body() == b"a=b"


def test_ready_made_fields_take_the_place_of_the_apps_and_are_not_kept():
    live_route = live_route_of(BearerScheme())
    token = Token(access_token="", fields=((b"X-Sign", b"ours"),))
    sent = render(
        live_route, head_of("x_sign: evil", "X-Other: fine"), b"/v1/x", AuthorizationAction.REPLACE, token, Stopped()
    )
    assert sent.octets == b"GET /v1/x HTTP/1.1\r\nHost: a.example\r\nX-Other: fine\r\nX-Sign: ours\r\n\r\n"
    assert live_route.signed_token is None


def test_a_proof_covers_the_target_that_is_sent_and_its_nonces_are_ours():
    live_route = live_route_of(DpopScheme(DpopKeys(DpopKey.generate())))
    sent = render(live_route, head_of(), b"/v1/x?y", AuthorizationAction.REPLACE, TOKEN, Stopped())
    claims = claims_of(sent.signed)
    assert claims is not None
    assert (claims.htm, claims.htu, claims.iat) == ("GET", "http://a.example/v1/x", 1_800_000_000)
    assert claims.jti == bytes(16).hex()
    assert sent.hidden == {b"dpop-nonce"}
    assert NOTHING_SENT.hidden == frozenset()


@pytest.mark.parametrize("whole", [True, False])
def test_a_body_is_signed_where_it_is_there(whole):
    live_route = live_route_of(OAuth1Scheme("k", OAuth1Keys(consumer_secret="s")))
    head = head_of(FORM, "Content-Length: 3", method="POST")
    upload = live_route.request_body(head.fields)
    upload.feed(b"a=b" if whole else b"a=")
    sent = render(live_route, head, b"/v1/x", AuthorizationAction.REPLACE, TOKEN, Stopped(), body=upload)
    assert sent.request is not None
    assert sent.request.body == (b"a=b" if whole else None)
    without = render(live_route, head, b"/v1/x", AuthorizationAction.REPLACE, TOKEN, Stopped())
    assert (sent.signed == without.signed) is not whole


def test_an_answer_that_is_wanted_is_asked_for_in_a_coding_that_can_be_read():
    live_route, coding = live_route_of(BearerScheme(), observer=Pupil()), head_of("Accept-Encoding: br, gzip")
    sent = render(live_route, coding, b"/v1/wanted", AuthorizationAction.REPLACE, TOKEN, Stopped())
    assert sent.learned_from == as_request(live_route, coding, b"/v1/wanted", None)
    assert b"\r\nAccept-Encoding: gzip\r\n" in sent.octets
    sent = render(live_route, coding, b"/v1/other", AuthorizationAction.REPLACE, TOKEN, Stopped())
    assert sent.learned_from is None
    assert b"\r\nAccept-Encoding: br, gzip\r\n" in sent.octets


@pytest.mark.parametrize(
    ("method", "target", "line"),
    [
        ("GET", b"/v1/x", b"GET http://a.example/v1/x HTTP/1.1"),
        ("OPTIONS", b"*", b"OPTIONS http://a.example HTTP/1.1"),
    ],
)
def test_an_egress_proxy_is_sent_the_absolute_form_and_what_it_asks_for(method, target, line):
    via = schema.ViaProxy(url="http://egress:3128", username="u")
    live_route = live_route_of(BearerScheme(), via_proxy=via)
    sent = render(live_route, head_of("X-A: b", method=method), target, AuthorizationAction.REPLACE, TOKEN, Stopped())
    assert sent.octets == (
        line + b"\r\nHost: a.example\r\nX-A: b\r\nProxy-Authorization: Basic " + base64.b64encode(b"u:") + b"\r\n"
        b"Authorization: Bearer t\r\n\r\n"
    )
    assert sent.request is not None
    assert sent.request.target == target


def test_another_protocol_is_asked_for_over_the_connections_that_may_change_to_it():
    live_route = live_route_of(BearerScheme(), via_proxy=schema.ViaProxy(url="http://egress:3128"))
    head = head_of("Connection: Upgrade", "Upgrade: websocket, h2c")
    for asks, expected in ((head, (live_route.upgraded, b"websocket")), (head_of(), (live_route, b""))):
        assert upgraded(live_route, asks) == expected
    tunnelled, upgrade = upgraded(live_route, head)
    sent = render(tunnelled, head, b"/v1/x", AuthorizationAction.REPLACE, TOKEN, Stopped(), upgrade)
    assert sent.octets == (
        b"GET /v1/x HTTP/1.1\r\nHost: a.example\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
        b"Authorization: Bearer t\r\n\r\n"
    )


def test_the_apps_own_authorization_is_replaced_kept_or_refused():
    own, none = head_of("Authorization: mine"), head_of()
    scheme = BearerScheme()
    for wish, with_it in (("replace", AuthorizationAction.REPLACE), ("keep", AuthorizationAction.KEEP)):
        live_route = live_route_of(scheme, on_client_authorization=wish)
        assert fate_of_authorization(live_route, own.fields) is with_it
        assert fate_of_authorization(live_route, none.fields) is AuthorizationAction.REPLACE
    elsewhere = live_route_of(BearerScheme("X-Key", ""), on_client_authorization="keep")
    assert fate_of_authorization(elsewhere, own.fields) is AuthorizationAction.REPLACE, "both go"
    for of_scheme in (None, scheme):
        rejecting = live_route_of(of_scheme, on_client_authorization="reject")
        assert fate_of_authorization(rejecting, none.fields) is AuthorizationAction.REPLACE
        with pytest.raises(RequestDenied):
            fate_of_authorization(rejecting, own.fields)


def test_a_token_that_would_bend_the_head_is_refused():
    live_route = live_route_of(BearerScheme())
    with pytest.raises(CredentialRefused):
        render(live_route, head_of(), b"/v1/x", AuthorizationAction.REPLACE, Token(access_token="a\r\nb"), Stopped())
    assert live_route.signed_token is None
