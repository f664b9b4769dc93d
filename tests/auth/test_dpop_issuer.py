"""DPoP at the authorization server."""

from __future__ import annotations

from email.utils import formatdate

import pytest
from multidict import CIMultiDict
from support.dpop import verified
from support.signing import WALL, moment

from proxy.auth.dpop_issuer import TokenEndpointProofs, answer_of
from proxy.auth.dpop_key import DpopKey, DpopKeys

TOKEN = "https://login.example/oauth2/token"


@pytest.fixture
def proofs():
    return TokenEndpointProofs(DpopKeys(DpopKey.generate()))


def test_a_proof_for_the_token_endpoint_hashes_no_token(proofs):
    read = verified(proofs.proof(TOKEN, moment()))
    assert len(read.pop("jti")) == 32
    assert read == {"htm": "POST", "htu": TOKEN, "iat": int(WALL), "jkt": proofs.keys.current.thumbprint}


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("https://user:secret@LOGIN.example:443/a%2Fb/../c;d?tenant=x#y", "https://login.example/a%2Fb/../c;d"),
        ("https://login.example", "https://login.example/"),
        ("http://[::1]:8080/token", "http://[::1]:8080/token"),
    ],
)
def test_the_uri_is_the_one_that_is_called_without_query_fragment_and_user_info(proofs, url, expected):
    """D3."""
    assert verified(proofs.proof(url, moment(), method="GET"))["htu"] == expected


def test_the_nonce_of_any_answer_is_in_the_next_proof(proofs):
    proofs.learn(TOKEN, answer_of(200, CIMultiDict({"dpop-nonce": "n1"})))
    assert verified(proofs.proof(TOKEN, moment()))["nonce"] == "n1"
    assert verified(proofs.proof("https://login.example/other", moment()))["nonce"] == "n1"
    assert "nonce" not in verified(proofs.proof("https://other.example/token", moment()))


def test_it_is_told_whether_an_answer_brought_another_nonce(proofs):
    """Whatever else the answer says."""
    refusals = [answer_of(400, {"DPoP-Nonce": nonce}) for nonce in ("n1", "n1", "n2")]
    assert [proofs.learn(TOKEN, refusal) for refusal in refusals] == [True, False, True]
    assert not proofs.learn(TOKEN, answer_of(401, {"Date": "x", "X-Odd": "\udcff"}))


def test_a_refused_time_is_mended_by_the_servers_date(proofs):
    """D10."""
    late = answer_of(400, {"Date": formatdate(WALL + 3600, usegmt=True)})
    proofs.proof(TOKEN, moment())
    assert proofs.time.mend(late, None)
    assert verified(proofs.proof(TOKEN, moment()))["iat"] == int(WALL + 3600)
    assert not proofs.time.mend(late, None)


def test_the_current_key_signs(proofs):
    newer = DpopKey.generate()
    proofs.keys.use(newer)
    assert verified(proofs.proof(TOKEN, moment()))["jkt"] == newer.thumbprint
