"""A record's access token on the clocks of this process, and as the data path gets it. No I/O."""

from __future__ import annotations

import enum

from msgspec import structs

from proxy.auth.dpop_key import DpopKeys
from proxy.clock import Clock
from proxy.model import Token
from proxy.tokens.store.token_store import Grant


class FromStore(enum.Enum):
    """Stands in the place of a token that a source gave: the record's was read from the store."""

    FROM_STORE = 0


FROM_STORE = FromStore.FROM_STORE


def token_of(grant: Grant, clock: Clock) -> Token | None:
    """The record's access token on the clocks of this process; None where it holds none.

    It was issued now at the latest, and has no more than its lifetime left: a record that is dated ahead was written
    under a wrong clock, and its age is not known.
    """
    if not grant.access_token and not grant.fields:
        return None
    elapsed = clock.elapsed()
    offset = elapsed - clock.wall()
    return Token(
        access_token=grant.access_token or "",
        token_type=grant.token_type,
        expires_wall=grant.expires_at,
        expires_elapsed=None if grant.expires_at is None else min(grant.expires_at + offset, elapsed + grant.lifetime),
        lifetime=grant.lifetime,
        issued_wall=grant.issued_at,
        issued_elapsed=min(grant.issued_at + offset, elapsed),
        generation=grant.generation,
        key_thumbprint=grant.key_thumbprint,
        fields=grant.fields,
        kept=grant.kept,
    )


def held_token(grant: Grant, clock: Clock, came: Token | FromStore, keys: DpopKeys | None) -> Token | None:
    """The record's token as the data path gets it: exactly as it came, if it is that one.

    None where it is bound to a key that is not among ours: nobody could prove to hold that.
    """
    token = token_of(grant, clock)
    if token is not None and isinstance(came, Token) and came.access_token == token.access_token:
        token = structs.replace(came, generation=token.generation, kept=token.kept)
    return None if token is None or (keys is not None and not keys.has(token)) else token
