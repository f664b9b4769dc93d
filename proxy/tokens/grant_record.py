"""One credential's record: what is held now, and its saving. Every change is an edit of the newest record.

An edit (`edits.py`) runs again when another process saved in the meantime. While the store fails, it stands in memory
and is saved once the store is back.
"""

from __future__ import annotations

import asyncio
import logging
import math
import os
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from itertools import islice
from weakref import WeakValueDictionary

from msgspec import structs

from proxy.auth.dpop_key import DpopKey, DpopKeys
from proxy.clock import SystemClock
from proxy.defects import tell
from proxy.errors import ConfigurationError, CredentialUnavailable
from proxy.tokens.audience import UNBOUND, Binding, holds_any, share_of
from proxy.tokens.edits import equal, keep_pushed, merge_foreign, reconciled
from proxy.tokens.lifetime import dated_ahead
from proxy.tokens.store.token_store import Grant, LastingLease, Lease, LeaseTakenError, StoreError, TokenStore

_TRIES = 8
"""Each conflict means that another process saved first; that many in a row mean a broken store."""

_turns: WeakValueDictionary[GrantRecord, asyncio.Lock] = WeakValueDictionary()
"""The lock of each record, held while it is edited. It exists only while somebody holds it or waits for it."""

_log = logging.getLogger("auth_sidecar.tokens")


_NOTHING = Grant()
_MOST_OTHERS = 8
_MOST_SAVES = 32
"""How many ids of saves a record keeps: more than other processes make while ours fail."""
_MOST_UNCERTAIN = 64
_ID_OCTETS = 6


class GrantRecord:
    """The record of one credential, as far as it is for the audience that is configured.

    `keys`: the DPoP keys whose current one is kept in the record, None where the operator keeps it (or there is none).
    `unread`: nobody knows yet what the store holds. `pushed`: what is not saved came from outside.

    A save that failed may have happened all the same. Its id is remembered with what it saved: a record that has the id
    among its last ones is our own, or was made of it by another process.
    """

    __slots__ = (
        *("_base", "_binding", "_keys", "_name", "_saving", "_seen", "_store", "_told", "_uncertain"),
        *("_unclaimed", "_unwatch", "_wall"),
        *("grant", "pushed", "unread", "unsaved"),
    )

    def __init__(
        self,
        name: str,
        store: TokenStore,
        *,
        keys: DpopKeys | None = None,
        binding: Binding = UNBOUND,
        wall: Callable[[], float] = SystemClock.wall,
    ) -> None:
        self.grant = _NOTHING
        self.pushed = False
        self.unread = True
        self.unsaved = False
        self._name = name
        self._store = store
        self._keys = keys
        self._binding = binding
        self._wall = wall
        self._base = _NOTHING  # what the store held for certain when ours began to differ from it
        self._uncertain: dict[str, Grant] = {}
        self._told = False
        self._unclaimed = False  # what is held came from version 0.1, and is not bound to our audience yet
        self._saving: asyncio.Task[None] | None = None
        self._seen: Callable[[], None] | None = None
        self._unwatch: Callable[[], None] | None = None

    def watch(self, seen: Callable[[], None]) -> None:
        """Follow what others save, until `unwatch`; `seen` is called when another process changed it.

        Also where an edit meets it first: the store does not tell of it then, because ours was saved over it.
        """

        def changed(stored: Grant | None) -> None:
            if stored is None:
                return
            ours = stored.saves and stored.saves[-1] in self._uncertain
            if not ours and self._take(stored):
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
            if stored is not None and stored.audience is None and self._binding.audience is not None:
                await self._bind(stored)

    async def change(self, edit: Callable[[Grant], Grant], *, came: bool = False) -> None:
        """Make an edit and save it; in memory alone while the store fails.

        Raises CredentialUnavailable where the program must not go on without the store, and whatever the edit raises.
        `came`: it is what an issuer gave, who will not give it again: it is held even then.
        """
        turn = _turns.setdefault(self, asyncio.Lock())
        async with turn:
            for _ in range(_TRIES):
                held = self.grant
                edited = edit(held)
                if edited is held and not self.unsaved:
                    return
                grant = self._next(held, edited)
                save = grant.saves[-1]
                self._uncertain[save] = grant
                if (
                    len(self._uncertain) > _MOST_UNCERTAIN
                ):  # the first may be what the store still holds, for all we know
                    del self._uncertain[next(islice(self._uncertain, 1, None))]
                before = self._base if self.unsaved else held, dict(self._uncertain)
                try:
                    saved = await self._store.save(self._name, grant)
                    if not saved:
                        stored = await self._store.load(self._name)
                except StoreError as error:
                    if error.degrade or came:
                        self._stand(held, grant, *before)
                    else:
                        self._uncertain.pop(save, None)  # nobody holds it: should it be met, it is news
                    self._fails(error)
                    return
                except BaseException:  # given up, or a defect: it may have happened all the same
                    self._stand(held, grant, *before)
                    raise
                if saved:
                    self.grant, self.unsaved, self._unclaimed = grant, False, False
                    self._uncertain.clear()
                    return
                # else it was deleted in this instant, or the store has told of it in the meantime
                if stored is not None and self._take(stored) and self._seen is not None:
                    self._seen()
            self._stand(held, grant, *before)
            _log.error("%s: its record keeps changing under our hands; the store is not to be relied on", self._name)

    def _next(self, held: Grant, edited: Grant) -> Grant:
        """What is to be saved: the edited grant with all that belongs to a record."""
        if len(edited.others) > _MOST_OTHERS:
            _log.warning(
                "%s: its record holds grants of too many issuers and clients; the oldest is dropped", self._name
            )
        again = edited is held and held.saves and held.saves[-1] in self._uncertain
        return structs.replace(
            edited,
            revision=held.revision + 1,
            key=self._key(held),
            audience=self._binding.audience,
            request=self._binding.request,
            others=edited.others[:_MOST_OTHERS],
            saves=held.saves if again else (*held.saves, os.urandom(_ID_OCTETS).hex())[-_MOST_SAVES:],
        )

    def _stand(self, held: Grant, grant: Grant, base: Grant, uncertain: dict[str, Grant]) -> None:
        """Hold what was not saved, as far as anybody knows, instead of `held`."""
        self.grant, self.unsaved = structs.replace(grant, revision=held.revision), True
        self._base, self._uncertain = base, uncertain

    async def _bind(self, stored: Grant) -> None:
        """Save the audience in a record that names none: the next process to read it may be configured for another."""
        if self.grant.revision == stored.revision and not self.unsaved:
            self._base, self.unsaved, self._unclaimed = self.grant, True, True
        await self.change(lambda grant: grant)

    def save_again(self, then: Callable[[], None]) -> None:
        """Try once more to save what the store did not take, unless a try is under way; `then` is called at its end."""
        if self.unsaved and self._saving is None:
            self._saving = asyncio.create_task(self._save(then), name=f"save {self._name}")

    async def saved(self, within: float = math.inf) -> None:
        """Wait for that try to end, for so many seconds at most."""
        if self._saving is not None:
            await asyncio.wait((self._saving,), timeout=within if within < math.inf else None)

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
    async def alone(self, wait: float) -> AsyncIterator[Lease]:
        """Hold the lease; where the store fails, go on without one.

        Raises CredentialUnavailable where another holds it for longer than `wait` seconds.
        """
        async with AsyncExitStack() as stack:
            lease: Lease = LastingLease()
            try:
                lease = await stack.enter_async_context(self._store.lease(self._name, wait))
            except LeaseTakenError:
                raise CredentialUnavailable("Another process is renewing this token and has not ended") from None
            except StoreError as error:
                self._fails(error)
            yield lease

    def _fails(self, error: StoreError) -> None:
        _log.error("%s: the token store fails: %s", self._name, error)
        if not error.degrade:
            raise CredentialUnavailable("The token store cannot be reached") from None

    def _take(self, stored: Grant) -> bool:
        """Go on from a record that is newer than what is held. Whether this changes what is held."""
        held, unread = self.grant, self.unread
        if stored.revision <= held.revision:
            return False
        self.unread = False
        theirs = share_of(stored, self._binding.audience)
        if stored.audience not in {None, theirs.audience}:
            self._tell(theirs)
            if self._unclaimed:  # somebody else has bound it first
                self.unsaved = False
            elif holds_any(held) and not holds_any(theirs):  # it was deleted, and another audience began it anew
                known, self._base, self._uncertain, self.unsaved = self.unsaved, theirs, {}, True
                self.grant = structs.replace(held, revision=theirs.revision, others=theirs.others, saves=theirs.saves)
                return not known
        if self._binding.request is not None and theirs.request not in {None, self._binding.request}:
            theirs = merge_foreign(held, theirs)
        self.grant = theirs
        if self.unsaved:
            self._merge(held, theirs, unread=unread)
        self._use_key(self.grant)
        return not equal(self.grant, held) and (holds_any(held) or holds_any(self.grant))

    def _merge(self, held: Grant, theirs: Grant, *, unread: bool) -> None:
        """Bring what is held and could not be saved together with what another process saved."""
        made_of = next((self._uncertain[save] for save in reversed(theirs.saves) if save in self._uncertain), None)
        issued = -math.inf if dated_ahead(theirs.issued_at, self._wall()) else theirs.issued_at
        if made_of is None and unread and self.pushed and held.issued_at >= issued:
            self.grant = keep_pushed(held, theirs)
        else:
            newer = self.pushed and held.issued_at > issued
            base = made_of or self._base
            replaced = {grant.refresh_token for grant in (self._base, *self._uncertain.values())}
            self.grant = reconciled(base, held, theirs, replaced=replaced, ours_is_newer=newer)
        ours = theirs.saves and theirs.saves[-1] in self._uncertain
        if not ours and equal(self.grant, theirs):
            self.unsaved = False
            if not equal(held, theirs):
                _log.warning("%s: another process saved a record; what could not be saved here is dropped", self._name)
        self._base, self._uncertain = theirs, {}

    def _tell(self, theirs: Grant) -> None:
        """Log once that the record holds a grant for another audience."""
        if self._told:
            return
        self._told = True
        if holds_any(theirs):
            _log.info("%s: goes on with what was kept of this issuer and client; others' is kept too", self._name)
            return
        _log.warning(
            "%s: what is stored was got from another issuer or as another client than is configured now: it is kept "
            "for those, never sent to this one, which begins with what the configuration gives",
            self._name,
        )

    def _use_key(self, stored: Grant) -> None:
        if self._keys is not None and stored.key is not None:
            try:
                self._keys.use(DpopKey.load(stored.key))
            except ConfigurationError:
                _log.error("%s: the DPoP key in its record cannot be read", self._name)

    def _key(self, held: Grant) -> str | None:
        return held.key if self._keys is None else self._keys.current.pem()
