"""One credential's record: what is held now, and its saving. Every change is an edit of the newest record.

An edit (`edits.py`) runs again when another process saved in the meantime. While the store fails, it stands in memory
and is saved once the store is back.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from weakref import WeakValueDictionary

from msgspec import structs

from proxy.auth.dpop_key import DpopKey, DpopKeys
from proxy.defects import tell
from proxy.errors import ConfigurationError, CredentialUnavailable
from proxy.tokens.edits import ahead, beside
from proxy.tokens.store.store import Grant, LeaseTakenError, StoreError, TokenStore

_TRIES = 8
"""Each conflict means that another process got on; that many in a row mean a broken store."""

_turns: WeakValueDictionary[Record, asyncio.Lock] = WeakValueDictionary()
"""Whose turn it is to edit a record. A lock is there only while somebody holds it or waits for it."""

_log = logging.getLogger("auth_sidecar.tokens")


_NOTHING = Grant()


class Record:
    """The record of one credential.

    `keys`: the DPoP keys whose current one is kept in the record, None where the operator keeps it (or there is none).
    `identity`: what is asked for, as a hash; None where everything is asked for by whoever shares the record.
    `unread`: nobody knows yet what the store holds. `pushed`: what is not saved came from outside.
    """

    __slots__ = (
        *("_identity", "_keys", "_name", "_own", "_saving", "_seen", "_store", "_unwatch"),
        *("grant", "pushed", "unread", "unsaved"),
    )

    def __init__(
        self,
        name: str,
        store: TokenStore,
        *,
        keys: DpopKeys | None = None,
        identity: str | None = None,
    ) -> None:
        self.grant = _NOTHING
        self.pushed = False
        self.unread = True
        self.unsaved = False
        self._name = name
        self._store = store
        self._keys = keys
        self._identity = identity
        self._saving: asyncio.Task[None] | None = None
        self._own: Grant | None = None
        self._seen: Callable[[], None] | None = None
        self._unwatch: Callable[[], None] | None = None

    def watch(self, seen: Callable[[], None]) -> None:
        """Follow what others save, until `unwatch`; `seen` is called when another process changed it.

        Also where an edit meets it first: the store does not tell of it then, because ours was saved over it.
        """

        def changed(stored: Grant) -> None:
            if stored != self._own and self._take(stored):
                seen()

        self._seen = seen
        self._unwatch = self._store.watch(self._name, changed)

    def unwatch(self) -> None:
        """Stop following."""
        if self._unwatch is not None:
            self._unwatch()
            self._unwatch = self._seen = None

    async def read(self) -> None:
        """Look at the store. Raises CredentialUnavailable where the program must not go on without it."""
        try:
            stored = await self._store.load(self._name)
        except StoreError as error:
            self._fails(error)
        else:
            if stored is not None:
                self._take(stored)
            self.unread = False

    async def change(self, edit: Callable[[Grant], Grant]) -> None:
        """Make an edit and save it; in memory alone while the store fails.

        Raises CredentialUnavailable where the program must not go on without the store, and whatever the edit raises.
        """
        turn = _turns.setdefault(self, asyncio.Lock())
        async with turn:
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
                # else it was deleted in this instant, or the store has told of it in the meantime
                if stored is not None and self._take(stored) and self._seen is not None:
                    self._seen()
            self.unsaved = True
            _log.error("%s: its record keeps changing under our hands; the store is not to be relied on", self._name)

    def save_again(self, then: Callable[[], None]) -> None:
        """Try once more to save what the store did not take, if that is not being tried; `then` is told of the end."""
        if self.unsaved and self._saving is None:
            self._saving = asyncio.create_task(self._save(then), name=f"save {self._name}")

    async def saved(self) -> None:
        """Wait for such a try."""
        if self._saving is not None:
            await asyncio.wait((self._saving,))

    async def _save(self, then: Callable[[], None]) -> None:
        try:
            with suppress(CredentialUnavailable):
                await self.change(lambda grant: grant)
        except Exception as error:  # noqa: BLE001 - the next try is due whatever became of this one
            tell(_log, f"while saving {self._name}", error)
        finally:
            self._saving = None
        then()

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

    def _take(self, stored: Grant) -> bool:
        """Whether it is newer than what is held."""
        if stored.revision <= self.grant.revision:
            return False
        self._replace(stored)
        return True

    def _replace(self, stored: Grant) -> None:
        unread, self.unread = self.unread, False
        held = self.grant
        if unread and self.unsaved and self.pushed and held.issued_at >= stored.issued_at:
            self.grant = ahead(held, stored)
            if held.refresh_token is None:
                self._use_key(stored)
            return
        if self.unsaved:
            _log.warning("%s: another process saved a record; what could not be saved here is dropped", self._name)
        foreign = self._identity is not None and stored.identity not in {None, self._identity}
        self.grant, self.unsaved = beside(held, stored) if foreign else stored, False
        self._use_key(stored)

    def _use_key(self, stored: Grant) -> None:
        if self._keys is not None and stored.key is not None:
            try:
                self._keys.use(DpopKey.load(stored.key))
            except ConfigurationError:
                _log.error("%s: the DPoP key in its record cannot be read", self._name)

    def _key(self, held: Grant) -> str | None:
        return held.key if self._keys is None else self._keys.current.pem()
