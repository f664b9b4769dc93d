"""Records in files of one directory: they outlive the process, and the processes of one host share them.

    <path>/<credential>.json     the record, mode 0600, replaced atomically (percent-encoded where a name is no file
    name) <path>/<credential>.lock     held for the instant of a save: compare the revision, then replace
    <path>/<credential>.lease    held by whoever renews the credential; the kernel releases it when its holder dies

flock does not reach across machines: several hosts share Redis instead. Every disk access is done in a worker thread.
An unreadable record is never overwritten: each failure names the file and what mends it, and the program goes on from
memory.
"""

from __future__ import annotations

import asyncio
import errno
import hashlib
import logging
import os
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import TypeVar
from urllib.parse import quote

import msgspec

from proxy.clock import Clock
from proxy.defects import tell
from proxy.file_stamp import FileStamp, stamp_at
from proxy.tokens.store import disk
from proxy.tokens.store.envelope import Envelope, EnvelopeError
from proxy.tokens.store.permissions import NotPrivateError
from proxy.tokens.store.token_store import Grant, LastingLease, Lease, LeaseTakenError, StoreError, never

log = logging.getLogger("auth_sidecar.store")

_WATCH_EVERY = 1.0
_LEASE_POLL = 0.05
_LONGEST_SAVE = 5.0
"""Seconds to wait while another process saves the same record: an instant, unless it was stopped in the middle."""
_LONGEST_NAME = 180
_TRIAL = ".check"
_MENDS = {
    errno.ENOSPC: "free some space",
    errno.EDQUOT: "free some space or raise the quota",
    errno.EFBIG: "remove it if it is not ours, or raise the file size limit",
    errno.EROFS: "mount it writable, or choose another store.path",
    errno.EACCES: "let the user that runs the sidecar read and write it",
    errno.EPERM: "let the user that runs the sidecar read and write it",
    errno.ENOTDIR: "choose another store.path, or remove the file that is in its place",
    errno.EAGAIN: "look for a stopped process that holds it",
}

_MEND = "mend that, or choose another store.path"

Result = TypeVar("Result")


class FileTokenStore:
    """One directory of records."""

    type = "file"
    durable = True
    essential = False

    def __init__(self, path: Path, envelope: Envelope, clock: Clock) -> None:
        """`path` is made (0700) when it is first needed."""
        self.errors = 0
        self.last_error: str | None = None
        self._directory = path
        self._envelope = envelope
        self._clock = clock
        self._failing: dict[tuple[str, str], str] = {}
        self._watchers: dict[str, list[Callable[[Grant | None], None]]] = {}
        self._seen: dict[str, tuple[FileStamp | None, bytes]] = {}
        self._watching: asyncio.Task[None] | None = None

    def seal_with(self, envelope: Envelope) -> None:
        """Use these keys from now on. What could not be opened until now is looked at again."""
        if envelope.marks != self._envelope.marks:
            self._envelope = envelope
            self._seen = {}
            log.info("the store's keys have changed: %s", ", ".join(envelope.marks))

    async def load(self, name: str) -> Grant | None:
        """The record of `name`. Raises StoreError where it cannot be read, opened or understood."""
        grant = await self._reporting(name, asyncio.to_thread(self._read, name), to="read")
        self._worked(name, "read")
        return grant

    async def save(self, name: str, grant: Grant) -> bool:
        """Replace the record unless another process did. Raises StoreError."""
        saved = await self._reporting(name, asyncio.to_thread(self._replace, name, grant), to="write")
        self._worked(name, "read", "write")
        return saved

    def lease(self, name: str, wait: float, needless: Callable[[], bool] = never) -> AbstractAsyncContextManager[Lease]:
        """Be the only one on this host. Raises LeaseTakenError, StoreError."""
        return self._lease(name, wait, needless)

    def watch(self, name: str, changed: Callable[[Grant | None], None]) -> Callable[[], None]:
        """Report what other processes save, within about a second."""
        watchers = self._watchers.setdefault(name, [])
        watchers.append(changed)

        def unwatch() -> None:
            watchers.remove(changed)
            if not watchers:
                del self._watchers[name]
                self._seen.pop(name, None)

        return unwatch

    async def trial(self) -> list[str]:
        """Lock a file in the directory, which is made where it is missing."""
        try:
            async with self.lease(_TRIAL, 0):
                return []
        except StoreError as error:
            return [] if isinstance(error, LeaseTakenError) else [str(error)]

    async def start(self) -> None:
        """Begin watching."""
        if self._watching is None:
            self._watching = asyncio.create_task(self._watch(), name="file store")

    async def close(self) -> None:
        """Stop watching."""
        if self._watching is not None:
            self._watching.cancel()
            await asyncio.wait([self._watching])
            self._watching = None

    # ---- in a worker thread ------------------------------------------------------------------------------------------

    def _read(self, name: str) -> Grant | None:
        path = self._file(name, ".json")
        try:
            stored = disk.read(path)
        except OSError as error:
            raise _failure(path, "cannot be read", error) from None
        return None if stored is None else self._opened(name, stored)

    def _replace(self, name: str, grant: Grant) -> bool:
        path = self._file(name, ".json")
        try:
            disk.make_directory(self._directory)
            with disk.locked(self._file(name, ".lock"), _LONGEST_SAVE, self._clock.monotonic):
                held = self._read(name)
                if held is not None and held.revision >= grant.revision:
                    return False
                disk.replace(path, self._envelope.seal(msgspec.json.encode(grant), name))
        except OSError as error:
            raise _failure(path, "cannot be saved", error) from None
        return True

    def _opened(self, name: str, stored: bytes) -> Grant:
        try:
            return msgspec.json.decode(self._envelope.open(stored, name), type=Grant)
        except EnvelopeError as error:
            raise StoreError(f"{self._file(name, '.json')} cannot be used: {error}") from None
        except (ValueError, RecursionError):
            raise StoreError(
                f"{self._file(name, '.json')} cannot be used: it is damaged, or a later version wrote it; restore it "
                "from a copy, or delete it to start from the configured seed"
            ) from None

    def _changes(self, names: list[str]) -> list[tuple[str, Grant | StoreError]]:
        """The watched records that are not what they were; only files whose stamp moved are read."""
        found: list[tuple[str, Grant | StoreError]] = []
        for name in names:
            path = self._file(name, ".json")
            stamp, digest = self._seen.get(name, (None, b""))
            if (now := stamp_at(path)) is None or now == stamp:
                continue
            try:
                stored = disk.read(path) or b""
                fresh = hashlib.sha256(stored).digest()
                self._seen[name] = (now, fresh)
                if fresh != digest:
                    found.append((name, self._opened(name, stored)))
            except OSError as error:
                self._seen.pop(name, None)  # what mends it (chmod) leaves the stamp as it is: look again
                found.append((name, _failure(path, "cannot be read", error)))
            except StoreError as error:
                found.append((name, error))
        return found

    # ---- in the event loop ------------------------------------------------------------------------------------------

    @asynccontextmanager
    async def _lease(self, name: str, wait: float, needless: Callable[[], bool]) -> AsyncIterator[Lease]:
        path = self._file(name, ".lease")
        descriptor = await self._reporting(name, self._open_lease(path), to="write")
        try:
            until = self._clock.elapsed() + wait
            while not disk.try_lock(descriptor):
                left = until - self._clock.elapsed()
                if left <= 0:
                    raise LeaseTakenError(f"{path} is held by another process for more than {wait:g} s")
                await self._clock.sleep(min(_LEASE_POLL, left))
                if needless():
                    raise LeaseTakenError(f"{path} was held by another process, and need not be taken any more")
            yield LastingLease()
        finally:
            os.close(descriptor)

    async def _open_lease(self, path: Path) -> int:
        def opened() -> int:
            disk.make_directory(self._directory)
            return disk.open_lock(path)

        opening = asyncio.get_running_loop().run_in_executor(None, opened)
        try:
            return await asyncio.shield(opening)
        except asyncio.CancelledError:
            opening.add_done_callback(lambda done: None if done.exception() else os.close(done.result()))
            raise
        except OSError as error:
            raise _failure(path, "cannot be locked", error) from None

    async def _watch(self) -> None:
        while True:
            try:
                for name, change in await asyncio.to_thread(self._changes, list(self._watchers)):
                    if name in self._watchers:  # else nobody any more
                        self._tell(name, change)
            except Exception as error:  # noqa: BLE001 - what was missed now is seen at the next look
                tell(log, "while watching the store", error)
            await self._clock.sleep(_WATCH_EVERY)

    def _tell(self, name: str, change: Grant | StoreError) -> None:
        if isinstance(change, StoreError):
            if self._failing.get((name, "read")) != str(change):
                self._failed(name, "read", change)
                log.error("%s", change)
            return
        self._worked(name, "read")
        for changed in tuple(self._watchers[name]):
            try:
                changed(change)
            except Exception as error:  # noqa: BLE001 - others watch other records
                tell(log, f"while {name} was taken in", error)

    async def _reporting(self, name: str, work: Awaitable[Result], *, to: str) -> Result:
        try:
            return await work
        except StoreError as error:
            self._failed(name, to, error)
            raise

    def _failed(self, name: str, to: str, error: StoreError) -> None:
        self.errors += 1
        self.last_error = self._failing[name, to] = str(error)

    def _worked(self, name: str, *uses: str) -> None:
        for to in uses:
            self._failing.pop((name, to), None)
        self.last_error = next(reversed(self._failing.values()), None)

    def _file(self, name: str, suffix: str) -> Path:
        encoded = quote(name, safe="")
        if len(encoded) > _LONGEST_NAME:
            encoded = f"{encoded[:_LONGEST_NAME]}-{hashlib.sha256(name.encode()).hexdigest()[:16]}"
        return self._directory / f"{encoded}{suffix}"


def _failure(path: Path, what: str, error: OSError) -> StoreError:
    mend = error.mend if isinstance(error, NotPrivateError) else _MENDS.get(error.errno or 0, _MEND)
    return StoreError(f"{path} {what}: {error.strerror or 'unknown error'}; {mend}")
