"""Did you mean: what a misspelt word was meant to be."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

_ELSEWHERE = {
    "url": "upstream",
    "target": "upstream",
    "backend": "upstream",
    "path": "match",
    "prefix": "match",
    "scopes": "scope",
    "token_url": "token_endpoint",
    "token_uri": "token_endpoint",
    "access_token_url": "token_endpoint",
    "auth": "credential",
    "resources": "resource",
    "port": "listen",
    "address": "listen",
    "auth_method": "token_endpoint_auth_method",
    "secret": "client_secret",
    "hosts": "allowed_hosts",
}
"""What other programs call it."""


def meant(word: str, known: Iterable[str]) -> str | None:
    """The known word that was probably meant."""
    known = list(known)
    flat = {_flat(k): k for k in known}
    if _flat(word) in flat:
        return flat[_flat(word)]
    if _ELSEWHERE.get(word.lower()) in known:
        return _ELSEWHERE[word.lower()]
    close = difflib.get_close_matches(_flat(word)[:80], flat, n=1, cutoff=0.7)
    return flat[close[0]] if close else None


def suggestion(word: str, known: Iterable[str]) -> str | None:
    """`did you mean …?`, or None where nothing comes close."""
    found = meant(word, known)
    return f"did you mean `{found}`?" if found else None


def listed(words: Iterable[str]) -> str:
    """`a, b or c`."""
    *most, last = words
    return f"{', '.join(most)} or {last}" if most else last


def _flat(word: str) -> str:
    """Words are the same in any case, in camelCase, and with any separator."""
    return word.lower().replace("-", "").replace("_", "").replace(" ", "")
