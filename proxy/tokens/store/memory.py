"""The store that outlives nothing: for one process, and the model that the other stores are tested against."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager

from proxy.tokens.store.token_store import Grant, LastingLease, Lease, LeaseTakenError, never


class MemoryTokenStore:
    """Records in a dict, a lease as a lock. Reloads of the configuration keep one object, and with it the tokens."""

    type = "memory"
    durable = False
    essential = False

    def __init__(self) -> None:
        self.errors = 0
        self.last_error: str | None = None
        self._records: dict[str, Grant] = {}
        self._locks: dict[str, asyncio.Lock] = {}
        self._interested: Counter[str] = Counter()

    async def load(self, name: str) -> Grant | None:
        """The record, if there is one."""
        return self._records.get(name)

    async def save(self, name: str, grant: Grant) -> bool:
        """True where `grant` follows the record that is held."""
        held = self._records.get(name)
        if held is not None and held.revision >= grant.revision:
            return False
        self._records[name] = grant
        return True

    def lease(
        self,
        name: str,
        wait: float,
        needless: Callable[[], bool] = never,  # noqa: ARG002 - nobody else saves here
    ) -> AbstractAsyncContextManager[Lease]:
        """Wait up to `wait` seconds. Raises LeaseTakenError."""
        return self._lease(name, wait)

    @asynccontextmanager
    async def _lease(self, name: str, wait: float) -> AsyncIterator[Lease]:
        lock = self._locks.setdefault(name, asyncio.Lock())
        self._interested[name] += 1
        try:
            try:
                async with asyncio.timeout(wait):
                    await lock.acquire()
            except TimeoutError:
                raise LeaseTakenError(f"another renewal of {name} has not ended") from None
            try:
                yield LastingLease()
            finally:
                lock.release()
        finally:
            self._interested[name] -= 1
            if not self._interested[name]:
                del self._interested[name], self._locks[name]

    def watch(self, name: str, changed: Callable[[Grant | None], None]) -> Callable[[], None]:  # noqa: ARG002 - the interface
        """Nobody else saves here."""
        return _nothing

    async def trial(self) -> list[str]:
        """Nothing can fail."""
        return []

    async def start(self) -> None:
        """Nothing to do."""

    async def close(self) -> None:
        """Nothing to let go of."""


def _nothing() -> None:
    """There is nothing to end."""
