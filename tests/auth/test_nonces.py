"""The DPoP nonces that servers asked for."""

from __future__ import annotations

import pytest

from proxy.auth.nonces import Nonces

API = "https://api.example"


def test_the_latest_nonce_wins_and_only_another_one_is_a_change():
    nonces = Nonces()
    learned = [nonces.learn(API, [(b"dPoP-nOnce", value)]) for value in (b"n1", b"n1", b"n2")]
    assert learned == [True, False, True]
    assert nonces.of(API) == "n2"


def test_an_answer_without_a_nonce_changes_nothing():
    nonces = Nonces()
    nonces.learn(API, [(b"DPoP-Nonce", b"n1")])
    assert nonces.learn(API, [(b"Date", b"x"), (b"DPoP_Nonce", b"n2")]) is False
    assert nonces.of(API) == "n1"


def test_origins_do_not_share_nonces():
    """D7."""
    nonces = Nonces()
    nonces.learn(API, [(b"DPoP-Nonce", b"n1")])
    assert nonces.of("https://api.example:8443") is None


@pytest.mark.parametrize("value", [b"", b"a b", b'a"b', b"a\\b", b"caf\xe9", b"x" * 1025])
def test_what_is_no_nonce_is_not_sent_back(value):
    """RFC 9449 §8.1."""
    nonces = Nonces()
    assert nonces.learn(API, [(b"DPoP-Nonce", value)]) is False
    assert nonces.of(API) is None


def test_of_more_origins_than_fit_the_one_that_said_nothing_for_longest_is_forgotten():
    """D7."""
    nonces = Nonces()
    for number in range(100):
        nonces.learn(f"https://{number}.example", [(b"DPoP-Nonce", b"n")])
    nonces.learn("https://0.example", [(b"DPoP-Nonce", b"n")])
    nonces.learn(API, [(b"DPoP-Nonce", b"n")])
    assert nonces.of("https://0.example") == "n"
    assert nonces.of("https://1.example") is None
