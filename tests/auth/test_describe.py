"""What would be sent, for people."""

from __future__ import annotations

import json
import re

import pytest
from oauthlib.oauth1.rfc5849 import signature as oauthlib_signature
from support.signing import WALL, moment, request, token

from proxy.auth.basic import BasicScheme
from proxy.auth.bearer import BearerScheme
from proxy.auth.describe import describe
from proxy.auth.dpop import DpopScheme, token_hash
from proxy.auth.dpop_key import DpopKey, DpopKeys
from proxy.auth.header import HeaderScheme
from proxy.auth.oauth1 import OAuth1Scheme
from proxy.auth.query import QueryScheme
from proxy.auth.signature import OAuth1Keys
from proxy.model import Request

KEYS = OAuth1Keys(consumer_secret="c0nsumer-s3cret", token="t0ken", token_secret="t0ken-s3cret")


def described(scheme, one=None, **more):
    return describe(scheme, one or request(), token(**more), moment())


@pytest.mark.parametrize(
    ("scheme", "line"),
    [
        (BearerScheme(), "Authorization: Bearer REDACTED"),
        (BearerScheme("X-Token", ""), "X-Token: REDACTED"),
        (HeaderScheme("X-Key", "Key "), "X-Key: Key REDACTED"),
        (BasicScheme("user"), "Authorization: Basic REDACTED"),
    ],
)
def test_a_constant_field_is_shown_without_its_value(scheme, line):
    assert described(scheme) == ["GET /things HTTP/1.1", "Host: api.example", line]


def test_a_parameter_is_shown_in_its_place():
    lines = described(QueryScheme("key"), request(url="https://api.example/a?b=%zz"))
    assert lines == ["GET /a?b=%zz&key=REDACTED HTTP/1.1", "Host: api.example"]


def test_ready_made_fields_are_shown_by_name():
    lines = described(BearerScheme(), fields=((b"X-A", b"s3cret"), (b"X-B", b"s3cret")))
    assert lines[2:] == ["X-A: REDACTED", "X-B: REDACTED"]


def test_a_target_that_is_no_text_is_shown_all_the_same():
    lines = described(BearerScheme(), Request(b"GET", "https", b"a.example", b"/\xff"))
    assert lines[0] == "GET /\\xff HTTP/1.1"


def test_an_oauth_1_request_is_shown_with_its_base_string_and_no_secret():
    scheme = OAuth1Scheme("key", KEYS, realm="r")
    lines = described(scheme, request(b"POST", "https://api.example/a?b=c"))
    text = "\n".join(lines)
    assert re.search(r'^Authorization: OAuth realm="r", oauth_consumer_key="key", oauth_token="REDACTED", ', lines[2])
    assert lines[2].endswith('oauth_signature="REDACTED"')
    assert lines[3].startswith(
        "OAuth 1 base string: POST&https%3A%2F%2Fapi.example%2Fa&b%3Dc%26oauth_consumer_key%3Dkey"
    )
    assert "oauth_token%3DREDACTED%26oauth_version%3D1.0" in lines[3]
    assert not re.search("t0ken|s3cret", text)


def test_the_base_string_shown_is_the_one_of_the_header_shown():
    lines = described(OAuth1Scheme("key", OAuth1Keys(consumer_secret="s")), request(url="https://api.example/a?b=c"))
    collected = oauthlib_signature.collect_parameters(
        "b=c", headers={"Authorization": lines[2].removeprefix("Authorization: ")}
    )
    normal = oauthlib_signature.normalize_parameters(collected)  # type: ignore[arg-type]  # the stub is wrong
    expected = oauthlib_signature.signature_base_string("GET", "https://api.example/a", normal)
    assert lines[3] == f"OAuth 1 base string: {expected}"


def test_plaintext_signs_nothing_so_there_is_no_base_string():
    lines = described(OAuth1Scheme("key", KEYS, method="PLAINTEXT"))
    assert len(lines) == 3
    assert "s3cret" not in lines[2]


def test_a_dpop_request_is_shown_with_the_claims_of_its_proof():
    key = DpopKey.generate()
    lines = described(DpopScheme(DpopKeys(key)), request(b"PUT", "https://api.example/a?b=c"), access_token="s3cret")
    assert lines[2:5] == [
        "Authorization: DPoP REDACTED",
        "DPoP: REDACTED",
        f"DPoP key: ES256, thumbprint {key.thumbprint}",
    ]
    claims = json.loads(lines[5].removeprefix("DPoP claims: "))
    assert len(claims.pop("jti")) == 32
    assert claims == {"htm": "PUT", "htu": "https://api.example/a", "iat": WALL, "ath": token_hash("s3cret")}
    assert "s3cret" not in "\n".join(lines)
