"""What the file store asks of a disk, in blocking calls for a worker thread: replace whole, read whole, lock.

A record is replaced by writing a new file beside it, making it durable, and renaming it over the old one: whatever
happens in between, a reader finds the old record or the new one, whole. There is one writer at a time (the lock), so
the new file has a fixed name and what a killed writer left behind is simply written over.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import stat
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from proxy.tokens.store.permissions import require_private_directory, require_private_file

_LONGEST_RECORD = 1024 * 1024
_PRIVATE_FILE = 0o600
_PRIVATE_DIRECTORY = 0o700
_UNSUPPORTED = {errno.EINVAL, errno.ENOTSUP, errno.EBADF}
"""How file systems that keep no directory cache say so to fsync."""


class BusyError(OSError):
    """A lock is held by another for longer than one may wait."""


def make_directory(directory: Path) -> None:
    """With its parents, each for us alone. Raises OSError, NotPrivateError where others may change what is there."""
    require_private_directory(directory)
    for place in reversed((directory, *directory.parents)):
        if not place.is_dir():
            place.mkdir(mode=_PRIVATE_DIRECTORY, exist_ok=True)
    require_private_directory(directory)


def read(path: Path) -> bytes | None:
    """The whole file; None if there is none.

    Raises OSError, also for what is no plain file or over 1 MiB; NotPrivateError where others may change it.
    """
    require_private_directory(path.parent)
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK)  # a pipe in its place must not hold us up
    except (FileNotFoundError, NotADirectoryError):
        return None
    with os.fdopen(descriptor, "rb") as file:
        found = os.fstat(file.fileno())
        if not stat.S_ISREG(found.st_mode):
            raise OSError(errno.EINVAL, "not a plain file")
        require_private_file(path, found)
        if found.st_size > _LONGEST_RECORD:
            raise OSError(errno.EFBIG, "larger than any record")
        return file.read(_LONGEST_RECORD)


def replace(path: Path, content: bytes) -> None:
    """Put `content` in place of the file, durably, for us alone; the lock is held.

    On OSError the old one stands, or the new one where only its directory could not be made durable.
    """
    fresh = path.with_name(f".{path.name}.new")
    descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, _PRIVATE_FILE)
    try:
        with os.fdopen(descriptor, "wb") as file:
            os.fchmod(file.fileno(), _PRIVATE_FILE)  # whoever left the file behind
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        fresh.rename(path)
    except OSError:
        with contextlib.suppress(OSError):
            fresh.unlink()
        raise
    _keep_entry(path.parent)


def open_lock(path: Path) -> int:
    """A descriptor to lock; lock files stay for good (removing one would let two holders in). Raises OSError."""
    return os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, _PRIVATE_FILE)


def try_lock(descriptor: int) -> bool:
    """Take the lock if it is free. The kernel releases it when the descriptor is closed or the process dies."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


@contextmanager
def locked(path: Path, within: float, monotonic: Callable[[], float]) -> Iterator[None]:
    """Hold the lock while inside. Raises BusyError after `within` seconds, OSError where the file cannot be made."""
    descriptor = open_lock(path)
    try:
        until = monotonic() + within
        while not try_lock(descriptor):
            if monotonic() >= until:
                raise BusyError(errno.EAGAIN, "locked by another process")
            time.sleep(0.005)
        yield
    finally:
        os.close(descriptor)


def _keep_entry(directory: Path) -> None:
    """Make the rename itself durable."""
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in _UNSUPPORTED:
            raise
    finally:
        os.close(descriptor)
