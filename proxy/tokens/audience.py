"""Who may be sent what is kept of a credential.

A refresh token and the DPoP key that binds it belong to the server and the client that they were got from: their
audience. Where the configuration names another one, it begins with nothing; what was there before stays in the record,
unused, for when the configuration is put back, or for another process that is configured so. An access token belongs
besides to the request that it was got with (scope, resource …).
"""

from __future__ import annotations

import hashlib
import logging

from msgspec import Struct, structs

from proxy.tokens.edits import mark_of
from proxy.tokens.store.token_store import Grant
from proxy.tokens.token_response import TokenPair


class Binding(Struct, frozen=True):
    """Hashes of what is configured: who may receive the grant (`audience`), and what is asked for (`request`).

    None where everything may be used by whoever shares the record.
    """

    audience: str | None = None
    request: str | None = None


UNBOUND = Binding()


def audience(server: str, *rest: object) -> str:
    """An audience as it is kept: what begins alike is kept by the same server (`scheme://host:port`)."""
    return f"{_hash(server)[:12]}-{_hash(repr(rest))[:32]}"


def share_of(record: Grant, of: str | None) -> Grant:
    """A stored record as one audience may use it; all others' shares are in its `others`, the last used first.

    A record without an audience is one of version 0.1: it belongs to whoever reads it first.
    """
    if of is None or record.audience == of:
        return record
    if record.audience is None:
        return structs.replace(record, audience=of)
    newest = structs.replace(record, revision=0, saves=(), others=())
    others = tuple(grant for grant in (newest, *record.others) if grant.audience != of and holds_any(grant))
    ours = next((grant for grant in record.others if grant.audience == of), None)
    if ours is None:
        ours = Grant(audience=of, generation=record.generation)
    return structs.replace(ours, revision=record.revision, saves=record.saves, others=others)


def holds_any(grant: Grant) -> bool:
    """Whether there is anything to lose in it."""
    return bool(grant.access_token or grant.refresh_token or grant.fields)


def news_of(share: Grant) -> tuple[int, str]:
    """How a share of a record that holds others' too is told: level, and text with a place for the name."""
    if holds_any(share):
        return logging.INFO, "%s: goes on with what was kept of this issuer and client; others' is kept too"
    return logging.WARNING, (
        "%s: what is stored was got from another issuer or as another client than is configured now: it is kept for "
        "those, never sent to this one, which begins with what the configuration gives"
    )


def spent_elsewhere(seed: TokenPair, grant: Grant) -> bool:
    """Whether the server of this grant has replaced the seed's refresh token already, for another client or endpoint.

    It would take it for stolen if it came once more, and withdraw what it was replaced by.
    """
    return any(
        other.spent or (other.rotates and other.refresh_token != seed.refresh_token)
        for other in grant.others
        if _server(other) == _server(grant) and other.seed == mark_of(seed)
    )


def _server(grant: Grant) -> str:
    return (grant.audience or "").partition("-")[0]


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
