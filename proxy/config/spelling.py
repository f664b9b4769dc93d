"""Suggestions for misspelt words."""

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
"""Names that other programs use, with ours."""


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
    """`did you mean …?`, or None if no known word is similar."""
    found = meant(misspelt, known)
    return f"did you mean `{found}`?" if found else None


def listed(words: Iterable[str]) -> str:
    """`a, b or c`."""
    *most, last = words
    return f"{', '.join(most)} or {last}" if most else last


def word(text: str) -> str:
    """A text of the file for a message: on one line, shortened if long."""
    clean = "".join(c if c.isprintable() else "?" for c in text[:80])
    return f"{clean[:60]}…" if len(text) > 60 else clean  # noqa: PLR2004 - half a line


def _flat(text: str) -> str:
    """A word without case and separators: `clientId` and `client-id` are `client_id`."""
    return text.lower().replace("-", "").replace("_", "").replace(" ", "")
