"""DPoP: proofs, and what servers say about them."""

from __future__ import annotations

from email.utils import formatdate

import pytest
from joserfc.errors import BadSignatureError
from support.dpop import verified
from support.signing import WALL, answer, moment, request, token

from proxy.auth.dpop import Claims, DpopScheme, claims_of, proof, token_hash
from proxy.auth.dpop_key import DpopKey, DpopKeys
from proxy.errors import ConfigurationError, CredentialRefused
from proxy.model import Request, Verdict

RFC_TOKEN = "Kz~8mXK1EalYznwH-LC-1fBAo.4Ljp~zsPE_NeO.gxU"
RFC_HEAD = (
    "eyJ0eXAiOiJkcG9wK2p3dCIsImFsZyI6IkVTMjU2IiwiandrIjp7Imt0eSI6IkVDIiwieCI6Imw4dEZyaHgtMzR0VjNoUklDUkRZOXpDa0RscEJoRjQy"
    "VVFVZldWQVdCRnMiLCJ5IjoiOVZFNGpmX09rX282NHpiVFRsY3VOSmFqSG10NnY5VERWclUwQ2R2R1JEQSIsImNydiI6IlAtMjU2In19"
)
RFC_PROOF = (
    RFC_HEAD
    + ".eyJqdGkiOiItQndDM0VTYzZhY2MybFRjIiwiaHRtIjoiUE9TVCIsImh0dSI6Imh0dHBzOi8vc2VydmVyLmV4YW1wbGUuY29tL3Rva2VuIiwi"
    "aWF0IjoxNTYyMjYyNjE2fQ"
    ".2-GxA6T8lP4vfrg8v-FdWP0A0zdrj8igiMLvqRMUvwnQg4PtFLbdLXiOSsX0x7NVY-FNyJK70nfbV37xRZT3Lg"
)
RFC_PROOF_WITH_TOKEN = (
    RFC_HEAD
    + ".eyJqdGkiOiJlMWozVl9iS2ljOC1MQUVCIiwiaHRtIjoiR0VUIiwiaHR1IjoiaHR0cHM6Ly9yZXNvdXJjZS5leGFtcGxlLm9yZy9wcm90ZWN0"
    "ZWRyZXNvdXJjZSIsImlhdCI6MTU2MjI2MjYxOCwiYXRoIjoiZlVIeU8ycjJaM0RaNTNFc05yV0JiMHhXWG9hTnk1OUlpS0NBcWtzbVFFbyJ9"
    ".2oW9RP35yRqzhrtNP86L-Ey71EOptxRimPPToA1plemAgR6pxHF8y6-yqyVnmcw6Fy1dqd-jfxSYoMxhAJpLjA"
)
NONCE_WANTED = b'DPoP error="use_dpop_nonce", error_description="Resource server requires nonce in DPoP proof"'


@pytest.fixture(scope="module")
def key():
    return DpopKey.generate()


@pytest.fixture
def scheme(key):
    return DpopScheme(DpopKeys(key))


def sign(scheme, one=None, access_token="t0ken", at=WALL):
    return scheme.sign(one or request(), token(access_token), moment(at))


def claims(signed):
    return verified(dict(signed)[b"DPoP"])


def refusal(nonce=None, challenge=NONCE_WANTED, status=401, **more):
    fields = () if nonce is None else ((b"DPoP-Nonce", nonce),)
    return answer(status, challenge, fields=fields, **more)


def test_the_printed_proofs_of_rfc_9449_are_verified():
    """Sections 4.1 and 7.1: the verifier of these tests is a fair one."""
    assert verified(RFC_PROOF)["htu"] == "https://server.example.com/token"
    bound = verified(RFC_PROOF_WITH_TOKEN)
    assert bound["ath"] == token_hash(RFC_TOKEN)
    assert bound["jkt"] == "0ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4I"
    with pytest.raises(BadSignatureError):
        verified(RFC_PROOF[:-2] + "AA")


def test_the_token_hash_of_rfc_9449():
    """Section 7.1."""
    assert token_hash(RFC_TOKEN) == "fUHyO2r2Z3DZ53EsNrWBb0xWXoaNy59IiKCAqksmQEo"


@pytest.mark.parametrize("alg", ["ES256", "ES384", "EdDSA", "PS256"])
def test_a_proof_says_what_it_is_for_in_every_algorithm(alg):
    """D1."""
    key = DpopKey.generate(alg)
    read = verified(proof(key, "POST", "https://a.example/x", moment(WALL + 0.9), nonce="n", access_token=RFC_TOKEN))
    assert len(read.pop("jti")) == 32
    assert read == {
        "htm": "POST",
        "htu": "https://a.example/x",
        "iat": int(WALL),
        "nonce": "n",
        "ath": "fUHyO2r2Z3DZ53EsNrWBb0xWXoaNy59IiKCAqksmQEo",
        "jkt": key.thumbprint,
    }


def test_a_proof_holds_no_claim_that_there_is_no_value_for(key):
    read = verified(proof(key, "POST", "https://a.example/x", moment()))
    assert read.keys() == {"jti", "htm", "htu", "iat", "jkt"}


def test_an_attempt_carries_the_token_and_a_proof_bound_to_it(scheme, key):
    signed = sign(scheme, request(b"PATCH", "https://API.example:443/a%2Fb/../c;d?e=f"), RFC_TOKEN)
    assert [name for name, _ in signed] == [b"Authorization", b"DPoP"]
    assert signed[0][1] == b"DPoP " + RFC_TOKEN.encode()
    read = claims(signed)
    assert read["htm"] == "PATCH"
    assert read["htu"] == "https://api.example/a%2Fb/../c;d"
    assert read["ath"] == token_hash(RFC_TOKEN)
    assert read["jkt"] == key.thumbprint
    assert scheme.writes == (b"authorization", b"dpop")


def test_another_token_is_sent_with_its_own_hash(scheme):
    hashes = [claims(sign(scheme, access_token=one))["ath"] for one in ("a", "b", "a")]
    assert hashes == [token_hash("a"), token_hash("b"), token_hash("a")]


def test_a_token_is_proven_with_the_key_that_it_is_bound_to(key):
    keys = DpopKeys(key)
    scheme = DpopScheme(keys)
    keys.use(DpopKey.generate())
    bound = scheme.sign(request(), token(key_thumbprint=key.thumbprint), moment())
    assert claims(bound)["jkt"] == key.thumbprint
    assert claims(sign(scheme))["jkt"] == keys.current.thumbprint


def test_another_field_and_word_can_carry_the_token(key):
    scheme = DpopScheme(DpopKeys(key), header="X-Token", prefix="")
    assert sign(scheme)[0] == (b"X-Token", b"t0ken")
    assert scheme.writes == (b"x-token", b"dpop")


def test_the_verifiers_own_url_is_proven_where_one_is_configured(key):
    """D3."""
    scheme = DpopScheme(DpopKeys(key), htu_base="https://public.example/base/")
    one = Request(b"GET", "http", b"10.0.0.1", b"/v2/x?a=b", base_path=b"/v2")
    assert claims(sign(scheme, one))["htu"] == "https://public.example/base/x"
    with pytest.raises(ConfigurationError, match="htu_base"):
        DpopScheme(DpopKeys(key), htu_base="public.example")


def test_a_token_that_would_break_the_head_is_refused(scheme):
    with pytest.raises(CredentialRefused):
        sign(scheme, access_token="a\r\nb: c")


def test_no_two_of_ten_thousand_proofs_share_an_identifier(scheme):
    """D1 and D2."""
    identifiers = {getattr(claims_of(sign(scheme)), "jti", None) for _ in range(10_000)}
    assert len(identifiers) == 10_000


def test_the_nonce_of_any_answer_is_in_the_next_proof_for_that_origin(scheme):
    """D5."""
    one = request(url="https://api.example/a")
    assert "nonce" not in claims(sign(scheme, one))
    assert scheme.judge(one, refusal(b"n1", b"Bearer", status=200), sign(scheme, one)) is Verdict.PASS
    assert claims(sign(scheme, request(url="https://api.example:443/b")))["nonce"] == "n1"
    assert "nonce" not in claims(sign(scheme, request(url="https://other.example/a")))


def test_a_server_that_changes_its_nonce_with_every_answer_never_has_to_refuse(scheme):
    """D5."""
    for number in range(5):
        signed = sign(scheme)
        wanted = f"n{number}".encode()
        if number:
            assert claims(signed)["nonce"] == f"n{number - 1}"
        assert scheme.judge(request(), refusal(wanted, b"", status=200), signed) is Verdict.PASS


def test_a_wanted_nonce_is_worth_one_more_attempt_and_the_same_one_is_not(scheme):
    """D6."""
    first = sign(scheme)
    assert scheme.judge(request(), refusal(b"n1"), first) is Verdict.RESIGN
    second = sign(scheme)
    assert claims(second)["nonce"] == "n1"
    assert claims(second)["jti"] != claims(first)["jti"]
    assert scheme.judge(request(), refusal(b"n1"), second) is Verdict.PASS


def test_an_outdated_nonce_is_replaced(scheme):
    scheme.judge(request(), refusal(b"n1"), sign(scheme))
    assert scheme.judge(request(), refusal(b"n2"), sign(scheme)) is Verdict.RESIGN
    assert claims(sign(scheme))["nonce"] == "n2"


def test_an_attempt_is_repeated_although_another_one_learned_the_nonce_before(scheme):
    """D6."""
    attempts = [sign(scheme) for _ in range(3)]
    assert [scheme.judge(request(), refusal(b"n1"), signed) for signed in attempts] == [Verdict.RESIGN] * 3


def test_without_the_attempts_fields_a_nonce_counts_as_new(scheme):
    for _ in range(2):
        assert scheme.judge(request(), refusal(b"n1")) is Verdict.RESIGN


def test_a_wish_for_a_nonce_without_a_nonce_cannot_be_granted(scheme):
    assert scheme.judge(request(), refusal(), sign(scheme)) is Verdict.PASS


@pytest.mark.parametrize("status", [400, 401])
@pytest.mark.parametrize(
    ("challenge", "body"),
    [
        (NONCE_WANTED, b""),
        (b'Bearer realm="x", ' + NONCE_WANTED, b""),
        (b"Basic", b'{"error":"use_dpop_nonce"}'),
    ],
)
def test_both_shapes_of_the_wish_are_understood_from_either_status(scheme, status, challenge, body):
    """D4."""
    assert scheme.judge(request(), refusal(b"n1", challenge, status, body=body), sign(scheme)) is Verdict.RESIGN


@pytest.mark.parametrize(
    ("status", "challenge", "expected"),
    [
        (401, b'DPoP error="invalid_token", algs="ES256"', Verdict.RENEW),
        (401, b'DPoP algs="ES256"', Verdict.RENEW),
        (401, b'Bearer, DPoP error="invalid_token"', Verdict.RENEW),
        (401, b'Bearer error="insufficient_scope", DPoP error="invalid_token"', Verdict.RENEW),
        (401, b'Bearer error="invalid_token"', Verdict.RENEW),
        (401, b'DPoP error="insufficient_scope"', Verdict.PASS),
        (401, b'DPoP error="invalid_dpop_proof"', Verdict.PASS),
        (403, b'DPoP error="insufficient_scope"', Verdict.PASS),
        (400, b'DPoP error="invalid_request"', Verdict.PASS),
        (400, b'DPoP error="invalid_token"', Verdict.PASS),
        (500, NONCE_WANTED, Verdict.PASS),
    ],
)
def test_what_other_refusals_mean(scheme, status, challenge, expected):
    body = b"[not what it says"
    assert scheme.judge(request(), refusal(b"n1", challenge, status, body=body), sign(scheme)) is expected


def test_a_proof_refused_because_of_our_clock_is_made_again_with_the_servers_time(scheme):
    """D10."""
    date = (b"Date", formatdate(WALL + 900, usegmt=True).encode())
    late = answer(401, b'DPoP error="invalid_dpop_proof"', fields=(date,))
    assert scheme.judge(request(), late, sign(scheme)) is Verdict.RESIGN
    again = sign(scheme)
    assert claims(again)["iat"] == WALL + 900
    assert scheme.judge(request(), late, again) is Verdict.PASS


def test_a_refused_proof_whose_fields_are_not_known_is_judged_by_the_last_stamp(scheme):
    sign(scheme)
    date = (b"Date", formatdate(WALL + 900, usegmt=True).encode())
    late = answer(401, b'DPoP error="invalid_dpop_proof"', fields=(date,))
    assert scheme.judge(request(), late) is Verdict.RESIGN


def test_claims_are_read_back_only_where_there_is_a_proof(scheme):
    assert claims_of([(b"Authorization", b"x")]) is None
    assert isinstance(claims_of(sign(scheme)), Claims)


def test_the_target_stays_as_it_is(scheme):
    assert scheme.place(one := request(), token(), moment()) is one
