"""One credential's record: what is held now, and its saving. Every change is an edit of the newest record.

An edit is a function from the old `Grant` to the new one. It runs again when another process saved in the meantime, so
that a push there and a renewal here lose neither the pushed token nor the rotated refresh token. While the store
fails, the edit stands in memory and is saved once the store is back.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager

from msgspec import structs

from proxy.auth.dpop_key import DpopKey, DpopKeys
from proxy.errors import ConfigurationError, CredentialUnavailable
from proxy.model import Token
from proxy.tokens.store.store import Grant, LeaseTakenError, StoreError, TokenStore

_TRIES = 8
"""Each conflict means that another process got on; that many in a row mean a broken store."""

_log = logging.getLogger("auth_sidecar.tokens")


def planted(grant: Grant, seed: Token, mark: str) -> Grant:
    """Begin anew with a seed from the configuration; nothing of what was held outlives it but the key."""
    anew = Grant(
        revision=grant.revision,
        generation=grant.generation,
        refresh_token=seed.refresh_token,
        key=grant.key,
        seed=mark,
    )
    return _with_token(anew, seed) if seed.access_token else anew


def beside(held: Grant, stored: Grant) -> Grant:
    """Take only the refresh token from the record of a process that asks for something else (another scope, client).

    Both go on with their own access tokens: neither sends the other's, and neither renews because the other did.
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
        key_thumbprint=held.key_thumbprint,
        identity=held.identity,
    )


def mark_of(seed: Token) -> str:
    """A hash that tells seeds apart."""
    return hashlib.sha256(f"{seed.access_token}\0{seed.refresh_token or ''}".encode()).hexdigest()


def same(grant: Grant, token: Token) -> bool:
    """Whether a push brings nothing that is not held."""
    return (
        grant.access_token == token.access_token
        and grant.issued_at == token.issued_wall
        and token.refresh_token in {None, grant.refresh_token}
    )


def pushed(grant: Grant, token: Token) -> Grant:
    """Take a token from outside: it replaces ours, its refresh token only if it brought one."""
    grant = _with_token(grant, token)
    if token.refresh_token is None:
        return grant
    return structs.replace(grant, refresh_token=token.refresh_token, rotates=False, spending=False)


def spending(grant: Grant) -> Grant:
    """Note that the refresh token is about to be sent."""
    return grant if grant.spending else structs.replace(grant, spending=True)


def unspent(grant: Grant) -> Grant:
    """Note that it was not sent after all, or was answered without being used."""
    return structs.replace(grant, spending=False) if grant.spending else grant


def renewed(grant: Grant, asked_for: Grant, token: Token) -> Grant:
    """Take a renewal's token, for which `asked_for` was the state.

    If a push came in between, the pushed token stays; the refresh token that it did not bring is the renewal's.
    """
    ours = asked_for.refresh_token
    rotated = ours is not None and token.refresh_token is not None and token.refresh_token != ours
    if grant.refresh_token != ours:
        return grant if grant.generation != asked_for.generation else _with_token(grant, token)
    changed = structs.replace(
        grant, refresh_token=token.refresh_token or ours, rotates=grant.rotates or rotated, spending=False
    )
    return changed if grant.generation != asked_for.generation else _with_token(changed, token)


def _with_token(grant: Grant, token: Token) -> Grant:
    return structs.replace(
        grant,
        generation=grant.generation + 1,
        access_token=token.access_token,
        token_type=token.token_type,
        expires_at=token.expires_wall,
        issued_at=token.issued_wall,
        lifetime=token.lifetime,
        fields=token.fields,
        key_thumbprint=token.key_thumbprint,
    )


class Record:
    """The record of one credential. `seen` is called when another process changed it.

    `keys`: the DPoP keys whose current one is kept in the record, None where the operator keeps it (or there is none).
    `identity`: what is asked for, as a hash; None where everything is asked for by whoever shares the record.
    """

    __slots__ = (
        "_editing", "_identity", "_keys", "_name", "_own", "_seen", "_store", "_unwatch", "durable", "grant",
        "unsaved",
    )  # fmt: skip

    def __init__(
        self,
        name: str,
        store: TokenStore,
        seen: Callable[[], None],
        *,
        keys: DpopKeys | None = None,
        identity: str | None = None,
    ) -> None:
        self.grant = Grant()
        self.unsaved = False
        self.durable = store.durable
        self._name = name
        self._store = store
        self._seen = seen
        self._keys = keys
        self._identity = identity
        self._editing = asyncio.Lock()
        self._own: Grant | None = None
        self._unwatch: Callable[[], None] | None = None

    def watch(self) -> None:
        """Follow what others save, until `unwatch`."""
        self._unwatch = self._store.watch(self._name, self._changed_elsewhere)

    def unwatch(self) -> None:
        """Stop following."""
        if self._unwatch is not None:
            self._unwatch()
            self._unwatch = None

    async def read(self) -> None:
        """Look at the store. Raises CredentialUnavailable where the program must not go on without it."""
        try:
            stored = await self._store.load(self._name)
        except StoreError as error:
            self._fails(error)
        else:
            if stored is not None:
                self._take(stored)

    async def change(self, edit: Callable[[Grant], Grant]) -> None:
        """Make an edit and save it; in memory alone while the store fails.

        Raises CredentialUnavailable where the program must not go on without the store, and whatever the edit raises.
        """
        async with self._editing:
            for _ in range(_TRIES):
                held = self.grant
                edited = edit(held)
                if edited is held and not self.unsaved:
                    return
                grant = structs.replace(
                    edited, revision=held.revision + 1, key=self._key(held), identity=self._identity
                )
                self._own = grant
                try:
                    saved = await self._store.save(self._name, grant)
                    if not saved:
                        stored = await self._store.load(self._name)
                except StoreError as error:
                    self._fails(error)
                    self.grant, self.unsaved = structs.replace(grant, revision=held.revision), True
                    return
                if saved:
                    self.grant, self.unsaved = grant, False
                    return
                self._replace(stored or Grant())
            self.unsaved = True
            _log.error("%s: its record keeps changing under our hands; the store is not to be relied on", self._name)

    @asynccontextmanager
    async def alone(self, wait: float) -> AsyncIterator[None]:
        """Hold the lease. Raises CredentialUnavailable where another holds it for longer than `wait` seconds."""
        async with AsyncExitStack() as stack:
            try:
                await stack.enter_async_context(self._store.lease(self._name, wait))
            except LeaseTakenError:
                raise CredentialUnavailable("Another process is renewing this token and has not ended") from None
            except StoreError as error:
                self._fails(error)
            yield

    def _fails(self, error: StoreError) -> None:
        _log.error("%s: the token store fails: %s", self._name, error)
        if not error.degrade:
            raise CredentialUnavailable("The token store cannot be reached") from None

    def _changed_elsewhere(self, stored: Grant) -> None:
        if stored != self._own and self._take(stored):
            self._seen()

    def _take(self, stored: Grant) -> bool:
        """Whether it is newer than what is held."""
        if stored.revision <= self.grant.revision:
            return False
        self._replace(stored)
        return True

    def _replace(self, stored: Grant) -> None:
        if self.unsaved:
            _log.warning("%s: another process saved a record; what could not be saved here is dropped", self._name)
        foreign = self._identity is not None and stored.identity not in {None, self._identity}
        self.grant, self.unsaved = beside(self.grant, stored) if foreign else stored, False
        if self._keys is not None and stored.key is not None:
            try:
                self._keys.use(DpopKey.load(stored.key))
            except ConfigurationError:
                _log.error("%s: the DPoP key in its record cannot be read", self._name)

    def _key(self, held: Grant) -> str | None:
        return held.key if self._keys is None else self._keys.current.pem()
