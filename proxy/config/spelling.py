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


def meant(misspelt: str, known: Iterable[str]) -> str | None:
    """The known word that was probably meant."""
    known = list(known)
    flat = {_flat(k): k for k in known}
    if _flat(misspelt) in flat:
        return flat[_flat(misspelt)]
    if _ELSEWHERE.get(misspelt.lower()) in known:
        return _ELSEWHERE[misspelt.lower()]
    close = difflib.get_close_matches(_flat(misspelt)[:80], flat, n=1, cutoff=0.65)
    return flat[close[0]] if close else None


def suggestion(misspelt: str, known: Iterable[str]) -> str | None:
    """`did you mean …?`, or None where nothing comes close."""
    found = meant(misspelt, known)
    return f"did you mean `{found}`?" if found else None


def listed(words: Iterable[str]) -> str:
    """`a, b or c`."""
    *most, last = words
    return f"{', '.join(most)} or {last}" if most else last


def word(text: str) -> str:
    """A word of the file as messages have it: on one line, and not too long."""
    clean = "".join(c if c.isprintable() else "?" for c in text[:80])
    return f"{clean[:60]}…" if len(text) > 60 else clean  # noqa: PLR2004 - half a line


def _flat(text: str) -> str:
    """Words are the same in any case, in camelCase, and with any separator."""
    return text.lower().replace("-", "").replace("_", "").replace(" ", "")
