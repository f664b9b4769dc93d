"""The RFC's own proofs, and proofs made by an independent library (joserfc)."""

from __future__ import annotations

import base64

import pytest
from joserfc import jwt
from joserfc.jwk import ECKey, OKPKey, RSAKey
from support.clock import FakeClock

from proxy.sandbox.proofs import ProofRefused, Proofs, key_thumbprint, token_hash

URL = "http://api.example/orders%2F1"


@pytest.fixture
def clock():
    return FakeClock()


@pytest.fixture
def proofs(clock):
    return Proofs(clock)


@pytest.fixture
def key():
    return ECKey.generate_key("P-256")


def make(key, clock, *, alg="ES256", header=None, **claims):
    head = {"typ": "dpop+jwt", "alg": alg, "jwk": key.as_dict(private=False), **(header or {})}
    body = {"jti": clock.octets(12).hex(), "htm": "GET", "htu": URL, "iat": int(clock.wall()), **claims}
    return jwt.encode(head, body, key, algorithms=[alg])


def check(proofs, proof, **changes):
    return proofs.check(proof, **{"method": "GET", "url": URL, "nonce_window": None, **changes})


def test_the_proof_of_rfc_9449_section_4_1_verifies():
    proof = (
        "eyJ0eXAiOiJkcG9wK2p3dCIsImFsZyI6IkVTMjU2IiwiandrIjp7Imt0eSI6IkVDIiwieCI6Imw4dEZyaHgtMzR0VjNoUklDUkRZOXpDa0R"
        "scEJoRjQyVVFVZldWQVdCRnMiLCJ5IjoiOVZFNGpmX09rX282NHpiVFRsY3VOSmFqSG10NnY5VERWclUwQ2R2R1JEQSIsImNydiI6IlAtMjU2"
        "In19.eyJqdGkiOiItQndDM0VTYzZhY2MybFRjIiwiaHRtIjoiUE9TVCIsImh0dSI6Imh0dHBzOi8vc2VydmVyLmV4YW1wbGUuY29tL3Rva2Vu"
        "IiwiaWF0IjoxNTYyMjYyNjE2fQ.2-GxA6T8lP4vfrg8v-FdWP0A0zdrj8igiMLvqRMUvwnQg4PtFLbdLXiOSsX0x7NVY-FNyJK70nfbV37xRZT"
        "3Lg"
    )
    thumbprint = Proofs(FakeClock(wall=1562262616)).check(
        proof, method="POST", url="https://server.example.com/token", nonce_window=None
    )
    assert thumbprint == "0ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4I"


def test_the_token_hash_of_rfc_9449_section_7_1_comes_out():
    assert token_hash("Kz~8mXK1EalYznwH-LC-1fBAo.4Ljp~zsPE_NeO.gxU") == "fUHyO2r2Z3DZ53EsNrWBb0xWXoaNy59IiKCAqksmQEo"


@pytest.mark.filterwarnings("ignore:EdDSA is deprecated")  # RFC 9864 has a new name, clients still send the old one
@pytest.mark.parametrize(
    ("alg", "make_key"),
    [
        ("ES256", lambda: ECKey.generate_key("P-256")),
        ("ES384", lambda: ECKey.generate_key("P-384")),
        ("EdDSA", lambda: OKPKey.generate_key("Ed25519")),
        ("PS256", lambda: RSAKey.generate_key(2048)),
    ],
)
def test_a_proof_of_every_algorithm_verifies_and_its_thumbprint_is_that_of_an_independent_library(
    proofs, clock, alg, make_key
):
    key = make_key()
    assert check(proofs, make(key, clock, alg=alg)) == key.thumbprint()
    assert key_thumbprint(key.as_dict(private=False)) == key.thumbprint()


@pytest.mark.parametrize(
    ("claims", "header", "reason"),
    [
        ({"htm": "POST"}, {}, "htm"),
        ({"htm": "get"}, {}, "htm"),
        ({"htu": "http://api.example/orders/1"}, {}, "htu"),
        ({"htu": URL + "?q=1"}, {}, "htu"),
        ({"iat": 1_800_000_301}, {}, "iat"),
        ({"iat": 1_799_999_699}, {}, "iat"),
        ({"iat": "now"}, {}, "iat"),
        ({}, {"typ": "JWT"}, "typ"),
        ({}, {"jwk": {"kty": "EC"}}, "verify"),
        ({"jti": None}, {}, "verify"),
    ],
)
def test_a_proof_that_is_for_something_else_is_refused(proofs, clock, claims, header, reason):
    key = ECKey.generate_key("P-256")
    with pytest.raises(ProofRefused, match=reason) as refused:
        check(proofs, make(key, clock, header=header, **claims))
    assert refused.value.error == "invalid_dpop_proof"


def test_a_proof_that_shows_its_private_key_is_refused(proofs, clock, key):
    with pytest.raises(ProofRefused, match="public"):
        check(proofs, make(key, clock, header={"jwk": key.as_dict(private=True)}))


def test_a_proof_signed_by_another_key_than_the_one_it_shows_is_refused(proofs, clock, key):
    with pytest.raises(ProofRefused, match="verify"):
        check(proofs, make(key, clock, header={"jwk": ECKey.generate_key("P-256").as_dict(private=False)}))


@pytest.mark.parametrize("proof", ["", "x", "a.b.c", "é"])
def test_what_is_no_proof_at_all_is_refused(proofs, proof):
    with pytest.raises(ProofRefused):
        check(proofs, proof)


def test_a_proof_is_good_once(proofs, clock, key):
    proof = make(key, clock)
    check(proofs, proof)
    with pytest.raises(ProofRefused, match="before"):
        check(proofs, proof)


def test_a_proof_for_another_token_is_refused(proofs, clock, key):
    check(proofs, make(key, clock, ath=token_hash("right")), access_token="right")
    with pytest.raises(ProofRefused, match="ath"):
        check(proofs, make(key, clock, ath=token_hash("wrong")), access_token="right")
    with pytest.raises(ProofRefused, match="ath"):
        check(proofs, make(key, clock), access_token="right")


def test_a_wanted_nonce_must_be_one_of_the_newest(proofs, clock, key):
    first = proofs.nonces.newest()
    check(proofs, make(key, clock, nonce=first), nonce_window=1)
    second = proofs.nonces.renew()
    check(proofs, make(key, clock, nonce=first), nonce_window=2)
    check(proofs, make(key, clock, nonce=second), nonce_window=1)
    for stale in ({"nonce": first}, {}, {"nonce": "made up"}):
        with pytest.raises(ProofRefused, match="nonce") as refused:
            check(proofs, make(key, clock, **stale), nonce_window=1)
        assert refused.value.error == "use_dpop_nonce"


async def test_a_nonce_is_renewed_when_it_grows_old_and_the_old_one_dies_later(proofs, clock, key):
    first = proofs.nonces.newest()
    await clock.advance(301)
    second = proofs.nonces.newest()
    assert second != first
    check(proofs, make(key, clock, nonce=first), nonce_window=2)
    await clock.advance(300)
    with pytest.raises(ProofRefused, match="nonce"):
        check(proofs, make(key, clock, nonce=first), nonce_window=9)


def test_a_proof_with_something_else_in_the_place_of_its_key_is_refused(proofs):
    header = base64.urlsafe_b64encode(b'{"typ":"dpop+jwt","alg":"ES256","jwk":"none"}').decode().rstrip("=")
    with pytest.raises(ProofRefused, match="jwk"):
        check(proofs, f"{header}.e30.AA")
