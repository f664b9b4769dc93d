"""What tells one version of a file from the next without reading it: inode, modification time in ns, size.

Looking beats the kernel's notices here: Kubernetes swaps the symbolic links above a mounted file, editors replace it,
and network file systems tell nobody.
"""

from __future__ import annotations

import os
from pathlib import Path

FileStamp = tuple[int, int, int]


def stamp_of(status: os.stat_result) -> FileStamp:
    """The stamp of a file that was looked at already."""
    return status.st_ino, status.st_mtime_ns, status.st_size


def stamp_at(path: str | Path) -> FileStamp | None:
    """The stamp of what stands at a path now, links followed; None if there is nothing or it cannot be looked at."""
    try:
        return stamp_of(Path(path).stat())
    except OSError:
        return None
