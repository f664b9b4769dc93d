"""What a refused answer says."""

from __future__ import annotations

import gzip
import time
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.signing import answer

from proxy.auth.challenge import Challenge, challenges, errors, refused
from proxy.config.schema import RefreshRule

FORBIDDEN_EXPIRED = RefreshRule(status=403, body_contains="TokenExpired")


def read(*lines: bytes) -> list[tuple[str, str | None, dict[str, str]]]:
    return [(one.scheme, one.token68, one.parameters) for one in challenges(answer(401, *lines))]


def test_the_example_of_rfc_9110_with_two_challenges_in_one_line():
    """RFC 9110 §11.6.1."""
    line = b'Basic realm="simple", Newauth realm="apps", type=1, title="Login to \\"apps\\""'
    assert read(line) == [
        ("basic", None, {"realm": "simple"}),
        ("newauth", None, {"realm": "apps", "type": "1", "title": 'Login to "apps"'}),
    ]


def test_the_example_of_rfc_9449_with_bearer_and_dpop_side_by_side():
    """D8: RFC 9449 §7.2, figure 19."""
    line = b'Bearer error="invalid_token", error_description="Invalid token", DPoP algs="ES256 PS256"'
    assert challenges(answer(401, line)) == [
        Challenge("bearer", None, {"error": "invalid_token", "error_description": "Invalid token"}),
        Challenge("dpop", None, {"algs": "ES256 PS256"}),
    ]


def test_challenges_in_several_lines_keep_their_order():
    """D8."""
    assert [scheme for scheme, _, _ in read(b"Negotiate", b'Bearer realm="a", Basic realm="b"')] == [
        "negotiate",
        "bearer",
        "basic",
    ]


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        (b"Negotiate YII+/.~_-3==", [("negotiate", "YII+/.~_-3==", {})]),
        (b"Negotiate a=, Bearer", [("negotiate", "a=", {}), ("bearer", None, {})]),
        (b"NTLM, Negotiate", [("ntlm", None, {}), ("negotiate", None, {})]),
        (b"Bearer\trealm = a , error\t=\tb", [("bearer", None, {"realm": "a", "error": "b"})]),
        (b", ,Bearer ,, error=x,", [("bearer", None, {"error": "x"})]),
        (
            b'Bearer realm="a, DPoP error=\\"x\\"", error=y',
            [("bearer", None, {"realm": 'a, DPoP error="x"', "error": "y"})],
        ),
        (b'bEaReR ERROR="Invalid_Token"', [("bearer", None, {"error": "Invalid_Token"})]),
        (b"Bearer error=first, error=second", [("bearer", None, {"error": "first"})]),
        (b'Bearer realm=""', [("bearer", None, {"realm": ""})]),
        (b'Bearer realm="caf\xe9"', [("bearer", None, {"realm": "caf\xe9"})]),
    ],
)
def test_every_form_that_the_grammar_allows(line, expected):
    assert read(line) == expected


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        (b"", []),
        (b"error=orphan", []),
        (b'"quoted first", Bearer error=x', [("bearer", None, {"error": "x"})]),
        (b'Bearer realm="never closed, error=x', [("bearer", None, {"realm": "never closed, error=x"})]),
        (b'Bearer realm="ends in a backslash\\', [("bearer", None, {"realm": "ends in a backslash"})]),
        (b"Bearer error=, scope=y", [("bearer", "error=", {"scope": "y"})]),
        (b"Bearer ;;;, error=x", [("bearer", None, {"error": "x"})]),
    ],
)
def test_what_does_not_follow_the_grammar_is_skipped(line, expected):
    assert read(line) == expected


@given(st.binary(max_size=400))
def test_reading_never_raises(line):
    assert isinstance(read(line), list)


@given(st.text(alphabet='abB ,="\\\t', max_size=60).map(str.encode))
def test_reading_never_raises_on_what_looks_like_a_challenge(line):
    assert isinstance(read(line), list)


@pytest.mark.parametrize("piece", [b'a="', b"a b ", b"a=b,", b'"', b"a" * 50, b" ", b",", b"\\", b'B a="\\"", '])
def test_a_hostile_line_takes_little_time(piece):
    line = b"Bearer " + piece * (1_000_000 // len(piece))
    started = time.process_time()
    read(line, line)
    assert time.process_time() - started < 0.5


def test_what_stands_beyond_the_limit_is_not_read():
    assert read(b"Bearer " + b" " * 9000, b"DPoP error=x") == [("bearer", None, {})]


def test_an_error_belongs_to_its_own_scheme():
    """D8."""
    both = answer(401, b'Bearer error="insufficient_scope", DPoP error="use_dpop_nonce"')
    assert errors(both, "dpop") == ["use_dpop_nonce"]
    assert errors(both, "bearer") == ["insufficient_scope"]
    assert errors(both) == ["insufficient_scope", "use_dpop_nonce"]
    assert errors(both, "token") == ["insufficient_scope", "use_dpop_nonce"]


@pytest.mark.parametrize(
    ("refusal", "expected"),
    [
        (answer(401), True),
        (answer(401, b"Bearer"), True),
        (answer(401, b'Bearer realm="x"'), True),
        (answer(401, b'Bearer error="invalid_token"'), True),
        (answer(401, b'Bearer error="token_expired"'), True),
        (answer(401, b'Bearer error="insufficient_scope"'), False),
        (answer(401, b'Bearer error="invalid_request"'), False),
        (answer(401, b'Bearer error="insufficient_user_authentication"'), False),
        (answer(401, b'Bearer error="insufficient_scope"', b'Bearer error="invalid_token"'), True),
        (answer(401, b'Bearer error="invalid_token", DPoP error="invalid_dpop_proof"'), True),
        (answer(401, b'Bearer realm="x", DPoP error="invalid_dpop_proof"'), True),
        (answer(401, b'Bearer error="invalid_request", DPoP error="invalid_token"'), False),
        (answer(403), False),
        (answer(403, b'Bearer error="invalid_token"'), False),
        (answer(200), False),
    ],
)
def test_which_answers_mean_that_a_bearer_token_was_refused(refusal, expected):
    """A7."""
    assert refused(refusal, scheme="bearer") is expected


def test_a_rule_with_a_body_decides_alone():
    rules = (FORBIDDEN_EXPIRED,)
    assert refused(answer(403, body=b'{"code":"TokenExpired"}'), rules)
    assert refused(answer(403, b'Bearer error="insufficient_scope"', body=b"TokenExpired"), rules)
    assert not refused(answer(403, body=b"not yours"), rules)
    assert not refused(answer(401, body=b"TokenExpired"), rules)


@pytest.mark.parametrize("compress", [gzip.compress, zlib.compress])
def test_a_body_is_read_in_the_codings_that_servers_like(compress):
    body = compress(b'{"error": {"code": "TokenExpired"}}')
    assert refused(answer(403, body=body), (FORBIDDEN_EXPIRED,))
    assert refused(answer(403, body=body[:-6]), (FORBIDDEN_EXPIRED,))  # as much of it as was kept
    assert not refused(answer(403, body=compress(b"not yours")), (FORBIDDEN_EXPIRED,))
    assert not refused(answer(403, body=body[:2] + b"nonsense"), (FORBIDDEN_EXPIRED,))


def test_a_plain_body_that_looks_compressed_is_read_as_it_is():
    assert refused(answer(403, body=b"x TokenExpired"), (FORBIDDEN_EXPIRED,))


def test_a_body_that_unpacks_without_end_is_read_only_so_far():
    body = gzip.compress(bytes(10_000_000) + b"TokenExpired")
    assert not refused(answer(403, body=body), (FORBIDDEN_EXPIRED,))


def test_a_rule_with_a_status_only_gives_way_to_a_registered_error():
    rules = (FORBIDDEN_EXPIRED, RefreshRule(status=403))
    assert refused(answer(403), rules)
    assert not refused(answer(403, b'Bearer error="insufficient_scope"'), rules)
