"""The signature methods of OAuth 1."""

from __future__ import annotations

import base64
from types import SimpleNamespace
from urllib.parse import quote, unquote

import pytest
from cryptography.hazmat.primitives.asymmetric import ed25519, rsa
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)
from oauthlib.oauth1.rfc5849 import signature as oauthlib_signature

from proxy.auth.base_string import base_string
from proxy.auth.signature import OAuth1Keys, header_safe, signer
from proxy.errors import ConfigurationError

RFC_BASE = (
    "POST&http%3A%2F%2Fexample.com%2Frequest&a2%3Dr%2520b%26a3%3D2%2520q%26a3%3Da%26b5%3D%253D%25253D%26c%2540%3D%26c2%3D%26"
    "oauth_consumer_key%3D9djdj82h48djs9d2%26oauth_nonce%3D7d8f3e4a%26oauth_signature_method%3DHMAC-SHA1%26"
    "oauth_timestamp%3D137131201%26oauth_token%3Dkkk9d7dh3k39sjv7"
)


@pytest.fixture(scope="module")
def rsa_key():
    return rsa.generate_private_key(65537, 2048)


def pem_of(key, encryption=None):
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, encryption or NoEncryption()).decode()


def plain(encoded):
    """A signature as it is before it goes into a header."""
    return unquote(encoded)


def test_the_erratum_to_the_example_of_rfc_5849():
    """Erratum 2550 to section 3.4.1.1; the signature printed there is wrong."""
    sign = signer("HMAC-SHA1", OAuth1Keys(consumer_secret="j49sk3j29djd", token_secret="dh893hdasih9"))
    assert plain(sign(RFC_BASE)) == "r6/TJjbCOr97/+UU0NsvSne7s5g="


@pytest.mark.parametrize(
    ("token_secret", "url", "more", "expected"),
    [
        (
            "",
            ("https://photos.example.net", b"/initiate", b"POST"),
            [
                ("oauth_timestamp", "137131200"),
                ("oauth_nonce", "wIjqoS"),
                ("oauth_callback", "http%3A%2F%2Fprinter.example.com%2Fready"),
            ],
            "74KNZJeDHnMBp0EMJ9ZHt/XKycU=",
        ),
        (
            "hdhd0244k9j7ao03",
            ("https://photos.example.net", b"/token", b"POST"),
            [
                ("oauth_token", "hh5s93j4hdidpola"),
                ("oauth_timestamp", "137131201"),
                ("oauth_nonce", "walatlh"),
                ("oauth_verifier", "hfdp7dh39dks9884"),
            ],
            "gKgrFCywp7rO0OXSjdot/IHF7IU=",
        ),
        (
            "pfkkdhi9sl3r4s00",
            ("http://photos.example.net", b"/photos", b"GET"),
            [
                ("oauth_token", "nnch734d00sl2jdk"),
                ("oauth_timestamp", "137131202"),
                ("oauth_nonce", "chapoH"),
                ("file", "vacation.jpg"),
                ("size", "original"),
            ],
            "MdpQcU8iPSUjWoN/UDMsK2sui9I=",
        ),
    ],
    ids=["initiate", "token", "photos"],
)
def test_the_three_requests_of_the_example_in_rfc_5849(token_secret, url, more, expected):
    """E4: section 1.2."""
    origin, path, method = url
    pairs = [("oauth_consumer_key", "dpf43f3p2l4k3l03"), ("oauth_signature_method", "HMAC-SHA1"), *more]
    sign = signer("HMAC-SHA1", OAuth1Keys(consumer_secret="kd94hf93k423kf44", token_secret=token_secret))
    assert plain(sign(base_string(method, origin, path, pairs))) == expected


@pytest.mark.parametrize("method", ["HMAC-SHA1", "HMAC-SHA256", "HMAC-SHA512"])
@pytest.mark.parametrize("secrets", [("s", "t"), ("s", ""), ("", ""), ("a&b%c ü", "+/=")])
def test_hmac_signatures_agree_with_oauthlib(method, secrets):
    """E4."""
    consumer_secret, token_secret = secrets
    sign = signer(method, OAuth1Keys(consumer_secret=consumer_secret, token_secret=token_secret))
    theirs = getattr(oauthlib_signature, f"sign_{method.lower().replace('-', '_')}_with_client")
    client = SimpleNamespace(client_secret=consumer_secret, resource_owner_secret=token_secret)
    assert plain(sign(RFC_BASE)) == theirs(RFC_BASE, client)


@pytest.mark.parametrize("method", ["RSA-SHA1", "RSA-SHA256", "RSA-SHA512"])
def test_rsa_signatures_are_verified_by_oauthlib(method, rsa_key):
    """E4."""
    sign = signer(method, OAuth1Keys(private_key=pem_of(rsa_key)))
    pairs = [("a", "b c")]
    public = rsa_key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()
    verify = getattr(oauthlib_signature, f"verify_{method.lower().replace('-', '_')}")
    signed = plain(sign(base_string(b"GET", "https://a.example", b"/x", [("a", "b%20c")])))
    asked = SimpleNamespace(http_method="GET", uri="https://a.example/x", params=pairs, signature=signed)
    assert verify(asked, public)
    asked.params = [("a", "b d")]
    assert not verify(asked, public)


def test_a_plaintext_signature_is_the_key_percent_encoded_once_more():
    """E4: section 3.4.4; the ampersand is there even with nothing to its right."""
    assert signer("PLAINTEXT", OAuth1Keys(consumer_secret="djr9rjt0jd78jf88"))("any") == "djr9rjt0jd78jf88%26"
    both = signer("PLAINTEXT", OAuth1Keys(consumer_secret="a b", token_secret="ü"))("any")
    assert both == quote("a%20b&%C3%BC", safe="")


def test_base64_is_percent_encoded_for_the_header():
    assert header_safe(base64.b64decode("+/+/AA==")) == "%2B%2F%2B%2FAA%3D%3D"


def test_keys_that_do_not_fit_are_configuration_errors_that_show_nothing(rsa_key):
    other = pem_of(ed25519.Ed25519PrivateKey.generate())
    locked = pem_of(rsa_key, BestAvailableEncryption(b"secret"))
    for pem, why in [(None, "need one"), ("nonsense", "PEM"), (locked, "key_password"), (other, "not an RSA key")]:
        with pytest.raises(ConfigurationError, match=why) as caught:
            signer("RSA-SHA256", OAuth1Keys(private_key=pem))
        assert str(caught.value).startswith("private_key: ")
        assert (pem or "nothing") not in str(caught.value)
        assert caught.value.__suppress_context__ or caught.value.__context__ is None


def test_keys_cannot_be_printed():
    assert repr(OAuth1Keys(consumer_secret="c0nsumer", token="t0ken", token_secret="s3cret")) == "OAuth1Keys()"
