"""What can happen to a credential's record: functions from the old `Grant` to the new one. Pure.

Each may run again over what another process saved in the meantime, so that a push there and a renewal here lose
neither the pushed token nor the rotated refresh token.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection

from msgspec import structs

from proxy.model import Token
from proxy.tokens.store.token_store import Grant
from proxy.tokens.token_response import TokenPair, TokenResponse


def apply_seed(grant: Grant, seed: TokenPair, mark: str) -> Grant:
    """Begin anew with a seed from the configuration; nothing of what was held outlives it but the key."""
    anew = Grant(
        revision=grant.revision,
        generation=grant.generation,
        refresh_token=seed.refresh_token,
        key=grant.key,
        seed=mark,
        audience=grant.audience,
        others=grant.others,
        saves=grant.saves,
    )
    return anew if seed.access is None else _with_token(anew, seed.access)


def merge_foreign(held: Grant, stored: Grant) -> Grant:
    """Take only the refresh token from the record of a process that asks for something else (another scope, client).

    Each process keeps its own access token and its own times of renewal; they share only the refresh token.
    """
    return structs.replace(
        stored,
        generation=held.generation or stored.generation,
        access_token=held.access_token,
        token_type=held.token_type,
        expires_at=held.expires_at,
        issued_at=held.issued_at,
        lifetime=held.lifetime,
        fields=held.fields,
        kept=held.kept,
        key_thumbprint=held.key_thumbprint,
        request=held.request,
    )


def keep_pushed(held: Grant, stored: Grant) -> Grant:
    """Keep what came from outside while the record could not be read: its token, and a refresh token that came with it.

    The seed that the record began with stays known, or that would take its place.
    """
    generation = max(held.generation, stored.generation) + 1
    if held.refresh_token is None:
        return structs.replace(merge_foreign(held, stored), generation=generation)
    return structs.replace(
        held,
        revision=stored.revision,
        generation=generation,
        seed=stored.seed,
        others=stored.others,
        saves=stored.saves,
    )


def reconciled(
    base: Grant,
    ours: Grant,
    theirs: Grant,
    *,
    replaced: Collection[str | None] = (),
    ours_is_newer: bool = False,
) -> Grant:
    """Bring together what could not be saved here and what another process saved, both made of `base`.

    The access token and the refresh token each are ours where theirs is still that of `base`, else theirs: what was
    rotated here is not lost because a token was pushed there. `replaced`: refresh tokens that ours came after, wherever
    they are met. `ours_is_newer`: our access token wins in any case.
    """
    result = theirs
    if (unchanged := _access(theirs) == _access(base)) or ours_is_newer:
        generation = max(ours.generation, theirs.generation + (not unchanged))
        result = structs.replace(merge_foreign(ours, theirs), generation=generation)
    of_base, of_ours, of_theirs = ((grant.refresh_token, grant.seed) for grant in (base, ours, theirs))
    if of_base == of_ours == of_theirs:
        known = {name: _either(getattr(base, name), getattr(ours, name), getattr(theirs, name)) for name in _HABITS}
        return structs.replace(result, **known)
    outdated = theirs.seed == ours.seed and theirs.refresh_token in replaced and of_theirs != of_ours
    if of_theirs != of_base and not outdated:
        return result
    return structs.replace(
        result,
        refresh_token=ours.refresh_token,
        seed=ours.seed,
        key=ours.key,
        **{name: getattr(ours, name) for name in _HABITS},
    )


_HABITS = ("rotates", "reusable", "spending", "spent")
"""What is known of a refresh token."""


def _either(base: bool, ours: bool, theirs: bool) -> bool:  # noqa: FBT001 - three of a kind
    return ours if theirs == base else theirs


def _access(grant: Grant) -> tuple[object, ...]:
    return grant.generation, grant.access_token, grant.fields, grant.expires_at


def equal(one: Grant, other: Grant) -> bool:
    """Whether two hold the same, whenever they were saved."""
    bare = {"revision": 0, "saves": (), "others": (), "key": None}
    return structs.replace(one, **bare) == structs.replace(other, **bare)


def mark_of(seed: TokenPair) -> str:
    """A hash that tells seeds apart."""
    access_token = seed.access.access_token if seed.access else ""
    return hashlib.sha256(f"{access_token}\0{seed.refresh_token or ''}".encode()).hexdigest()


def same(grant: Grant, came: TokenResponse) -> bool:
    """Whether a push brings nothing that is not held."""
    return (
        grant.access_token == came.token.access_token
        and grant.issued_at == came.token.issued_wall
        and came.refresh_token in {None, grant.refresh_token}
    )


def pushed(grant: Grant, came: TokenResponse) -> Grant:
    """Take a token from outside: it replaces ours, its refresh token only if it brought one."""
    grant = _with_token(grant, came.token)
    if came.refresh_token is None:
        return grant
    return structs.replace(
        grant, refresh_token=came.refresh_token, rotates=False, reusable=False, spending=False, spent=False
    )


def mark_sent(grant: Grant, asked_for: Grant) -> Grant:
    """Note that the refresh token is about to be sent. One that took its place meanwhile is not sent."""
    return (
        grant if grant.spending or not _same_refresh_token(grant, asked_for) else structs.replace(grant, spending=True)
    )


def clear_sent(grant: Grant, asked_for: Grant) -> Grant:
    """Note that it was not sent after all, or was answered without being used."""
    return structs.replace(grant, spending=False) if grant.spending and _same_refresh_token(grant, asked_for) else grant


def spent(grant: Grant, asked_for: Grant) -> Grant:
    """Note that the issuer took the refresh token, and that what it gave for it could not be read.

    One that the issuer has left in use before is still good.
    """
    if grant.refresh_token != asked_for.refresh_token:
        return grant
    return structs.replace(grant, spending=False) if grant.reusable else structs.replace(grant, spent=True)


def renewed(grant: Grant, asked_for: Grant, came: TokenResponse) -> Grant:
    """Take what a renewal brought, for which `asked_for` was the state.

    If a push came in between, the pushed token stays; the refresh token that it did not bring is the renewal's.
    """
    ours = asked_for.refresh_token
    rotated = ours is not None and came.refresh_token is not None and came.refresh_token != ours
    if grant.refresh_token != ours:
        return grant if grant.generation != asked_for.generation else _with_token(grant, came.token)
    changed = structs.replace(
        grant,
        refresh_token=came.refresh_token or ours,
        rotates=grant.rotates or rotated,
        reusable=ours is not None and not rotated,
        spending=False,
        spent=False,
    )
    return changed if grant.generation != asked_for.generation else _with_token(changed, came.token)


def begun_anew(grant: Grant, asked_for: Grant, came: TokenResponse) -> Grant:
    """Take what the configured grant brought instead of the refresh token, which has proved worthless."""
    if grant.generation != asked_for.generation:
        return grant
    without = structs.replace(asked_for, refresh_token=None)
    anew = renewed(structs.replace(grant, refresh_token=None), without, came)
    return structs.replace(anew, spending=False, spent=False)


def rotated(grant: Grant, asked_for: Grant, refresh_token: str) -> Grant:
    """Take the refresh token of a renewal that brought no token to send: ours is spent."""
    if grant.refresh_token != asked_for.refresh_token:
        return grant
    rotates = grant.rotates or refresh_token != asked_for.refresh_token
    return structs.replace(grant, refresh_token=refresh_token, rotates=rotates, spending=False, spent=False)


def _same_refresh_token(grant: Grant, asked_for: Grant) -> bool:
    return grant.refresh_token == asked_for.refresh_token


def _with_token(grant: Grant, token: Token) -> Grant:
    return structs.replace(
        grant,
        generation=grant.generation + 1,
        access_token=token.access_token,
        token_type=token.token_type,
        expires_at=token.expires_wall,
        issued_at=token.issued_wall,
        lifetime=float(token.lifetime),  # a configured duration is more than a number, and cannot be stored
        fields=token.fields,
        kept=tuple(sorted({**dict(grant.kept), **dict(token.kept)}.items())),  # a refresh may say less than what began
        key_thumbprint=token.key_thumbprint,
    )
