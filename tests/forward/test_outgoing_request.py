"""What is known of a request on its way out, without anything that it goes over."""

from __future__ import annotations

import pytest
from support.front import ScriptedTokens
from support.routes_alone import answer_of, head_of, live_route_of, outgoing

from proxy.auth.bearer import BearerScheme
from proxy.auth.oauth1 import OAuth1Scheme
from proxy.auth.signature import OAuth1Keys
from proxy.clock import SystemClock
from proxy.config import schema
from proxy.forward.live_route import AuthorizationAction
from proxy.forward.retry_policy import HeldResponse, Step
from proxy.model import Token

FORM = "Content-Type: application/x-www-form-urlencoded"
TOKEN = Token(access_token="t")


def chosen(live_route, head, body=None):
    request = outgoing(live_route, head, body)
    request.choose()
    return request


@pytest.mark.parametrize(
    ("wish", "fields", "kept"),
    [("replace", ["Authorization: mine"], False), ("keep", ["Authorization: mine"], True), ("keep", [], False)],
)
def test_whose_authorization_goes_out_is_chosen_with_the_token(wish, fields, kept):
    request = chosen(live_route_of(BearerScheme(), on_client_authorization=wish), head_of(*fields))
    assert request.action is (AuthorizationAction.KEEP if kept else AuthorizationAction.REPLACE)
    assert (request.tokens is None) is kept


def test_a_route_without_a_credential_has_no_tokens():
    assert chosen(live_route_of(), head_of()).tokens is None


@pytest.mark.parametrize(("scheme", "fields", "gathers"), [
    (OAuth1Scheme("k", OAuth1Keys(consumer_secret="s")), [FORM], True),
    (OAuth1Scheme("k", OAuth1Keys(consumer_secret="s")), [], False),
    (BearerScheme(), [FORM], False),
])  # fmt: skip
def test_a_body_is_gathered_where_it_is_signed(scheme, fields, gathers):
    live_route = live_route_of(scheme)
    head = head_of(*fields, method="POST", body=b"a=b")
    assert chosen(live_route, head, live_route.request_body(head.fields)).gathers is gathers


def test_an_attempt_is_what_was_sent_last():
    request = chosen(live_route_of(BearerScheme()), head_of())
    for value in ("a", "b"):
        request.token = Token(access_token=value)
        assert request.render(SystemClock()) is request.sent
        assert b"Authorization: Bearer %b\r\n" % value.encode() in request.sent.octets


@pytest.mark.parametrize(("method", "fields", "repeats"), [
    ("GET", [], True), ("PUT", [], True), ("POST", [], False), ("POST", ["Idempotency-Key: 1"], True),
    ("POST", ["Idempotency-Key:"], False),
])  # fmt: skip
@pytest.mark.parametrize("allowed", [True, False])
def test_what_does_the_same_twice_survives_its_connection_if_the_route_says_so(method, fields, repeats, allowed):
    live_route = live_route_of(retry=schema.Retry(on_connect_error=allowed))
    assert outgoing(live_route, head_of(*fields, method=method)).survives() is (repeats and allowed)


@pytest.mark.parametrize(("size", "will", "did"), [(4, True, True), (5, False, True)])
def test_a_body_that_will_not_be_kept_does_not_survive(size, will, did):
    """Nothing of it was sent yet: so it could be sent again now, but not any more when all of it has gone out."""
    live_route = live_route_of(retry=schema.Retry(buffer=schema.Size(4)))
    head = head_of(f"Content-Length: {size}", method="PUT")
    request = outgoing(live_route, head, live_route.request_body(head.fields))
    assert (request.survives(will=True), request.survives()) == (will, did)


@pytest.mark.parametrize(("status", "suspected"), [("401 No", True), ("200 OK", False), ("403 No", False)])
def test_an_answer_is_suspected_for_its_token_alone(status, suspected):
    request = chosen(live_route_of(BearerScheme()), head_of())
    assert not request.suspects(answer_of(status=status)), "there is no token to refuse"
    request.token = TOKEN
    assert request.suspects(answer_of(status=status)) is suspected


def held(*fields, status="401 No", body=b"", done=True):
    found = HeldResponse(answer_of(*fields, status=status))
    found.add([body], done=done)
    return found


def test_a_refusal_is_answered_with_the_next_favour_until_there_is_none():
    tokens = ScriptedTokens("t", "u")
    tokens.before = Token(access_token="s")
    request = chosen(live_route_of(BearerScheme(), tokens=tokens), head_of())
    request.token = tokens.token
    assert request.judge(held(), 0.0, at_last=False) is Step.PREDECESSOR
    assert request.token is tokens.before
    assert request.judge(held(), 0.0, at_last=False) is Step.RENEW
    assert request.refused is tokens.token, "not the one that stood in for it"
    request.renewed(TOKEN, 0.0)
    assert request.judge(held(), 0.0, at_last=False) is Step.HOLD
    assert request.route.renewal_hold.watching


def test_a_rule_with_a_text_waits_for_the_text():
    rules = (schema.RefreshRule(status=403, body_contains="expired"),)
    request = chosen(live_route_of(BearerScheme(), refresh_on=rules), head_of())
    request.token = TOKEN
    assert request.judge(held(status="403 No", body=b"exp", done=False), 0.0, at_last=False) is None
    assert request.judge(held(status="403 No", body=b"exp", done=False), 0.0, at_last=True) is Step.PASS
    assert request.judge(held(status="403 No", body=b"expired"), 0.0, at_last=False) is Step.RENEW


def test_a_scheme_that_breaks_while_it_judges_costs_the_app_no_answer(monkeypatch, caplog):
    request = chosen(live_route_of(BearerScheme()), head_of())
    request.token = TOKEN
    monkeypatch.setattr(request.route, "judge", lambda *_: 1 / 0)
    assert request.judge(held(), 0.0, at_last=False) is Step.REFUSED
    assert "internal error while judging an answer" in caplog.text
