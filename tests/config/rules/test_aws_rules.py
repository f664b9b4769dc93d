"""AWS signatures: one source of keys, and a scope that is fixed or bounded."""

from __future__ import annotations

import pytest
from support.full_file import errors_of, problems_of

KEYS = "access_key_id: a, secret_access_key: {env: KEY}"
ARN = "role_arn: 'arn:aws:iam::123456789012:role/r'"
WEB = f"assume_role: {{{ARN}, web_identity: {{env: KEY}}}}"


def one(keys: str, scope: str = "service: s3, region: eu-west-1") -> str:
    credential = f"{{type: aws_sigv4, {scope}{', ' if keys else ''}{keys}}}"
    return f"routes: [{{match: /, upstream: 'https://a.b', credential: c}}]\ncredentials:\n  c: {credential}\n"


@pytest.mark.parametrize(
    ("keys", "path", "said"),
    [
        ("", "", "has no AWS keys"),
        ("access_key_id: a", ".access_key_id", "`access_key_id` needs `secret_access_key`"),
        ("secret_access_key: {env: KEY}", ".secret_access_key", "needs `access_key_id`"),
        ("metadata: true, session_token: {env: KEY}", ".session_token", "belongs to `access_key_id`"),
        (f"{KEYS}, metadata: true", ".metadata", "`access_key_id` or `metadata`"),
        (f"{KEYS}, profile: {{file: f}}", ".profile", "`access_key_id` or `profile`"),
        ("profile: {file: f}, metadata: true", ".metadata", "`profile` or `metadata`"),
        (f"{WEB}, metadata: true", ".metadata", "`assume_role.web_identity` or `metadata`"),
        (f"assume_role: {{{ARN}}}", "", "has no AWS keys"),
        (f"{KEYS}, assume_role: {{role_arn: r}}", ".assume_role.role_arn", "arn:aws:iam::ACCOUNT:role/NAME"),
        (f"{KEYS}, assume_role: {{{ARN}, session_name: 'a b'}}", ".assume_role.session_name", "role session"),
        (f"{KEYS}, assume_role: {{{ARN}, duration: 5m}}", ".assume_role.duration", "15m to 12h"),
        (f"{KEYS}, assume_role: {{{ARN}, duration: 13h}}", ".assume_role.duration", "15m to 12h"),
        (f"{KEYS}, assume_role: {{{ARN}, region: 'a b'}}", ".assume_role.region", "no name of an AWS region"),
        (f"{KEYS}, assume_role: {{{ARN}, endpoint: 'http://sts.example'}}", ".assume_role.endpoint", "https://"),
        (f"{KEYS}, allow_regions: [eu-west-1]", ".allow_regions", "belongs to `region: from_request`"),
        (f"{KEYS}, allow_services: [s3]", ".allow_services", "belongs to `service: from_request`"),
        (f"{KEYS}, refresh: {{at: 2}}", ".refresh.at", "at most 1"),
        (f"{KEYS}, payload: hashed", ".payload", "as_sent, signed or unsigned"),
    ],
)
def test_keys_that_cannot_sign_are_refused_with_their_place(keys, path, said):
    errors = errors_of(one(keys))
    assert [error.path for error in errors] == [f"credentials.c{path}"], errors
    assert said in errors[0].message + (errors[0].hint or "")


@pytest.mark.parametrize(
    ("scope", "path", "said"),
    [
        ("service: s3, region: from_request", ".region", "needs `allow_regions`"),
        ("service: from_request, region: r", ".service", "needs `allow_services`"),
        ("service: 's 3', region: r", ".service", "no name of an AWS region or service"),
        ("service: s3, region: from_request, allow_regions: ['*']", ".allow_regions[0]", "no name of an AWS region"),
        ("service: s3", ".region", "needs `region`"),
    ],
)
def test_a_scope_without_bounds_is_refused_with_its_place(scope, path, said):
    errors = errors_of(one(KEYS, scope))
    assert [error.path for error in errors] == [f"credentials.c{path}"], errors
    assert said in errors[0].message + (errors[0].hint or "")


def test_a_role_for_any_region_says_which_sts_is_asked():
    scope = "service: s3, region: from_request, allow_regions: [eu-west-1]"
    (error,) = errors_of(one(f"{KEYS}, assume_role: {{{ARN}}}", scope))
    assert error.path == "credentials.c.assume_role"
    assert "`region`" in (error.hint or "")
    assert errors_of(one(f"{KEYS}, assume_role: {{{ARN}, region: eu-west-1}}", scope)) == []


@pytest.mark.parametrize(
    "keys", [KEYS, "metadata: true", "profile: {file: f}", WEB, f"metadata: true, assume_role: {{{ARN}}}"]
)
def test_each_source_of_keys_is_enough(keys):
    assert errors_of(one(keys)) == []


@pytest.mark.parametrize(
    ("keys", "said"),
    [
        (f"{KEYS}, via_proxy: 'http://egress:3128'", "nobody is asked"),
        ("metadata: true, via_proxy: 'http://egress:3128'", "asked directly"),
        (f"{KEYS}, tls: {{min_version: '1.3'}}", "nobody is asked"),
    ],
)
def test_a_key_without_effect_is_doubted(keys, said):
    (problem,) = problems_of(one(keys))
    assert (problem.severity, said in problem.message) == ("warning", True)


def test_only_s3_takes_an_unsigned_payload():
    (problem,) = problems_of(one(f"{KEYS}, payload: unsigned", "service: sqs, region: r"))
    assert problem.severity == "warning"
    assert problems_of(one(f"{KEYS}, payload: unsigned")) == []
