"""AWS keys, from wherever the configuration says."""

from __future__ import annotations

import pytest

from proxy.errors import ConfigurationError, CredentialUnavailable
from proxy.model import Moment, Request

KEYS = {"type": "aws_sigv4", "service": "sqs", "region": "eu-west-1"}
REQUEST = Request(b"GET", "https", b"api.example", b"/", body=b"", section=b"\r\nHost: api.example\r\n")


def authorization(built) -> str:
    token = built.credential.tokens.ready()
    return dict(built.credential.scheme.sign(REQUEST, token, Moment(1.8e9, bytes)))[b"Authorization"].decode()


async def test_configured_keys_are_at_hand_and_their_files_are_followed(bench, tmp_path):
    (tmp_path / "secret").write_text("one")
    built = bench.credential(
        {**KEYS, "access_key_id": "AKID", "secret_access_key": {"file": "secret"}, "body_buffer": "1KiB"}
    )
    first = authorization(built)
    assert "Credential=AKID/20270115/eu-west-1/sqs/aws4_request" in first
    assert built.credential.body_buffer == 1024
    (tmp_path / "secret").write_text("two")
    await bench.clock.advance(2.0)
    assert authorization(built) != first
    assert built.manager is None


def test_a_profile_is_at_hand_and_one_without_keys_cannot_be_built(bench, tmp_path):
    (tmp_path / "credentials").write_text("[dev]\naws_access_key_id=AKID2\naws_secret_access_key=s\n")
    built = bench.credential({**KEYS, "profile": {"file": "credentials", "name": "dev"}})
    assert "Credential=AKID2/" in authorization(built)
    with pytest.raises(ConfigurationError, match="no profile 'default'"):
        bench.credential({**KEYS, "profile": {"file": "credentials"}})


def test_the_scope_may_be_the_apps(bench):
    built = bench.credential(
        {
            **KEYS,
            "region": "from_request",
            "allow_regions": ["r-1"],
            "access_key_id": "AKID",
            "secret_access_key": {"env": "KEY"},
        }
    )
    scope = b"\r\nAuthorization: AWS4-HMAC-SHA256 Credential=x/20260101/r-1/s3/aws4_request\r\n"
    one = Request(b"GET", "https", b"a", b"/", body=b"", section=b"\r\nHost: a\r\n", received_section=scope)
    token = built.credential.tokens.ready()
    signed = dict(built.credential.scheme.sign(one, token, Moment(1.8e9, bytes)))
    assert b"/r-1/sqs/aws4_request" in signed[b"Authorization"]


async def test_keys_that_are_asked_for_have_a_life_of_their_own(bench):
    bench._environ["AWS_EC2_METADATA_SERVICE_ENDPOINT"] = "http://127.0.0.1:1"
    built = bench.credential(
        {**KEYS, "metadata": True, "required": True, "refresh": {"eager": False}, "timeouts": {"total": "200ms"}}
    )
    assert built.entry.required
    assert built.entry.tokens is built.manager
    await built.start()
    try:
        with pytest.raises(CredentialUnavailable, match="instance metadata endpoint cannot be reached"):
            await built.credential.tokens.current()
    finally:
        await built.stop()
