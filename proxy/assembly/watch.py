"""Whether a file has changed, by looking at it: inode, time and size first, then its octets.

Looking beats the kernel's notices here: Kubernetes swaps the symbolic links above a mounted file, editors replace it, and
network file systems tell nobody.
"""

from __future__ import annotations

import hashlib
from pathlib import Path

_Signature = tuple[int, int, int]


class FileWatch:
    """Compares with the last look. A file that is gone for a moment has not changed."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._signature, self._digest = self._look()

    def changed(self) -> bool:
        """Whether the content differs from what it was at the last call."""
        try:
            signature = _signature(self._path)
        except OSError:
            return False
        if signature == self._signature:
            return False
        new_signature, digest = self._look()
        if new_signature is None:
            return False
        self._signature = new_signature
        if digest == self._digest:
            return False
        self._digest = digest
        return True

    def _look(self) -> tuple[_Signature | None, bytes]:
        try:
            return _signature(self._path), hashlib.sha256(self._path.read_bytes()).digest()
        except OSError:
            return None, b""


def _signature(path: Path) -> _Signature:
    status = path.stat()
    return status.st_ino, status.st_mtime_ns, status.st_size
