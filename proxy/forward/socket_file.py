"""The file of a unix socket: its owner's alone from its first moment on, and nobody else's to remove."""

from __future__ import annotations

import contextlib
import errno
import os
import socket
import stat
from collections.abc import Iterator
from pathlib import Path


class SocketFile:
    """Of a socket that was bound just now. Another process may put its own in that place at any time.

    Raises OSError where there is none.
    """

    def __init__(self, path: str) -> None:
        self._path = Path(path)
        self._identity: tuple[int, int] | None = _identity(self._path)

    def chmod(self, mode: int) -> None:
        """Say who may connect, while it is ours."""
        with contextlib.suppress(OSError):
            if _identity(self._path) == self._identity:
                self._path.chmod(mode)

    def remove(self) -> None:
        """Take it away, while it is ours. Once: its number is given to the next socket that is bound there."""
        with contextlib.suppress(OSError):
            if _identity(self._path) == self._identity:
                self._path.unlink()
        self._identity = None


@contextlib.contextmanager
def private() -> Iterator[None]:
    """What is bound meanwhile is its owner's alone: whoever connects before a `chmod` would be in."""
    before = os.umask(0o177)
    try:
        yield
    finally:
        os.umask(before)


def remove_stale(path: str) -> None:
    """Remove a unix socket that a dead process left behind. Raises OSError for anything else that stands there."""
    try:
        _identity(Path(path))
    except FileNotFoundError:
        return
    with socket.socket(socket.AF_UNIX) as probe:
        try:
            probe.connect(path)
        except ConnectionRefusedError:
            Path(path).unlink()
            return
    raise OSError(errno.EADDRINUSE, "another process listens there")


def _identity(path: Path) -> tuple[int, int]:
    """Which file it is. Raises OSError where it is gone or no socket."""
    status = path.lstat()
    if not stat.S_ISSOCK(status.st_mode):
        raise FileExistsError(errno.EEXIST, "something that is not a socket stands there")
    return status.st_dev, status.st_ino
