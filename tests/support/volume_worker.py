"""A user without rights on the root of a volume: `python -m support.volume_worker PATH MODE UID`, tests/ on the path.

Run by root in a mount namespace of its own (`unshare --mount`): what is mounted on PATH ends with it. Tells for each
place whether a record can be kept there, with V for PATH; some of the places are another user's.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from proxy.tokens.store import disk
from proxy.tokens.store.permissions import NotPrivateError


def main(volume: Path, mode: str, uid: int) -> None:
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"mode={mode},gid={uid}", "volume", volume], check=True)
    become(uid)
    tried("a directory of ours", volume, "tokens")
    tried("two deep", volume, "state/tokens")
    tried("the volume itself", volume, "")
    (volume / "open").mkdir()
    (volume / "open").chmod(0o777)
    tried("below an open directory", volume, "open/tokens")
    (volume / "link").symlink_to(volume / "tokens")
    tried("by a link of ours", volume, "link")
    become(0)
    (volume / "planted").mkdir(mode=0o700)
    (volume / "planted-link").symlink_to(volume / "tokens")
    for theirs in ("planted", "planted-link"):
        os.chown(volume / theirs, uid + 1, -1, follow_symlinks=False)
    os.chown(volume / "tokens" / "crm.json", uid + 1, -1)
    (volume / "tokens" / "crm.json").chmod(0o644)
    become(uid)
    tried("a directory of another", volume, "planted")
    tried("by a link of another", volume, "planted-link")
    tried("a file of another", volume, "tokens")


def become(uid: int) -> None:
    os.seteuid(0)
    os.setegid(uid)
    os.seteuid(uid)


def tried(what: str, volume: Path, name: str) -> None:
    directory = volume / name
    try:
        disk.make_directory(directory)
        if disk.read(directory / "crm.json") is None:
            disk.replace(directory / "crm.json", b"{}")
        answer = f"kept, mode {directory.stat().st_mode & 0o777:04o}"
    except NotPrivateError as error:
        answer = f"{error.strerror} | {error.mend}".replace(str(volume), "V")
    sys.stdout.write(f"{what}: {answer}\n")


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]))
