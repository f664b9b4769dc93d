"""OAuth 1: what each signature method needs."""

from __future__ import annotations

import pytest
from support.full_file import errors_of, problems_of


def one(keys: str) -> str:
    return (
        f"routes: [{{match: /, upstream: 'https://a.b', credential: c}}]\ncredentials:\n  c: {{type: oauth1, {keys}}}\n"
    )


@pytest.mark.parametrize(
    ("keys", "path", "said"),
    [
        ("consumer_key: k", "", "needs `consumer_secret`"),
        ("consumer_key: k, signature_method: PLAINTEXT", "", "needs `consumer_secret`"),
        ("consumer_key: k, signature_method: RSA-SHA1", "", "needs `private_key`"),
        (
            "consumer_key: k, consumer_secret: {env: KEY}, token_secret: {env: KEY}",
            ".token_secret",
            "belongs to a `token`",
        ),
        (
            "consumer_key: k, consumer_secret: {env: KEY}, signature_method: PLAINTEXT, body_hash: sha256",
            ".body_hash",
            "protects no body",
        ),
        ("consumer_key: '', consumer_secret: {env: KEY}", ".consumer_key", "empty"),
        ('consumer_key: k, consumer_secret: {env: KEY}, realm: "a\\tb"', ".realm", "control"),
        ("consumer_key: k, consumer_secret: {env: KEY}, body_hash: md5", ".body_hash", "sha1, sha256 or off"),
        (
            "consumer_key: k, consumer_secret: {env: KEY}, signature_method: HMAC-SHA2",
            ".signature_method",
            "did you mean",
        ),
        ("consumer_key: k, consumer_secret: {env: KEY}, signing_base_url: /a", ".signing_base_url", "https://"),
        ("consumer_secret: {env: KEY}", ".consumer_key", "needs `consumer_key`"),
    ],
)
def test_a_credential_that_cannot_sign_is_refused_with_its_place(keys, path, said):
    errors = errors_of(one(keys))
    assert [error.path for error in errors] == [f"credentials.c{path}"], errors
    assert said in errors[0].message + (errors[0].hint or "")


def test_a_token_without_a_secret_can_sign():
    assert (
        errors_of(one("consumer_key: k, signature_method: RSA-SHA512, private_key: {env: KEY}, token: {env: KEY}"))
        == []
    )


@pytest.mark.parametrize(("method", "idle"), [("HMAC-SHA1", "private_key"), ("RSA-SHA1", "consumer_secret")])
def test_a_key_that_the_method_does_not_sign_with_is_doubted_and_no_more(method, idle):
    """Whoever registers an app is given a consumer secret, whichever way it signs."""
    keys = f"consumer_key: k, consumer_secret: {{env: KEY}}, private_key: {{env: KEY}}, signature_method: {method}"
    (problem,) = problems_of(one(keys))
    assert (problem.severity, problem.path) == ("warning", f"credentials.c.{idle}")
    assert "has no effect" in problem.message
