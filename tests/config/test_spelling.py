"""Did you mean."""

from __future__ import annotations

import pytest

from proxy.config.spelling import listed, meant, suggestion, word

KEYS = ("token_endpoint", "client_id", "client_secret", "match", "upstream", "scope", "type")


@pytest.mark.parametrize(
    ("misspelt", "key"),
    [
        ("token_endpont", "token_endpoint"),
        ("tokenEndpoint", "token_endpoint"),
        ("token-endpoint", "token_endpoint"),
        ("TOKEN_ENDPOINT", "token_endpoint"),
        ("token_url", "token_endpoint"),
        ("clientid", "client_id"),
        ("scopes", "scope"),
        ("url", "upstream"),
        ("path", "match"),
        ("typ", "type"),
        ("zzz", None),
        ("", None),
        ("x" * 10_000, None),
    ],
)
def test_a_misspelt_key_is_recognised(misspelt, key):
    assert meant(misspelt, KEYS) == key
    assert suggestion(misspelt, KEYS) == (f"did you mean `{key}`?" if key else None)


def test_words_in_a_row():
    assert [listed(words) for words in (["a"], ["a", "b"], ["a", "b", "c"])] == ["a", "a or b", "a, b or c"]


def test_a_word_of_the_file_stays_on_its_line():
    assert word("a\nb\x1b[1m") == "a?b?[1m"
    assert len(word("x" * 10_000)) == 61
