"""Whether a file has changed, by looking at it: its stamp first, then its octets."""

from __future__ import annotations

import hashlib
import stat
from pathlib import Path

from proxy.file_stamp import FileStamp, stamp_of


class FileWatch:
    """Compares with the last look. A file that is gone for a moment has not changed."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._stamp: FileStamp | None = None
        self._digest = b""
        self.changed()

    def forget(self) -> None:
        """Whatever is there next has changed."""
        self._stamp, self._digest = None, b""

    def changed(self) -> bool:
        """Whether the content differs from what it was at the last call."""
        try:
            status = self._path.stat()
            stamp = stamp_of(status)
            if stamp == self._stamp or not stat.S_ISREG(status.st_mode):
                return False  # what a pipe holds can be read once, and is for whoever asked for this file
            digest = hashlib.sha256(self._path.read_bytes()).digest()
        except OSError:
            return False
        self._stamp = stamp  # of before the reading: what is written meanwhile is seen at the next look
        if digest == self._digest:
            return False
        self._digest = digest
        return True
