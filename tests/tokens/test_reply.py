from __future__ import annotations

import json
from typing import Any
from urllib.parse import urlencode

import jwt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.errors import CredentialError, CredentialRefused, CredentialUnavailable
from proxy.tokens.body import MAX_REPLY
from proxy.tokens.error_codes import PERMANENT, TRANSIENT
from proxy.tokens.issuer_errors import GrantRefused, ReplyUnreadable
from proxy.tokens.lifetime import Asked
from proxy.tokens.reply import Expected, read, refusal
from proxy.tokens.token_response import TokenResponse

ASKED = Asked(wall=1_800_000_000.0, elapsed=500.0)
NULL = b'{"access_token":null,"expires_in":60}'
GOOD = {"access_token": "t0ken", "token_type": "Bearer", "expires_in": 3600}


def answer(said: object, status: int = 200, expected: Expected | None = None, **more: Any) -> TokenResponse:
    body = said if isinstance(said, bytes) else json.dumps(said).encode()
    return read(status, body, ASKED, expected or Expected(), **more)


def without(**said: object) -> dict[str, object]:
    """The good answer with other members; None takes one out."""
    return {name: value for name, value in {**GOOD, **said}.items() if value is not None}


def test_the_answer_of_rfc_6749_is_a_token():
    came = answer(
        {
            "access_token": "2YotnFZFEjr1zCsicMWpAA",
            "token_type": "bearer",
            "expires_in": 3600,
            "refresh_token": "tGzv3JOkF0XG5Qx2TlKWIA",
            "example_parameter": "example_value",
        }
    )
    assert came.token.access_token == "2YotnFZFEjr1zCsicMWpAA"
    assert came.refresh_token == "tGzv3JOkF0XG5Qx2TlKWIA"
    assert came.token.token_type == "Bearer"


def test_the_lifetime_counts_from_when_the_request_was_sent_on_both_clocks():
    """A8."""
    token = answer(GOOD).token
    assert (token.expires_wall, token.expires_elapsed) == (1_800_003_600.0, 4100.0)
    assert (token.issued_wall, token.issued_elapsed, token.lifetime) == (1_800_000_000.0, 500.0, 3600.0)


@pytest.mark.parametrize("value", ["3600", "3600.0", 3600.0])
def test_string_and_float_lifetimes_are_read(value):
    """A10."""
    assert answer(without(expires_in=value)).token.expires_elapsed == 4100.0


@pytest.mark.parametrize("value", [None, "", "soon"])
def test_an_unstated_lifetime_says_when_to_renew_and_never_when_to_stop(value):
    """A9."""
    token = answer({**GOOD, "expires_in": value}, expected=Expected(assumed=1234.0)).token
    assert (token.expires_wall, token.expires_elapsed, token.lifetime) == (None, None, 1234.0)


@pytest.mark.parametrize(
    "said", [{"expires_in": 0}, {"expires_in": -1}, {"expires_in": None, "expires_at": 1_799_999_999}]
)
def test_a_token_that_has_expired_on_arrival_is_a_failure(said):
    """A10."""
    with pytest.raises(CredentialUnavailable, match="expired already"):
        answer(without(**said))


def test_camel_case_is_read():
    """A10."""
    came = answer({"accessToken": "t", "refreshToken": "r", "tokenType": "Bearer", "expiresIn": 60})
    assert (came.token.access_token, came.refresh_token, came.token.lifetime) == ("t", "r", 60)
    assert answer({"accessToken": "t", "expiresAt": "2027-01-15T09:00:00Z"}).token.lifetime == 3600
    assert answer({"accessToken": "t", "expires_on": "1800000600"}).token.lifetime == 600


def test_a_member_called_token_will_do():
    """A10."""
    assert answer({"conversationId": "c", "token": "dl", "expires_in": 1800}).token.access_token == "dl"


def test_a_jwt_needs_no_expires_in():
    token = jwt.encode({"exp": 1_800_000_900}, "a secret that is long enough for HS256")
    assert answer({"access_token": token}).token.lifetime == 900


def test_form_encoded_answers_are_read():
    """A11."""
    body = urlencode({"access_token": "gho_1", "scope": "repo,gist", "token_type": "bearer", "expires_in": "60"})
    token = answer(body.encode()).token
    assert (token.access_token, token.lifetime) == ("gho_1", 60)


def test_a_byte_order_mark_and_white_space_around_json_are_forgiven():
    assert answer(b"\xef\xbb\xbf\r\n " + json.dumps(GOOD).encode() + b"\n").token.access_token == "t0ken"


@pytest.mark.parametrize(
    "token",
    [
        *("", " ", "\t", None, 17, True, ["t"], {"t": 1}),
        *("a b", "a\nb", "a\r\nX-Evil: 1", "a\x00", "a\x7f", "tökén", "\u200bt", "t "),
    ],
)
def test_an_empty_or_unprintable_token_is_a_failure(token):
    """A11."""
    with pytest.raises(CredentialUnavailable):
        answer({**GOOD, "access_token": token})


@pytest.mark.parametrize(
    "body",
    [
        *(b"", b" ", b"{}", b"[]", b'"t"', b"null", b"17", b"{", b'{"access_token": "t"', b"\xff\xfe", b"{\xff}"),
        *(b"<html>access_token=t&token_type=bearer</html>", b"access_token", b"just words", b"=", b"a=b"),
        b'{"a":' * 5000 + b"1" + b"}" * 5000,
        b'{"access_token":"' + b"a" * MAX_REPLY + b'"}',
    ],
)
def test_what_cannot_be_read_is_a_passing_failure(body):
    """A4 and A11."""
    with pytest.raises(CredentialUnavailable):
        answer(body)


@pytest.mark.parametrize("kind", ["bearer", "BEARER", "Bearer", " bearer ", None, ""])
def test_token_types_are_compared_without_case_and_bearer_is_assumed(kind):
    """A12."""
    assert answer({**GOOD, "token_type": kind}).token.token_type == "Bearer"


@pytest.mark.parametrize("kind", ["mac", "MAC", "DPoP", "dpop", "pop", "PoP", " pop "])
def test_a_token_whose_type_asks_for_more_than_a_word_before_it_is_not_used(kind):
    """A12."""
    with pytest.raises(CredentialRefused, match="type"):
        answer({**GOOD, "token_type": kind})


@pytest.mark.parametrize("kind", ["N_A", "user", "JWT", "token", "Access Token", "s3cret\r\nX: y", 17, ["bearer"], {}])
def test_a_token_of_any_other_type_is_sent_like_a_bearer_token_and_the_name_is_not_kept(kind):
    """Servers make names up."""
    assert answer({**GOOD, "token_type": kind}).token.token_type == "other"


@pytest.mark.parametrize("kind", ["N_A", "n_a", "Bearer"])
def test_in_token_exchange_n_a_is_fine(kind):
    """A12 and B6."""
    assert answer({**GOOD, "token_type": kind}, expected=Expected(exchange=True)).token.token_type == "Bearer"


def test_with_dpop_only_dpop_is_fine():
    """D9."""
    expected = Expected(kind="DPoP")
    assert answer({**GOOD, "token_type": "dpop"}, expected=expected).token.token_type == "DPoP"
    for kind in ("Bearer", None, "N_A", "user", 17):
        with pytest.raises(CredentialRefused, match="not bound"):
            answer({**GOOD, "token_type": kind}, expected=expected)


@pytest.mark.parametrize("value", [None, "", 17, ["r"]])
def test_what_is_no_refresh_token_is_none(value):
    assert answer({**GOOD, "refresh_token": value}).refresh_token is None


def test_a_client_that_can_always_ask_anew_keeps_no_refresh_token():
    said = {**GOOD, "refresh_token": "r"}
    assert answer(said, expected=Expected(keeps_refresh_token=False)).refresh_token is None


@pytest.mark.parametrize(
    ("status", "error", "kind"),
    [
        (400, "invalid_client", CredentialRefused),
        (401, "invalid_client", CredentialRefused),
        (400, "invalid_scope", CredentialRefused),
        (400, "unauthorized_client", CredentialRefused),
        (400, "unsupported_grant_type", CredentialRefused),
        (400, "invalid_target", CredentialRefused),
        (400, "made_up", CredentialUnavailable),
        (400, None, CredentialUnavailable),
        (401, None, CredentialUnavailable),
        (403, None, CredentialUnavailable),
        (403, "access_denied", CredentialRefused),
        (403, "invalid_token", CredentialUnavailable),
        (418, "access_denied", CredentialRefused),
        (400, "invalid_grant", GrantRefused),
        (200, "bad_refresh_token", GrantRefused),
        (200, "incorrect_client_credentials", CredentialRefused),
        (200, "made_up", CredentialUnavailable),
        (200, {"code": 1}, CredentialUnavailable),
        (200, True, CredentialUnavailable),
        (200, "temporarily_unavailable", CredentialUnavailable),
        (400, "temporarily_unavailable", CredentialUnavailable),
        (400, "server_error", CredentialUnavailable),
        (400, "slow_down", CredentialUnavailable),
        (401, "use_dpop_nonce", CredentialUnavailable),
        (407, "access_denied", CredentialUnavailable),
        (408, None, CredentialUnavailable),
        (425, None, CredentialUnavailable),
        (429, "invalid_client", CredentialUnavailable),
        (500, "invalid_grant", CredentialUnavailable),
        (503, None, CredentialUnavailable),
        (302, None, CredentialUnavailable),
        (302, "invalid_grant", CredentialUnavailable),
        (404, None, CredentialUnavailable),
        (901, None, CredentialUnavailable),
    ],
)
def test_failures_are_told_apart_by_whether_waiting_helps(status, error, kind):
    """A4 and A11."""
    with pytest.raises(CredentialError) as caught:
        answer({"error": error} if error else b"<html>", status)
    assert type(caught.value) is kind


def test_an_error_in_a_200_counts_although_there_is_a_token():
    """A11."""
    with pytest.raises(GrantRefused):
        answer({**GOOD, "error": "invalid_grant"})


@pytest.mark.parametrize("error", [None, "", False])
def test_an_error_that_is_none_is_none(error):
    assert answer({**GOOD, "error": error}).token.access_token == "t0ken"


def test_in_token_exchange_an_invalid_request_means_the_subject():
    """RFC 8693 §2.2.2."""
    with pytest.raises(GrantRefused):
        answer({"error": "invalid_request"}, 400, Expected(exchange=True))
    with pytest.raises(CredentialRefused) as caught:
        answer({"error": "invalid_request"}, 400)
    assert not isinstance(caught.value, GrantRefused)


@pytest.mark.parametrize("code", sorted(PERMANENT - {"invalid_grant"}))
def test_a_registered_code_is_permanent(code):
    for status in (200, 400, 401, 403, 422):
        with pytest.raises(CredentialRefused, match=code):
            answer({"error": code}, status)


@pytest.mark.parametrize("code", sorted(TRANSIENT))
def test_some_registered_codes_say_that_waiting_helps(code):
    for status in (200, 400, 401, 403):
        with pytest.raises(CredentialUnavailable, match=code) as caught:
            answer({"error": code}, status)
        assert not caught.value.refuses_grant


@pytest.mark.parametrize("later", ["2", "0", "Fri, 15 Jan 2027 08:00:30 GMT", "Wed, 21 Oct 2015 07:28:00 GMT"])
@pytest.mark.parametrize("error", [None, "made_up", "invalid_client", "invalid_grant", "access_denied"])
@pytest.mark.parametrize("status", [200, 400, 401, 403, 404, 418, 429, 500, 503])
def test_who_names_a_time_to_come_again_has_not_refused_for_good(status, error, later):
    """Whatever the status and the code."""
    if status == 200 and error is None:
        return
    with pytest.raises(CredentialUnavailable) as caught:
        answer({"error": error} if error else b"", status, retry_later=later)
    assert caught.value.requested == {"2": 2, "0": 0}.get(later, 30 if "2027" in later else 0)
    assert caught.value.refuses_grant is (error == "invalid_grant" and status != 429)


@pytest.mark.parametrize("later", [None, "2"])
@pytest.mark.parametrize("status", [200, 400, 403, 500, 502, 503])
def test_an_invalid_grant_is_one_whatever_else_is_said(status, later):
    """So the configured grant is tried, although the pause that follows where there is none is a short one."""
    for code in ("invalid_grant", "bad_refresh_token"):
        with pytest.raises(CredentialError) as caught:
            answer({"error": code}, status, retry_later=later)
        assert caught.value.refuses_grant


@pytest.mark.parametrize(
    ("body", "token"),
    [
        (b'{"data": {"access_token": "a", "refresh_token": "rt-new"}}', "rt-new"),
        (b'{"tokens": [{"refreshToken": "rt-new"}]}', "rt-new"),
        (b'{"data": {"access_token": "a"}}', None),
    ],
)
def test_a_refresh_token_is_found_deeper_than_where_it_should_be(body, token):
    with pytest.raises(ReplyUnreadable) as unread:
        answer(body)
    assert unread.value.rotated == token
    with pytest.raises(ReplyUnreadable) as unread:
        answer(body, expected=Expected(keeps_refresh_token=False))
    assert unread.value.rotated is None


@pytest.mark.parametrize("later", ["", "soon", "-1", "1.5"])
def test_nonsense_in_retry_after_names_no_time(later):
    with pytest.raises(CredentialRefused):
        answer({"error": "invalid_client"}, 400, retry_later=later)


@pytest.mark.parametrize(
    ("status", "error"),
    [
        *((400, code) for code in sorted(PERMANENT - {"invalid_client"})),
        *((400, code) for code in ("made_up", "invalid_token", "token_expired", None, 17, {"code": 1})),
        *((status, None) for status in (401, 403, 404, 410, 422, 499)),
        *((200, code) for code in ("token_revoked", "invalid_request", True)),
    ],
)
def test_a_refusal_may_mean_the_grant_whatever_the_code(status, error):
    with pytest.raises(CredentialError) as caught:
        answer({"error": error} if error else b"<html>", status)
    assert caught.value.refuses_grant


@pytest.mark.parametrize(
    ("status", "error"),
    [(400, "invalid_client"), (401, "incorrect_client_credentials"), (400, "use_dpop_nonce"), (400, "server_error")]
    + [(status, None) for status in (407, 408, 425, 429, 500, 502, 503, 504, 302, 901)],
)
def test_what_says_nothing_of_the_grant_leaves_it_as_it_is(status, error):
    with pytest.raises(CredentialError) as caught:
        answer({"error": error} if error else b"", status)
    assert not caught.value.refuses_grant


@pytest.mark.parametrize(
    "body",
    [b"", b"<html>", b'{"access_token":"t","refre', b"[]", b"{" * MAX_REPLY, b"{}", b'{"data": {}}', b"a=b", NULL],
)
def test_a_success_that_cannot_be_read_says_that_what_was_sent_is_spent(body):
    with pytest.raises(ReplyUnreadable) as unread:
        answer(body)
    assert unread.value.rotated is None
    with pytest.raises(CredentialError) as caught:
        answer(body, 503)
    assert not isinstance(caught.value, ReplyUnreadable)


@pytest.mark.parametrize(
    "body",
    [
        b'{"access_token":"t","refresh_token":"r2","expi',
        b'{"access_token":"t","refresh_token":"r2"}<!-- served by as-3 -->',
        b'<b>Notice</b>: undefined index\n{"access_token":"t","refresh_token" : "r2"}',
        b'{"refresh_token":"r2","access_token":"' + b"a" * MAX_REPLY + b'"}',
        b'{"data":{"refreshToken":"r2","x":',
    ],
)
def test_a_refresh_token_is_found_in_what_cannot_be_read(body):
    with pytest.raises(ReplyUnreadable) as caught:
        answer(body)
    assert caught.value.rotated == "r2"
    with pytest.raises(ReplyUnreadable) as caught:
        answer(body, expected=Expected(keeps_refresh_token=False))
    assert caught.value.rotated is None
    with pytest.raises(CredentialError) as refused:
        answer(body, 400)
    assert refused.value.rotated is None, "a refusal gives nothing"


def test_a_refresh_token_that_comes_with_an_error_in_a_200_is_kept():
    with pytest.raises(CredentialError) as caught:
        answer({"error": "made_up", "refresh_token": "r2"})
    assert caught.value.rotated == "r2"


def test_an_answer_that_broke_off_is_read_where_it_is_json_to_its_end():
    assert answer(GOOD, whole=False).token.access_token == "t0ken"
    with pytest.raises(ReplyUnreadable):
        answer(b"access_token=t0k", whole=False)
    with pytest.raises(ReplyUnreadable) as caught:
        answer(b"access_token=t&refresh_token=r2&scop", whole=False)
    assert caught.value.rotated == "r2"
    with pytest.raises(ReplyUnreadable) as caught:
        answer(b"access_token=t&refresh_token=r", whole=False)
    assert caught.value.rotated is None


def test_the_charset_that_is_declared_is_the_one_that_is_read():
    body = '{"name":"José","access_token":"t","refresh_token":"r2"}'.encode("latin-1")
    for content_type in ("application/json;charset=ISO-8859-1", "application/json", None):
        assert answer(body, content_type=content_type).refresh_token == "r2"


@pytest.mark.parametrize("token", [b"r\xe9", b"\xff"])
def test_a_refresh_token_with_octets_that_do_not_fit_is_none(token):
    assert answer(b'{"access_token":"t","refresh_token":"' + token + b'"}').refresh_token is None


@pytest.mark.parametrize(
    "said", [{"access_token": ""}, {"access_token": "a\r\nb"}, {"token_type": "mac"}, {"expires_in": 0}]
)
def test_a_new_refresh_token_is_not_lost_with_a_useless_access_token(said):
    for expected, rotated in ((Expected(), "r2"), (Expected(keeps_refresh_token=False), None)):
        with pytest.raises(CredentialError) as caught:
            answer(without(refresh_token="r2", **said), expected=expected)
        assert caught.value.rotated == rotated
        assert "r2" not in repr(caught.value)


@pytest.mark.parametrize(
    "body", [b"", b"<html>", b"{}", b'{"access_token":""}', b'{"access_token":"t","expires_in":0}']
)
def test_retry_after_counts_in_a_success_without_a_token_too(body):
    with pytest.raises(CredentialUnavailable) as caught:
        answer(body, 202, retry_later="17")
    assert caught.value.requested == 17


def test_retry_after_is_passed_on():
    with pytest.raises(CredentialUnavailable) as caught:
        answer(b"", 429, retry_later="17")
    assert caught.value.requested == 17


@pytest.mark.parametrize("status", [200, 400, 401, 500])
def test_the_servers_words_are_never_repeated(status):
    said = {"error": "s3cret-code", "error_description": "s3cret-words", "error_uri": "https://s3cret.example"}
    with pytest.raises(CredentialError) as caught:
        answer(said, status)
    assert "s3cret" not in str(caught.value)
    assert "s3cret" not in caught.value.detail


def test_registered_error_codes_are_named():
    with pytest.raises(CredentialRefused, match="400 invalid_scope"):
        answer({"error": "invalid_scope"}, 400)


def test_refusals_are_told_from_other_answers_and_their_codes_found_in_both_forms():
    assert refusal(400, b'{"error":"use_dpop_nonce"}') == (True, "use_dpop_nonce")
    assert refusal(401, b"error=invalid_grant&error_description=x") == (True, "invalid_grant")
    assert refusal(200, b'{"error":"made_up"}') == (True, None)
    assert refusal(403, b"") == (True, None)
    assert refusal(200, b'{"error":null}') == (False, None)
    assert refusal(200, b"<html>") == (False, None)
    assert refusal(503, b'{"error":"invalid_client"}') == (False, "invalid_client")
    assert refusal(429, b"") == (False, None)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=10), inner, max_size=3),
    max_leaves=8,
)
names = st.sampled_from(["access_token", "token", "token_type", "expires_in", "expires_at", "refresh_token", "error"])


@given(st.integers(min_value=100, max_value=999), st.binary(max_size=300))
def test_any_answer_is_a_token_or_an_error(status, body):
    try:
        token = answer(body, status).token
    except CredentialError:
        return
    assert token.access_token


@given(st.dictionaries(names, json_values))
def test_any_json_is_a_good_token_or_an_error(said):
    try:
        token = answer(json.dumps(said).encode()).token
    except CredentialError:
        return
    assert token.access_token.isascii()
    assert token.access_token.isprintable()
    assert " " not in token.access_token
    assert token.lifetime > 0
