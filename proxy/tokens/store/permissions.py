"""Whether a path is ours alone to change, as OpenSSH's StrictModes asks it of a home directory.

Each directory on the way belongs to root or to us, and nobody else may write to it. Two kinds may be open: a sticky one
(`/tmp`), for what we own there nobody else can rename; and the root of a mounted volume, whose mode the user cannot
choose (Kubernetes makes 0777, or 2775 and the like for an fsGroup). Who else has the volume could take our directory
away there, but could put none in its place that would pass for ours. The last directory must not be open at all:
whoever can add files to it can plant a record. Symbolic links are followed one by one, because whoever may write where
a link stands decides where it leads.
"""

from __future__ import annotations

import errno
import os
import shlex
import stat
from pathlib import Path

_SHARED = stat.S_IWGRP | stat.S_IWOTH
_MOST_LINKS = 40
"""As many as Linux follows."""


class NotPrivateError(OSError):
    """Others may change a path. `mend`: what ends this."""

    def __init__(self, reason: str, mend: str) -> None:
        super().__init__(errno.EPERM, reason)
        self.mend = mend


def require_private_directory(directory: Path) -> None:
    """Look at a directory and at all above it, as far as they exist. Raises NotPrivateError, OSError."""
    place = Path("/")
    _require_private(place, os.lstat(place), sticky=True)
    parts = _reversed_parts(os.path.abspath(directory))  # noqa: PTH100 - links are followed below, not by resolve()
    links = 0
    while parts:
        part = parts.pop()
        if part == "..":
            place = place.parent
            continue
        step = place / part
        try:
            found = os.lstat(step)
        except (FileNotFoundError, NotADirectoryError):
            return
        if stat.S_ISLNK(found.st_mode):
            if (links := links + 1) > _MOST_LINKS:
                raise OSError(errno.ELOOP, os.strerror(errno.ELOOP))
            _require_owner(step, found)
            target = str(step.readlink())
            place = Path("/") if target.startswith("/") else place
            parts += _reversed_parts(target)
            continue
        if not stat.S_ISDIR(found.st_mode):
            return
        if _is_volume(step, found):
            _require_owner(step, found)
        else:
            _require_private(step, found, sticky=True)
        place = step
    _require_private(place, os.lstat(place), sticky=False)


def require_private_file(path: Path, found: os.stat_result) -> None:
    """The same for an open file, of which `found` is the state. Raises NotPrivateError."""
    _require_private(path, found, sticky=False)


def _reversed_parts(path: str) -> list[str]:
    return [part for part in reversed(path.split("/")) if part not in {"", "."}]


def _require_private(path: Path, found: os.stat_result, *, sticky: bool) -> None:
    _require_owner(path, found)
    mode = stat.S_IMODE(found.st_mode)
    if mode & _SHARED and not (sticky and mode & stat.S_ISVTX):
        mend = f"chmod go-w {shlex.quote(str(path))}"
        if stat.S_ISDIR(found.st_mode) and found.st_uid != os.geteuid() and _is_volume(path, found):
            mend = f"name a directory in that volume, such as {path / 'tokens'}: it is made for the sidecar alone"
        raise NotPrivateError(f"others may write to {path} (mode {mode:04o})", mend)


def _is_volume(path: Path, found: os.stat_result) -> bool:
    """Whether another file system begins at this directory, as it does where a container's volume is mounted."""
    return found.st_dev != os.lstat(path.parent).st_dev


def _require_owner(path: Path, found: os.stat_result) -> None:
    if found.st_uid not in {0, ours := os.geteuid()}:
        raise NotPrivateError(
            f"{path} belongs to uid {found.st_uid}, and the sidecar runs as uid {ours}",
            f"chown -h {ours} {shlex.quote(str(path))}, or run the sidecar as that user",
        )
