"""Keys in every form that people have them in."""

from __future__ import annotations

import base64
import datetime as dt
import hashlib
import json
from typing import Any

import jwt
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import dsa, ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)
from jwt.algorithms import get_default_algorithms

from proxy.auth.private_key import certificate_thumbprints, key_id_of, load_private_key, shared_key
from proxy.errors import ConfigurationError

KEYS: dict[str, Any] = {
    "RS256": rsa.generate_private_key(65537, 2048),
    "ES256": ec.generate_private_key(ec.SECP256R1()),
    "EdDSA": ed25519.Ed25519PrivateKey.generate(),
}
FORMS = [
    ("RS256", PrivateFormat.PKCS8), ("RS256", PrivateFormat.TraditionalOpenSSL), ("ES256", PrivateFormat.PKCS8),
    ("ES256", PrivateFormat.TraditionalOpenSSL), ("EdDSA", PrivateFormat.PKCS8),
]  # fmt: skip
PARAMETERS = "-----BEGIN EC PARAMETERS-----\nBggqhkjOPQMBBw==\n-----END EC PARAMETERS-----\n"
AROUND = {
    "as it is": lambda pem: pem,
    "with a mark": lambda pem: "\ufeff" + pem,
    "with CRLF": lambda pem: pem.replace("\n", "\r\n"),
    "with literal line breaks": lambda pem: pem.replace("\n", "\\n"),
    "with literal CRLF": lambda pem: pem.replace("\n", "\\r\\n"),
    "on one line": lambda pem: pem.replace("\n", " "),
    "indented": lambda pem: "\n".join("    " + line for line in pem.splitlines()),
    "between other texts": lambda pem: f"Bag Attributes\n  name: x\n{pem}\n{certificate()}\nthe end\n",
    "behind parameters": lambda pem: (
        f"-----BEGIN EC PARAMETERS-----\nBggqhkjOPQMBBw==\n-----END EC PARAMETERS-----\n{pem}"
    ),
}


def pem(key, form=PrivateFormat.PKCS8, password: bytes | None = None) -> str:
    how = BestAvailableEncryption(password) if password else NoEncryption()
    return key.private_bytes(Encoding.PEM, form, how).decode()


def certificate() -> str:
    key, name = KEYS["ES256"], x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "me")])
    start = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)
    made = x509.CertificateBuilder(name, name, key.public_key(), 7, start, start + dt.timedelta(days=9))
    return made.sign(key, hashes.SHA256()).public_bytes(Encoding.PEM).decode()


def same(found, key) -> bool:
    raw = Encoding.DER, PublicFormat.SubjectPublicKeyInfo
    return found.public_key().public_bytes(*raw) == key.public_key().public_bytes(*raw)


@pytest.mark.parametrize("around", AROUND)
@pytest.mark.parametrize(("alg", "form"), FORMS)
def test_a_pem_is_read_in_every_form_whatever_stands_around_it(alg, form, around):
    assert same(load_private_key(AROUND[around](pem(KEYS[alg], form))), KEYS[alg])


@pytest.mark.parametrize(("alg", "form"), FORMS)
def test_an_encrypted_key_is_opened_with_its_password(alg, form):
    text = pem(KEYS[alg], form, b"hush-open")
    assert same(load_private_key(text, "hush-open"), KEYS[alg])
    with pytest.raises(ConfigurationError, match="needs `key_password`"):
        load_private_key(text)
    with pytest.raises(ConfigurationError, match="does not open") as caught:
        load_private_key(text, "hush-wrong")
    assert "hush" not in str(caught.value)


def test_a_password_for_a_key_that_is_not_encrypted_does_no_harm():
    assert same(load_private_key(pem(KEYS["ES256"]), "x"), KEYS["ES256"])


@pytest.mark.parametrize("alg", KEYS)
def test_a_jwk_is_read_alone_and_in_a_set(alg):
    members = get_default_algorithms()[alg].to_jwk(KEYS[alg], as_dict=True) | {"kid": "k1"}
    public = get_default_algorithms()[alg].to_jwk(KEYS[alg].public_key(), as_dict=True)
    for text in (json.dumps(members), json.dumps({"keys": [public, members]}, indent=2)):
        assert same(load_private_key(text), KEYS[alg])
        assert key_id_of(text) == "k1"
    assert key_id_of(pem(KEYS[alg])) is None
    with pytest.raises(ConfigurationError):
        load_private_key(json.dumps(public))


@pytest.mark.parametrize(
    "text",
    [
        "", "hush", "-----BEGIN PRIVATE KEY-----\nhush\n-----END PRIVATE KEY-----", '{"kty": "hush"}', "{hush",
        '{"keys": []}', '{"kty": "RSA", "n": "hush"}', "[]", "-----BEGIN PRIVATE KEY-----hush",
        pem(dsa.generate_private_key(1024)),
    ],
)  # fmt: skip
def test_what_is_no_key_is_refused_without_showing_it(text):
    with pytest.raises(ConfigurationError) as caught:
        load_private_key(text)
    assert "hush" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "encoding"),
    [
        ("abc", None), ("616263", "hex"), ("61 62\n63", "hex"), ("YWJj", "base64"), ("YWJj\n", "base64"),
        ('{"kty":"oct","k":"YWJj"}', None),
    ],
)  # fmt: skip
def test_a_shared_key_is_written_in_several_ways(text, encoding):
    assert shared_key(text, encoding) == b"abc"


def test_base64_may_be_that_of_urls_and_without_padding():
    octets = bytes(range(250, 256)) + b"x"
    for text in (base64.b64encode(octets), base64.urlsafe_b64encode(octets), base64.b64encode(octets).rstrip(b"=")):
        assert shared_key(text.decode(), "base64") == octets


@pytest.mark.parametrize(("text", "encoding"), [("hush", "hex"), ("hush!", "base64"), ("abc", "hex")])
def test_what_is_not_so_written_is_refused_without_showing_it(text, encoding):
    with pytest.raises(ConfigurationError, match=f"not {encoding}") as caught:
        shared_key(text, encoding)
    assert "hush" not in str(caught.value)


def test_a_certificate_is_named_by_its_thumbprints():
    text = certificate()
    octets = x509.load_pem_x509_certificate(text.encode()).public_bytes(Encoding.DER)

    def named(digest) -> str:
        return base64.urlsafe_b64encode(digest(octets).digest()).decode().rstrip("=")

    expected = {"x5t#S256": named(hashlib.sha256), "x5t": named(hashlib.sha1)}
    assert certificate_thumbprints(pem(KEYS["ES256"]) + text) == expected
    with pytest.raises(ConfigurationError, match="no certificate"):
        certificate_thumbprints(pem(KEYS["ES256"]))


def test_what_was_loaded_signs():
    key = load_private_key(pem(KEYS["RS256"], PrivateFormat.TraditionalOpenSSL))
    assert jwt.decode(jwt.encode({"a": 1}, key, "RS256"), KEYS["RS256"].public_key(), ["RS256"]) == {"a": 1}
