from __future__ import annotations

import json

import jwt
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from msgspec import structs

from proxy.admin import push
from proxy.admin.admin_errors import Malformed, Stale, Unusable
from proxy.model import Token

NOW = 1_800_000_000.0
ELAPSED = 5_000.0

texts = st.text(st.characters(min_codepoint=0x21, max_codepoint=0x7E), min_size=1)
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)


def _read(said, **how):
    return push.read(push.document(json.dumps(said).encode()), **how)


def _token(said, *, assumed=300.0):
    return push.token(_read(said), wall=NOW, elapsed=ELAPSED, assumed=assumed).token


@given(access_token=texts, refresh_token=texts, expires_in=st.integers(1, 10**6))
def test_both_shapes_mean_the_same(access_token, refresh_token, expires_in):
    response = {"access_token": access_token, "refresh_token": refresh_token, "expires_in": expires_in}
    token = _token(response)

    assert _read(response) == _read({"token": response, "endpointSecret": "s"})
    assert token == _token({"token": response, "endpointSecret": "s"})
    assert (token.access_token, _read(response).refresh_token) == (access_token, refresh_token)
    assert (token.expires_wall, token.expires_elapsed) == (NOW + expires_in, ELAPSED + expires_in)
    assert token.lifetime == expires_in


def test_camel_case_and_numbers_in_quotes_are_read():
    said = {"token": {"accessToken": "a", "refreshToken": "r", "tokenType": "bearer", "expiresIn": "60"}}
    token = _token(said)

    assert (token.access_token, _read(said).refresh_token, token.token_type) == ("a", "r", "Bearer")
    assert token.expires_wall == NOW + 60


@given(age=st.integers(0, 3000), lifetime=st.integers(3001, 10**6))
def test_the_expiry_counts_from_the_named_time_in_seconds_or_milliseconds(age, lifetime):
    issued = int(NOW) - age
    said = {"token": {"access_token": "a", "expires_in": lifetime}, "timestamp": issued}
    token = _token(said)

    assert token == _token({**said, "timestamp": issued * 1000})
    assert token.expires_wall == issued + lifetime
    assert token.expires_elapsed == ELAPSED - age + lifetime
    assert (token.issued_wall, token.issued_elapsed) == (issued, ELAPSED - age)


def test_milliseconds_begin_at_1e11():
    assert _read({"access_token": "a", "timestamp": 1e11}).timestamp == 1e8
    assert _read({"access_token": "a", "timestamp": 1e11 - 1}).timestamp == 1e11 - 1


def test_a_clock_ahead_of_ours_gives_no_extra_life():
    token = _token({"token": {"access_token": "a", "expires_in": 60}, "timestamp": NOW + 30})

    assert token.expires_wall == NOW + 60
    assert token.issued_wall == NOW + 30


def test_without_a_stated_lifetime_the_token_has_no_end():
    token = _token({"access_token": "a"}, assumed=77.0)

    assert (token.expires_wall, token.expires_elapsed, token.lifetime) == (None, None, 77.0)


def test_the_expiry_of_a_jwt_is_read():
    said = {"access_token": jwt.encode({"exp": NOW + 90}, "k" * 32)}

    assert _token(said).expires_wall == NOW + 90


@pytest.mark.parametrize(
    "said",
    [
        {"access_token": "a", "expires_in": 0},
        {"access_token": "a", "expires_at": NOW},
        {"access_token": jwt.encode({"exp": NOW - 1}, "k" * 32)},
        {"token": {"access_token": "a", "expires_in": 60}, "timestamp": NOW - 60},
    ],
)
def test_a_token_that_has_expired_is_of_no_use(said):
    with pytest.raises(Unusable):
        _token(said)


@pytest.mark.parametrize(
    "body",
    [b"", b"a=b", b"[]", b'"a"', b"{", b"\xff", b"[" * 16_000, b'{"access_token": "\xff"}', b'{"a": NaN}', b"null"],
)
def test_what_is_no_json_object_is_malformed(body):
    with pytest.raises(Malformed):
        push.read(push.document(body))


@pytest.mark.parametrize(
    "said",
    [
        {},
        {"token": {}},
        {"token": None},
        {"token": "a"},
        {"token": {"token": "a"}},
        {"access_token": ""},
        {"access_token": None},
        {"access_token": 5},
        {"access_token": ["a"]},
        {"access_token": "a\r\nX: y"},
        {"access_token": "a\x00"},
        {"access_token": "a b"},
        {"access_token": "\u00e4"},
        {"access_token": "a", "refresh_token": "r\n"},
        {"access_token": "a", "refresh_token": 5},
        {"access_token": "a", "expires_in": -1},
        {"access_token": "a", "expires_in": "-0.5"},
        {"access_token": "a", "expires_in": "soon"},
        {"access_token": "a", "expires_in": True},
        {"access_token": "a", "token_type": "mac"},
        {"access_token": "a", "token_type": "PoP"},
        {"access_token": "a", "error": "invalid_grant"},
        {"access_token": "a", "timestamp": "soon"},
        {"access_token": "a", "timestamp": {}},
        {"access_token": "a", "timestamp": -1},
        {"access_token": "a", "timestamp": 0},
    ],
)
def test_what_holds_no_usable_token_is_malformed(said):
    with pytest.raises(Malformed):
        _read(said)


def test_nulls_are_as_good_as_absent():
    said = {"access_token": "a", "refresh_token": None, "expires_in": None, "token_type": None, "timestamp": None}

    assert _read(said) == _read({"access_token": "a"})


def test_a_bound_credential_takes_only_bound_tokens():
    assert _read({"access_token": "a", "token_type": "DPoP"}, kind="DPoP").token_type == "DPoP"
    for token_type in ("Bearer", None):
        with pytest.raises(Malformed):
            _read({"access_token": "a", "token_type": token_type}, kind="DPoP")


@given(json_values | st.fixed_dictionaries({"token": st.dictionaries(texts, json_values)}))
def test_any_json_is_read_or_refused_and_never_anything_else(said):
    try:
        pushed = _read(said)
        push.refuse_stale(pushed, wall=NOW, max_age=60.0, held=None)
        token = push.token(pushed, wall=NOW, elapsed=ELAPSED, assumed=300.0).token
    except (Malformed, Stale, Unusable):
        return
    assert token.access_token


known = st.sampled_from(
    ["access_token", "accessToken", "token", "refresh_token", "token_type", "expires_in", "expires_at", "error"]
)


@given(st.dictionaries(known, json_values), st.dictionaries(known, json_values))
def test_known_names_with_any_values_are_read_or_refused(inner, outer):
    for said in (inner, {**outer, "token": inner}):
        try:
            token = push.token(_read(said), wall=NOW, elapsed=ELAPSED, assumed=300.0).token
        except (Malformed, Unusable):
            continue
        assert token.expires_wall is None or token.expires_wall > NOW
        assert token.access_token.isascii()
        assert token.access_token.isprintable()


@given(st.binary())
def test_any_body_is_a_document_or_none(body):
    said = push.document(body)

    assert said is None or isinstance(said, dict)


@pytest.mark.parametrize("said", [None, {}, {"endpointSecret": None}, {"endpointSecret": 5}, {"endpointSecret": ["s"]}])
def test_a_secret_that_is_no_text_is_none(said):
    assert push.inner_secret(said) == ""


def _held(**changed):
    return structs.replace(Token(access_token="held", issued_wall=NOW - 10, generation=4), **changed)


def _stale(timestamp, *, held=None, max_age=None):
    pushed = _read({"access_token": "a", "timestamp": timestamp})
    try:
        push.refuse_stale(pushed, wall=NOW, max_age=max_age, held=held)
    except Stale:
        return True
    return False


@given(st.integers(-1000, 1000))
def test_only_a_push_from_before_what_is_held_is_stale(seconds):
    timestamp = NOW - 10 + seconds
    assume(timestamp <= NOW + 60)

    assert _stale(timestamp, held=_held()) == (seconds < 0)


def test_a_time_in_whole_seconds_is_not_older_than_what_was_issued_in_that_second():
    held = _held(issued_wall=NOW - 10 + 0.7)

    assert not _stale(NOW - 10, held=held)
    assert _stale(NOW - 11, held=held)
    assert _stale(NOW - 10 + 0.6, held=held)
    assert not _stale(NOW - 10 + 0.7, held=held)


@pytest.mark.parametrize(("ahead", "stale"), [(0, False), (60, False), (60.5, True), (10**6, True)])
def test_a_push_from_the_future_is_stale(ahead, stale):
    assert _stale(NOW + ahead) == stale


@pytest.mark.parametrize(("age", "stale"), [(0, False), (300, False), (300.5, True)])
def test_a_push_older_than_the_credential_accepts_is_stale(age, stale):
    assert _stale(NOW - age, max_age=300.0) == stale


def test_without_a_timestamp_nothing_is_stale():
    assert not _stale(None, held=_held(issued_wall=NOW), max_age=1.0)


def test_a_push_cannot_be_printed():
    assert "s3cret" not in repr(_read({"access_token": "s3cret", "refresh_token": "s3cret"}))


@pytest.mark.parametrize("ahead", [61, 3600, 86400, 1e9])
@pytest.mark.parametrize("timestamp", [NOW - 3600, NOW - 1, NOW, NOW + 59])
def test_what_is_held_and_dated_ahead_makes_no_push_stale(ahead, timestamp):
    """It was dated by a wrong clock."""
    assert not _stale(timestamp, held=_held(issued_wall=NOW + ahead))
