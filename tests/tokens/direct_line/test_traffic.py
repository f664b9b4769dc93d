from __future__ import annotations

import gzip
import json

import jwt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.model import Request
from proxy.tokens.direct_line.traffic import About, Operation, about, bearer, claimed_by, lesson
from proxy.tokens.lifetime import Asked

BASE = b"/v3/directline"
NOW = Asked(1_800_000_000, 1_000)


def asked(method: str, target: str) -> About:
    return about(Request(method.encode(), "https", b"directline.example", target.encode()), BASE)


def signed(**claims: object) -> str:
    return jwt.encode(claims, "k" * 32, algorithm="HS256")


# ---- requests --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("method", "path", "operation"),
    [
        ("POST", "/tokens/generate", Operation.GENERATE),
        ("POST", "/tokens/refresh", Operation.REFRESH),
        ("POST", "/Tokens/Refresh/", Operation.REFRESH),
        ("POST", "/conversations", Operation.START),
        ("POST", "/conversations/?a=/b", Operation.START),
        ("GET", "/conversations", Operation.OTHER),
        ("GET", "/tokens/refresh", Operation.OTHER),
        ("POST", "/tokens", Operation.OTHER),
        ("POST", "/tokens/refresh/x", Operation.OTHER),
        ("GET", "/session/getsessionid", Operation.OTHER),
        ("GET", "/", Operation.OTHER),
        ("GET", "", Operation.OTHER),
    ],
)
def test_what_a_request_asks_for_is_read_from_method_and_path(method, path, operation):
    assert asked(method, "/v3/directline" + path) == About(operation)


@pytest.mark.parametrize(
    ("method", "path", "operation"),
    [
        ("GET", "/conversations/Abc-us", Operation.RECONNECT),
        ("GET", "/CONVERSATIONS/Abc-us/?watermark=7", Operation.RECONNECT),
        ("GET", "/conversations/Abc%2Dus/activities?watermark=7", Operation.CONVERSE),
        ("POST", "/conversations/Abc-us/activities", Operation.CONVERSE),
        ("POST", "/conversations/Abc-us/upload?userId=u", Operation.CONVERSE),
        ("OPTIONS", "/conversations/Abc-us", Operation.CONVERSE),
        ("GET", "/conversations/Abc-us/stream?t=x&watermark=1", Operation.STREAM),
    ],
)
def test_the_conversation_is_the_one_that_the_path_names(method, path, operation):
    assert asked(method, "/v3/directline" + path) == About(operation, "Abc-us")


def test_the_service_may_stand_anywhere_in_a_host():
    request = Request(b"GET", "https", b"bot.example", b"/.bot/v3/directline/conversations/a")
    assert about(request, b"/.bot/v3/directline") == About(Operation.RECONNECT, "a")
    assert about(request, BASE) == About(Operation.OTHER)


@pytest.mark.parametrize(
    "path",
    [
        *("/conversations/a/../b", "/conversations/a/%2e%2E/b/activities", "/conversations/..", "/conversations/./a"),
        *("/conversations//activities", "/conversations/a//activities", "/conversations/" + "a" * 257),
        *("/conversations/a%00", "/v3/directline/conversations/a", "x/conversations/a"),
    ],
)
def test_a_path_that_the_service_may_read_otherwise_names_no_conversation(path):
    """Or the token of one conversation could go out with the call of another."""
    assert asked("GET", "/v3/directline" + path).conversation is None


@given(st.binary(max_size=60))
def test_any_target_can_be_read(target):
    about(Request(b"GET", "https", b"a", BASE + b"/conversations/" + target), BASE)


@pytest.mark.parametrize(
    ("value", "token"),
    [
        (None, None), (b"", None), (b"Bearer", None), (b"Bearer ", None), (b"Basic abc", None),
        (b"Bearer abc", "abc"), (b"  bearer   abc ", "abc"), (b"BEARER undefined", "undefined"),
    ],
)  # fmt: skip
def test_the_apps_own_token_is_found_however_it_is_spelled(value, token):
    assert bearer(value) == token


# ---- answers ---------------------------------------------------------------------------------------------------------


def taught(status: int = 200, **said: object):
    return lesson(status, json.dumps(said).encode(), NOW, 77)


@pytest.mark.parametrize("status", [200, 201])
def test_an_answer_teaches_its_token_and_its_conversation(status):
    learned = taught(status, conversationId="a", token="t-1", expires_in=1800, streamUrl="wss://…?t=t-2")
    assert (learned.conversation, learned.token.access_token, learned.token.lifetime) == ("a", "t-1", 1800)
    assert learned.token.expires_wall == NOW.wall + 1800


def test_without_a_lifetime_the_tokens_own_end_counts():
    learned = taught(conversationId="a", token=signed(conv="a", exp=NOW.wall + 900))
    assert learned.token.lifetime == 900


def test_without_any_end_the_token_stays_usable():
    learned = taught(conversationId="a", token="opaque")
    assert (learned.token.expires_wall, learned.token.lifetime) == (None, 77)


def test_a_gzipped_answer_teaches_too():
    body = gzip.compress(json.dumps({"conversationId": "a", "token": "t-1"}).encode())
    assert lesson(200, body, NOW, 77).conversation == "a"


def test_a_bomb_is_not_unpacked():
    body = gzip.compress(json.dumps({"conversationId": "a", "token": "t-1", "x": " " * 10_000_000}).encode())
    assert lesson(200, body, NOW, 77) is None


@pytest.mark.parametrize("status", [202, 204, 302, 400, 403, 500])
def test_other_statuses_teach_nothing(status):
    assert taught(status, conversationId="a", token="t-1") is None


@pytest.mark.parametrize(
    "said",
    [
        {"token": "t-1"},
        {"conversationId": "a"},
        {"conversationId": 7, "token": "t-1"},
        {"conversationId": "", "token": "t"},
        {"conversationId": "a", "token": ""},
        {"conversationId": "a", "token": "t\r\n"},
        {"conversationId": "..", "token": "t"},
        {"conversationId": "a", "token": "t-1", "expires_in": 0},
        {"conversationId": "a", "token": "t", "error": {"code": "X"}},
        {"conversationId": "a" * 300, "token": "t"},
    ],
)
def test_an_answer_without_a_whole_lesson_teaches_nothing(said):
    assert taught(**said) is None


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b"7", b"\xff", b"\x1f\x8b\x00", b"[" * 60_000])
def test_a_body_that_is_no_object_teaches_nothing(body):
    assert lesson(200, body, NOW, 77) is None


def test_a_token_that_claims_to_be_for_another_conversation_is_not_believed():
    assert taught(conversationId="a", token=signed(conv="b", exp=NOW.wall + 900)) is None


@pytest.mark.parametrize(
    ("token", "conversation"),
    [
        (signed(conv="a"), "a"),
        (signed(conv=7), None),
        (signed(conv=".."), None),
        (signed(sub="a"), None),
        ("a.b", None),
    ],
)
def test_a_tokens_claim_is_only_a_name(token, conversation):
    assert claimed_by(token) == conversation
