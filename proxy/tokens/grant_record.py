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
from contextlib import AsyncExitStack, asynccontextmanager
from weakref import WeakValueDictionary

from msgspec import structs

from proxy.auth.dpop_key import DpopKey, DpopKeys
from proxy.clock import SystemClock
from proxy.errors import ConfigurationError, CredentialUnavailable
from proxy.tokens.audience import UNBOUND, Binding, holds_any, news_of, share_of
from proxy.tokens.edits import equal, merge_foreign
from proxy.tokens.issuer_errors import RenewedElsewhere
from proxy.tokens.saving_task import SavingTask
from proxy.tokens.store.token_store import Grant, LastingLease, Lease, LeaseTakenError, StoreError, TokenStore, never
from proxy.tokens.unsaved import UnsavedChanges

_TRIES = 8  # each conflict means that another process saved first; that many in a row mean a broken store

# The lock of each record, held while it is edited. It exists only while somebody holds it or waits for it.
_turns: WeakValueDictionary[GrantRecord, asyncio.Lock] = WeakValueDictionary()

_log = logging.getLogger("auth_sidecar.tokens")
_Unsaved = tuple[Grant, Grant, Grant, dict[str, Grant]]
"""What was held, what was to be saved, what the store held for certain before, what it may hold."""

_MOST_OTHERS, _ID_OCTETS = 8, 6
_MOST_SAVES = 32  # more than other processes make while ours fail


class GrantRecord:
    """The record of one credential, as far as it is for the audience that is configured.

    `keys`: the DPoP keys whose current one is kept in the record, None where the operator keeps it (or there is none).
    `unread`: nobody knows yet what the store holds. `pushed`: what is not saved came from outside. `cut_off`: only
    others may reach the store. `behind`: when (epoch seconds) it was last seen to lack what others may know.
    """

    __slots__ = (
        *("_binding", "_keys", "_name", "_ours", "_saving", "_seen", "_store", "_told", "_unclaimed", "_unwatch"),
        "_wall",
        *("behind", "cut_off", "grant", "pushed", "unread", "unsaved"),
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
        self.grant = Grant()
        self.unread, self.behind = True, -math.inf
        self.pushed = self.unsaved = self.cut_off = False
        self._name = name
        self._store = store
        self._keys = keys
        self._binding = binding
        self._wall = wall
        self._ours = UnsavedChanges()
        self._told = False
        self._unclaimed = False  # what is held came from version 0.1, and is not bound to our audience yet
        self._saving = SavingTask(name)
        self._seen: Callable[[], None] | None = None
        self._unwatch: Callable[[], None] | None = None

    def watch(self, seen: Callable[[], None]) -> None:
        """Follow what others save, until `unwatch`; `seen` is called when another process changed it.

        Also where an edit meets it first: the store does not tell of it then, because ours was saved over it.
        """

        def changed(stored: Grant | None) -> None:
            if stored is not None and not self._ours.wrote(stored) and self._take(stored):
                seen()
            if self.unsaved:
                self.save_again()
            elif self._is_behind(stored):
                self._saving.begin(self._put_back)

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
            self.behind = math.inf if self.unread and error.cut_off else self.behind
            self._fails(error)
            return
        if stored is not None:
            self._take(stored)
        elif self.behind == math.inf:  # it may have been emptied while it was out of reach
            self.behind = self._wall()
        self.unread = self.cut_off = False
        if self._is_behind(stored):
            await self._put_back()
        if stored is not None and stored.audience is None and self._binding.audience is not None:
            await self._bind(stored)

    async def change(self, edit: Callable[[Grant], Grant], *, came: bool = False) -> None:
        """Make an edit and save it; in memory alone while the store fails.

        Raises CredentialUnavailable where the program must not go on without the store, and whatever the edit raises.
        `came`: it is what an issuer gave, who will not give it again: it is held even then.
        """
        async with _turns.setdefault(self, asyncio.Lock()):
            for _ in range(_TRIES):
                unsaved = await self._changed(edit, came=came)
                if unsaved is None:
                    return
            if unsaved is not None:
                self._stand(*unsaved)
            _log.error("%s: its record keeps changing under our hands; the store is not to be relied on", self._name)

    async def _changed(self, edit: Callable[[Grant], Grant], *, came: bool) -> _Unsaved | None:
        """One try; what it could not save, where another process saved first."""
        held = self.grant
        edited = edit(held)
        if edited is held and not self.unsaved:
            return None
        if came and edited.refresh_token != held.refresh_token:
            self._ours.given = edited.refresh_token
        grant = self._next(held, edited)
        certain = self._ours.begin(grant)
        unsaved = held, grant, self._ours.base if self.unsaved else held, dict(self._ours.uncertain)
        try:
            saved = await self._store.save(self._name, grant)
            stored = None if saved else await self._store.load(self._name)
        except StoreError as error:
            if certain and error.unchanged:
                unsaved[-1].pop(grant.saves[-1], None)
            if error.degrade or came:
                self._stand(*unsaved)
            else:
                self._ours.uncertain.pop(grant.saves[-1], None)  # nobody holds it: should it be met, it is news
            self._fails(error)
            return None
        except BaseException:  # given up, or a defect: it may have happened all the same
            self._stand(*unsaved)
            raise
        self.cut_off = False
        if saved:
            self.grant, self.unsaved, self._unclaimed = grant, False, False
            self._ours.uncertain.clear()
            return None
        # else it was deleted in this instant, or the store has told of it in the meantime
        if stored is not None and self._take(stored) and self._seen is not None:
            self._seen()
        return unsaved

    def _next(self, held: Grant, edited: Grant) -> Grant:
        """What is to be saved: the edited grant with all that belongs to a record."""
        if len(edited.others) > _MOST_OTHERS:
            _log.warning("%s: its record holds grants of too many issuers; the oldest is dropped", self._name)
        again = edited is held and self._ours.wrote(held)
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
        self._ours.base, self._ours.uncertain = base, uncertain

    async def _bind(self, stored: Grant) -> None:
        """Save the audience in a record that names none: the next process to read it may be configured for another."""
        if self.grant.revision == stored.revision and not self.unsaved:
            self._ours.base, self.unsaved, self._unclaimed = self.grant, True, True
        await self.change(lambda grant: grant)

    def _is_behind(self, stored: Grant | None) -> bool:
        """Whether the store has lost what it held: it was emptied, or put back, or another server took its place."""
        held = self.grant
        return held.revision > (0 if stored is None else stored.revision) and not self.unsaved and holds_any(held)

    async def _put_back(self) -> None:
        """Save what the store has lost, as it was: whoever knows of a later one replaces it."""
        async with _turns.setdefault(self, asyncio.Lock()):
            held, self.behind = self.grant, self._wall()
            lost = structs.replace(self._next(held, held), revision=held.revision, saves=held.saves)
            try:
                if self.unsaved or await self._store.save(self._name, lost):
                    return
                stored = await self._store.load(self._name)
            except StoreError as error:
                self._fails(error)
                return
            if stored is not None and self._take(stored) and self._seen is not None:
                self._seen()

    @property
    def sole(self) -> bool:
        """Whether nobody else can have the refresh token that is held: an issuer gave it to us, and it is unsaved."""
        return self.unsaved and self._ours.alone_knows(self.grant.refresh_token)

    def save_again(self, then: Callable[[], None] | None = None) -> None:
        """Try once more to save what the store did not take, unless a try is under way; `then` is called at its end."""
        if self.unsaved:
            self._saving.begin(lambda: self.change(lambda grant: grant), then)

    async def saved(self, within: float = math.inf) -> None:
        """Wait for that try to end, for so many seconds at most."""
        await self._saving.ended(within)

    @asynccontextmanager
    async def alone(self, wait: float, needless: Callable[[], bool] = never) -> AsyncIterator[Lease]:
        """Hold the lease; where the store fails, go on without. Raises CredentialUnavailable for another's."""
        lease: Lease = LastingLease()
        async with AsyncExitStack() as stack:
            try:
                lease = await stack.enter_async_context(self._store.lease(self._name, wait, needless))
                self.cut_off = False
            except LeaseTakenError:
                raise RenewedElsewhere("Another process is renewing this token and has not ended") from None
            except StoreError as error:
                self._fails(error)
                lease = LastingLease(ours=not error.cut_off)
            yield lease

    def _fails(self, error: StoreError) -> None:
        self.cut_off = error.cut_off
        if not error.cut_off:  # else the store has told it once for all records
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
                known, self._ours.base, self._ours.uncertain, self.unsaved = self.unsaved, theirs, {}, True
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
        self.grant = self._ours.merged(held, theirs, pushed=self.pushed, unread=unread, now=self._wall())
        if not self._ours.wrote(theirs) and equal(self.grant, theirs):
            self.unsaved = False
            if not equal(held, theirs):
                _log.warning("%s: another process saved a record; what could not be saved here is dropped", self._name)
        self._ours.base, self._ours.uncertain = theirs, {}

    def _tell(self, theirs: Grant) -> None:
        """Log once that the record holds a grant for another audience."""
        if not self._told:
            self._told = True
            _log.log(*news_of(theirs), self._name)

    def _use_key(self, stored: Grant) -> None:
        if self._keys is not None and stored.key is not None:
            try:
                self._keys.use(DpopKey.load(stored.key))
            except ConfigurationError:
                _log.error("%s: the DPoP key in its record cannot be read", self._name)

    def _key(self, held: Grant) -> str | None:
        return held.key if self._keys is None else self._keys.current.pem()
