"""Records in Redis or Valkey, for replicas on several machines. `redis_scripts.py` says what is kept under which key.

Correctness is the compare-and-set of a record by its revision; the lease only spares the issuer requests. A record that
cannot be opened is never overwritten: each failure names its key and what mends it. Redis is asked when something is
renewed, pushed or announced, never when a token at hand is sent.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager

import msgspec

from proxy.background import Background
from proxy.clock import Clock
from proxy.defects import tell
from proxy.tokens.store.envelope import Envelope, EnvelopeError, revision_outside
from proxy.tokens.store.redis_lease import redis_lease
from proxy.tokens.store.redis_notices import RedisNotices
from proxy.tokens.store.redis_operations import RedisOperations
from proxy.tokens.store.redis_scripts import SAVE, Notice, RedisKeys
from proxy.tokens.store.redis_trial import try_redis
from proxy.tokens.store.token_store import Grant, Lease, StoreError, never

_log = logging.getLogger("auth_sidecar.store")

_TRIES = 4
"""Each one means that another process saved between a look and a save; then the one who saves decides what to do."""
_LONGEST_RECORD = 1024 * 1024
_SENDER_OCTETS = 6


class RedisTokenStore:
    """One Redis, as far as its keys begin with our prefix. `lease`: its length in seconds."""

    type = "redis"
    durable = True

    def __init__(
        self, operations: RedisOperations, keys: RedisKeys, envelope: Envelope, clock: Clock, *, lease: float
    ) -> None:
        self._operations = operations
        self._failures = operations.failures
        self._keys = keys
        self._envelope = envelope
        self._clock = clock
        self._lease_length = lease
        self._sender = clock.octets(_SENDER_OCTETS).hex()
        self._opened: dict[str, tuple[int, str]] = {}
        self._watchers: dict[str, list[Callable[[Grant | None], None]]] = {}
        self._background = Background()
        self._notices = RedisNotices(
            operations, keys.channel, clock, began=self._look_at_all, changed=self._look_because
        )

    @property
    def errors(self) -> int:
        """How many operations have failed."""
        return self._failures.errors

    @property
    def last_error(self) -> str | None:
        """What fails now."""
        return self._failures.last

    @property
    def essential(self) -> bool:
        """As `on_unavailable` says."""
        return not self._operations.degrade

    async def trial(self) -> list[str]:
        """Try all that is asked of Redis; what does not work, in sentences."""
        return await try_redis(self._operations, self._keys, self._clock)

    def seal_with(self, envelope: Envelope) -> None:
        """Use these keys from now on. What could not be opened until now is looked at again."""
        if envelope.marks != self._envelope.marks:
            self._envelope = envelope
            self._opened.clear()
            self._background.spawn(self._look_again())
            _log.info("the store's keys have changed: %s", ", ".join(envelope.marks))

    async def load(self, name: str) -> Grant | None:
        """The record of `name`. Raises StoreError where Redis cannot be reached, or the record not be understood."""
        key = self._keys.record(name)
        try:
            stored = await self._operations.run("read", "GET", key)
        except StoreError as error:
            raise self._told(name, error) from None
        if stored is None:
            self._opened.pop(name, None)
            self._failures.worked(name)
            return None
        return self._open(name, stored)

    async def save(self, name: str, grant: Grant) -> bool:
        """Replace the record unless another process did. Raises StoreError."""
        key = self._keys.record(name)
        sealed = self._envelope.seal(msgspec.json.encode(grant), key, grant.revision)
        notice = Notice(self._sender, grant.revision, name).encoded()
        for _ in range(_TRIES):
            known = self._opened.get(name, (0, ""))[1]
            arguments = (grant.revision, sealed.decode(), known, self._keys.channel, notice)
            try:
                said, *stored = await self._operations.run("write", "EVAL", SAVE, 1, key, *arguments)
            except StoreError as error:
                raise self._told(name, error) from None
            if said == b"saved":
                self._opened[name] = grant.revision, _digest(sealed)
                self._failures.worked(name)
                return True
            self._open(name, stored[0])
            if said == b"later":
                return False
        return False

    def lease(self, name: str, wait: float, needless: Callable[[], bool] = never) -> AbstractAsyncContextManager[Lease]:
        """Be the only one among all that share this Redis. Raises LeaseTakenError, StoreError."""
        key = self._keys.lease(name)
        return redis_lease(self._operations, key, self._clock, length=self._lease_length, wait=wait, needless=needless)

    def watch(self, name: str, changed: Callable[[Grant | None], None]) -> Callable[[], None]:
        """Report what other processes save, at once; and all there is whenever the subscription begins anew."""
        watchers = self._watchers.setdefault(name, [])
        watchers.append(changed)

        def unwatch() -> None:
            watchers.remove(changed)
            if not watchers:
                del self._watchers[name]
                self._opened.pop(name, None)

        return unwatch

    async def start(self) -> None:
        """Begin to listen."""
        self._notices.start()

    async def close(self) -> None:
        """Stop listening, and close all connections."""
        await self._notices.stop()
        await self._background.close()
        await self._operations.client.close()

    # ---- within ------------------------------------------------------------------------------------------------------

    def _open(self, name: str, stored: bytes) -> Grant:
        try:
            grant = self._read(name, stored)
        except EnvelopeError as error:
            raise self._told(name, StoreError(f"cannot be used: {error}", unchanged=True)) from None
        except (ValueError, RecursionError):
            message = "cannot be used: it is damaged, or a later version wrote it; delete it to start from the seed"
            raise self._told(name, StoreError(message, unchanged=True)) from None
        self._opened[name] = grant.revision, _digest(stored)
        self._failures.worked(name)
        return grant

    def _read(self, name: str, stored: bytes) -> Grant:
        if len(stored) > _LONGEST_RECORD:
            raise EnvelopeError("it is larger than any record; delete it, or choose another store.key_prefix")
        grant = msgspec.json.decode(self._envelope.open(stored, self._keys.record(name)), type=Grant)
        if revision_outside(stored) != grant.revision:
            raise EnvelopeError("its revision was changed; delete it to start from the configured seed")
        return grant

    def _told(self, name: str, error: StoreError) -> StoreError:
        """The error with the key in it, where it is about the record and not about the way to it."""
        if error.cut_off:
            return error
        message = f"the key {self._keys.record(name)} in Redis at {self._operations.place} {error}"
        self._failures.failed(name, message)
        return StoreError(message, degrade=self._operations.degrade, unchanged=error.unchanged)

    async def _look_at_all(self) -> None:
        """Read what is followed. Raises StoreError where Redis cannot be reached."""
        for name in list(self._watchers):
            await self._look(name)

    async def _look_again(self) -> None:
        try:
            await self._look_at_all()
        except StoreError:
            return  # told; whenever Redis can be reached again, everything is read

    async def _look_because(self, notice: Notice) -> None:
        known = self._opened.get(notice.name, (0, ""))[0]
        if notice.sender != self._sender and notice.name in self._watchers and notice.revision != known:
            await self._look(notice.name)

    async def _look(self, name: str) -> None:
        try:
            stored = await self.load(name)
        except StoreError as error:
            if error.cut_off:
                raise
            _log.error("%s: %s", name, error)
            return
        for changed in tuple(self._watchers.get(name, ())):
            try:
                changed(stored)
            except Exception as error:  # noqa: BLE001 - others watch other records
                tell(_log, f"while {name} was taken in", error)


def _digest(stored: bytes) -> str:
    return hashlib.sha1(stored, usedforsecurity=False).hexdigest()
