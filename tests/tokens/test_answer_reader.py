"""Answers as token APIs give them, and `response` as it is configured for each."""

from __future__ import annotations

import logging
from typing import Any

import pytest
from multidict import CIMultiDict

from proxy.config.schema import AnswerField, HttpAnswer, RefusedAnswer, TokenAnswer
from proxy.errors import CredentialError, CredentialUnavailable
from proxy.model import Token
from proxy.tokens.answer_reader import AnswerReader
from proxy.tokens.http_client import Received
from proxy.tokens.issuer_errors import GrantRefused, ReplyUnreadable
from proxy.tokens.lifetime import LONGEST, Asked
from proxy.tokens.reply import Expected

ASKED = Asked(wall=1_800_000_000.0, elapsed=50.0)


def read(where: TokenAnswer, body: str = "", status: int = 200, *fields: tuple[str, str], name: str = "odd") -> Token:
    received = Received(status, CIMultiDict(fields), body.encode())
    return AnswerReader(where, name).read(received, ASKED, Expected()).token


def where(**places: Any) -> HttpAnswer:
    return HttpAnswer(**places)


@pytest.mark.parametrize(
    ("answer", "body", "fields"),
    [
        (TokenAnswer(), '{"accessToken": "a-1", "expiresIn": 60}', ()),
        (TokenAnswer(), '{"access_token": "a-1", "expires": 60}', ()),
        (TokenAnswer(), '{"access_token": "a-1", "expires": 1800000060}', ()),
        (TokenAnswer(), '{"token": "a-1", "expires": "2027-01-15 08:01:00"}', ()),
        (TokenAnswer(access_token="/d/t", expires_in="/d/l"), '{"d": {"t": "a-1", "l": "1m"}}', ()),
        (TokenAnswer(access_token="/d/t"), '{"d": {"t": "a-1"}, "expires_in": 60}', ()),
        (TokenAnswer(expires_in_unit="ms"), '{"access_token": "a-1", "expires_in": 60000}', ()),
        (where(), '{"access_token": "Bearer a-1", "expires_in": 60}', ()),
        (where(access_token=AnswerField(header="x-token"), expires_in="/ttl"), '{"ttl": 60}', [("X-Token", "a-1")]),
        (
            where(access_token=AnswerField(header="Authorization"), expires_in=AnswerField(header="X-Ttl")),
            "",
            [("authorization", "bearer a-1"), ("X-Ttl", "60")],
        ),
        (
            where(access_token=AnswerField(cookie="SESSION"), expires_in="/l"),
            '{"l": 60}',
            [("Set-Cookie", "other=x; Path=/"), ("set-cookie", 'SESSION="a-1"; HttpOnly; Path=/')],
        ),
        (where(access_token="", expires_in=AnswerField(header="X-Ttl")), "a-1\n", [("X-Ttl", "60")]),
        (where(format="text", expires_in=AnswerField(header="X-Ttl")), "a-1", [("X-Ttl", "60")]),
        (where(access_token="", expires_in=AnswerField(header="X-Ttl")), '"a-1"', [("X-Ttl", "60")]),
        (where(access_token="/r/t", expires_in="/r/l"), "<r><t>a-1</t><l>60</l></r>", ()),
        (where(access_token="/t", expires_in="/l", format="xml"), "<r><t k='1'>a-1</t><l>60</l></r>", ()),
    ],
)  # fmt: skip
def test_an_answer_is_read_where_it_keeps_things(answer, body, fields):
    token = read(answer, body, 200, *fields)
    assert (token.access_token, token.lifetime, token.expires_wall) == ("a-1", 60, ASKED.wall + 60)


@pytest.mark.parametrize("text", ["12345", "dG9rZW4=", "dG9rZW4==", "a=b", "null", "true"])
def test_a_bare_text_may_look_like_something_else(text):
    assert read(where(access_token=""), text).access_token == text


def test_a_lifetime_of_zero_is_a_failure_unless_it_means_for_ever():
    body = '{"access_token": "a-1", "expires_in": 0}'
    with pytest.raises(CredentialUnavailable, match="expired already"):
        read(TokenAnswer(), body)
    assert read(TokenAnswer(zero_expires_in="never"), body).lifetime == LONGEST
    with pytest.raises(CredentialUnavailable, match="expired already"):
        read(TokenAnswer(zero_expires_in="never"), '{"access_token": "a-1", "expires_in": -1}')


@pytest.mark.parametrize(
    "body", ['{"access_token": "a-1", "expires_in": "soon"}', '{"access_token": "a-1", "expires_at": "s3cret"}']
)
def test_a_lifetime_that_is_not_understood_is_told_once(body, caplog):
    reader = AnswerReader(TokenAnswer(), "odd")
    with caplog.at_level(logging.WARNING, "auth_sidecar.tokens"):
        for _ in range(3):
            token = reader.read(Received(200, {}, body.encode()), ASKED, Expected(assumed=77)).token
            assert (token.lifetime, token.expires_wall) == (77, None)
    (record,) = caplog.records
    assert record.getMessage().startswith("odd: ")
    assert "soon" not in caplog.text
    assert "s3cret" not in caplog.text


def test_a_lifetime_that_is_understood_or_absent_is_no_news(caplog):
    for life in ('"expires_in": "8s"', '"expires_in": null', '"expires_at": 1900000000', '"x": 1'):
        read(TokenAnswer(), f'{{"access_token": "a-1", {life}}}')
    assert not caplog.records


REFUSED = (
    RefusedAnswer(status=422),
    RefusedAnswer(status=200, body_contains='"success":false'),
    RefusedAnswer(body_contains="LOCKED"),
)


@pytest.mark.parametrize(("status", "body"), [(422, ""), (200, '{"success":false}'), (503, "account LOCKED")])
def test_what_the_operator_calls_a_refusal_is_one(status, body):
    with pytest.raises(GrantRefused) as caught:
        read(where(refused_on=REFUSED), body, status)
    assert "LOCKED" not in str(caught.value)


@pytest.mark.parametrize(("status", "body"), [(404, ""), (200, '{"success":true}'), (503, "later")])
def test_what_it_does_not_describe_is_read_as_always(status, body):
    with pytest.raises(CredentialUnavailable):
        read(where(refused_on=REFUSED), body, status)


@pytest.mark.parametrize(
    ("answer", "body", "told"),
    [
        (where(access_token="/data/token"), '{"data": {"tok": "s3cret"}}', "nothing at /data/token; at /data: tok"),
        (where(access_token="/r/t"), "<r><u>s3cret</u></r>", "nothing at /r/t; at /r: u"),
        (where(access_token=AnswerField(header="X-T")), '{"t": "s3cret"}', "no header field X-T"),
        (where(access_token=AnswerField(cookie="C")), "", "sets no cookie C"),
        (where(access_token="/t"), '{"t": {"s3cret@x": "s3cret"}}', "1 other"),
        (TokenAnswer(), '{"jwt": "s3cret"}', "at its root: jwt"),
    ],
)
def test_a_pointer_that_finds_nothing_tells_the_log_what_there_was_by_name(answer, body, told):
    with pytest.raises(CredentialError) as caught:
        read(answer, body)
    assert told in str(caught.value)
    assert "s3cret" not in str(caught.value)
    assert told not in caught.value.detail, "that one is for whoever calls"


def test_the_names_of_a_form_are_not_told_for_any_text_may_look_like_one():
    with pytest.raises(ReplyUnreadable) as caught:
        read(where(), "s3cret=1")
    assert "s3cret" not in str(caught.value)


def test_a_rotated_refresh_token_is_found_in_what_cannot_be_read():
    for answer in (TokenAnswer(), where(refresh_token="/d/refresh_token")):
        with pytest.raises(ReplyUnreadable) as caught:
            read(answer, '{"d": {"refresh_token": "r-2", "acc')
        assert caught.value.rotated == "r-2"


@pytest.mark.parametrize(
    ("answer", "body"), [("json", "<r/>"), ("xml", "{}"), ("xml", "<!DOCTYPE r><r/>"), ("auto", "")]
)
def test_what_is_not_of_the_format_cannot_be_read(answer, body):
    with pytest.raises(ReplyUnreadable):
        read(where(format=answer), body)


def test_the_last_of_several_cookies_of_one_name_counts():
    fields = CIMultiDict([("Set-Cookie", "a=1"), ("Set-Cookie", "a=2; Secure"), ("Set-Cookie", "aa=3")])
    received = Received(200, fields, b"")
    assert (received.cookie("a"), received.cookie("b")) == ("2", None)
