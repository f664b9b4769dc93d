"""A token from outside takes the place of the one that is held, unless something speaks against it when it is saved.

Several processes may take pushes for one record: what counts is what the store holds at that moment, not what this
process has seen of it.
"""

from __future__ import annotations

from collections.abc import Callable

from proxy.clock import Clock
from proxy.errors import GenerationMismatch, ProxyError
from proxy.model import Token
from proxy.tokens.edits import pushed, same
from proxy.tokens.grant_record import GrantRecord
from proxy.tokens.store.token_store import Grant
from proxy.tokens.stored_token import token_of
from proxy.tokens.token_response import TokenResponse

Refuse = Callable[[Token], None]
"""Looks at the token that would be replaced, and raises what speaks against it."""


async def look(record: GrantRecord, seen: Callable[[], None]) -> None:
    """Read the record anew, and tell `seen` if another process has changed it. Raises as `adopt` for the store."""
    known = record.grant
    await record.read()
    if record.grant is not known:
        seen()


async def adopt(
    record: GrantRecord,
    came: TokenResponse,
    clock: Clock,
    seen: Callable[[], None],
    *,
    if_match: int | None = None,
    refuse: Refuse | None = None,
) -> None:
    """Save in the record what came; the very same one changes nothing.

    `seen` is told of what another process saved, where that is why nothing came of it. Raises GenerationMismatch where
    `if_match` is not the generation held, what `refuse` raises, CredentialUnavailable where the store must keep the
    token and cannot.
    """

    def edit(grant: Grant) -> Grant:
        if if_match not in {None, grant.generation}:
            raise GenerationMismatch
        if refuse is not None and (held := token_of(grant, clock)) is not None:
            refuse(held)
        return grant if same(grant, came) else pushed(grant, came)

    known = record.grant
    try:
        await record.read()
        await record.change(edit)
        record.pushed = record.unsaved
    except ProxyError:
        if record.grant is not known:
            seen()
        raise
