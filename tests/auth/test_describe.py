"""What would be sent, for people."""

from __future__ import annotations

import json
import re

import msgspec
import pytest
from oauthlib.oauth1.rfc5849 import signature as oauthlib_signature
from support.signing import WALL, moment, request

from proxy.auth.basic import BasicScheme
from proxy.auth.bearer import BearerScheme
from proxy.auth.describe import PLACEHOLDER, covered, redacted
from proxy.auth.dpop import DpopScheme, token_hash
from proxy.auth.dpop_key import DpopKey, DpopKeys
from proxy.auth.header import HeaderScheme
from proxy.auth.oauth1 import OAuth1Scheme
from proxy.auth.query import QueryScheme
from proxy.auth.signature import OAuth1Keys

KEYS = OAuth1Keys(consumer_secret="c0nsumer-s3cret", token="t0ken", token_secret="t0ken-s3cret")


def described(scheme, one=None, **more):
    """The field lines that are shown, and what was signed."""
    one, now = one or request(), moment(octets=lambda count: bytes(range(count)))
    signed = scheme.sign(one, msgspec.structs.replace(PLACEHOLDER, **more), now)
    lines = [f"{name.decode()}: {value.decode()}" for name, value in redacted(scheme, signed)]
    return lines + covered(scheme, one, signed, now)


@pytest.mark.parametrize(
    ("scheme", "line"),
    [
        (BearerScheme(), "Authorization: Bearer REDACTED"),
        (BearerScheme("X-Token", ""), "X-Token: REDACTED"),
        (HeaderScheme("X-Key", "Key "), "X-Key: Key REDACTED"),
        (BasicScheme(), "Authorization: Basic REDACTED"),
    ],
)
def test_a_constant_field_is_shown_without_its_value(scheme, line):
    assert described(scheme) == [line]


def test_a_parameter_is_nothing_in_the_head_and_stands_in_the_target():
    scheme = QueryScheme("key")
    assert described(scheme, request(url="https://api.example/a?b=%zz")) == []
    assert (
        scheme.place(request(url="https://api.example/a?b=%zz"), PLACEHOLDER, moment()).target
        == b"/a?b=%zz&key=REDACTED"
    )


def test_an_oauth_1_request_is_shown_with_its_base_string_and_no_secret():
    scheme = OAuth1Scheme("key", KEYS, realm="r")
    lines = described(scheme, request(b"POST", "https://api.example/a?b=c"))
    text = "\n".join(lines)
    assert re.search(r'^Authorization: OAuth realm="r", oauth_consumer_key="key", oauth_token="REDACTED", ', lines[0])
    assert lines[0].endswith('oauth_signature="REDACTED"')
    assert lines[1].startswith(
        "OAuth 1 base string: POST&https%3A%2F%2Fapi.example%2Fa&b%3Dc%26oauth_consumer_key%3Dkey"
    )
    assert "oauth_token%3DREDACTED%26oauth_version%3D1.0" in lines[1]
    assert not re.search("t0ken|s3cret", text)


def test_the_base_string_shown_is_the_one_of_the_header_shown():
    lines = described(OAuth1Scheme("key", OAuth1Keys(consumer_secret="s")), request(url="https://api.example/a?b=c"))
    collected = oauthlib_signature.collect_parameters(
        "b=c", headers={"Authorization": lines[0].removeprefix("Authorization: ")}
    )
    normal = oauthlib_signature.normalize_parameters(collected)  # type: ignore[arg-type]  # the stub is wrong
    expected = oauthlib_signature.signature_base_string("GET", "https://api.example/a", normal)
    assert lines[1] == f"OAuth 1 base string: {expected}"


def test_plaintext_signs_nothing_so_there_is_no_base_string():
    lines = described(OAuth1Scheme("key", KEYS, method="PLAINTEXT"))
    assert len(lines) == 1
    assert "s3cret" not in lines[0]


def test_a_dpop_request_is_shown_with_the_claims_of_its_proof():
    key = DpopKey.generate()
    lines = described(DpopScheme(DpopKeys(key)), request(b"PUT", "https://api.example/a?b=c"))
    assert lines[:3] == [
        "Authorization: DPoP REDACTED",
        "DPoP: REDACTED",
        f"DPoP key: ES256, thumbprint {key.thumbprint}",
    ]
    claims = json.loads(lines[3].removeprefix("DPoP claims: "))
    assert len(claims.pop("jti")) == 32
    assert claims == {"htm": "PUT", "htu": "https://api.example/a", "iat": WALL, "ath": token_hash("REDACTED")}
