"""Finds out whether a file has changed: first by its stamp, then by its content."""

from __future__ import annotations

import hashlib
import stat
from pathlib import Path

from proxy.file_stamp import FileStamp, stamp_of


class FileWatch:
    """Compares a file with its last check. A missing file counts as unchanged."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._stamp: FileStamp | None = None
        self._digest = b""
        self.changed()

    def forget(self) -> None:
        """Take whatever the file holds at the next check for a change."""
        self._stamp, self._digest = None, b""

    def changed(self) -> bool:
        """Whether the content differs from what it was at the last call."""
        try:
            status = self._path.stat()
            stamp = stamp_of(status)
            if stamp == self._stamp or not stat.S_ISREG(status.st_mode):
                return False  # a pipe can be read only once, by the loader
            digest = hashlib.sha256(self._path.read_bytes()).digest()
        except OSError:
            return False
        self._stamp = stamp  # taken before reading, so that a write in between is seen next time
        if digest == self._digest:
            return False
        self._digest = digest
        return True
