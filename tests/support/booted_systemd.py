"""A real systemd as the first process of a throw-away system: a copy-on-write view of this machine's root.

said = boot({"etc/systemd/system/x.service": …}, "systemctl start x; echo $?")

Nothing of this machine is changed: the namespaces (mounts, processes, names, cgroups) end with it, /proc/sys cannot be
written to, /dev has six harmless devices, and no other unit of the system is started. Linux, root.
"""

from __future__ import annotations

import os
import shlex
import subprocess
import tempfile
from collections.abc import Iterable, Mapping
from pathlib import Path

_PATIENCE = 120
_BOOT = r"""
place=$0 files=$1 closed=$2
mount --make-rprivate /
mount -t tmpfs -o mode=755 tmpfs "$place"
mkdir "$place/upper" "$place/work" "$place/root"
mount -t overlay -o "lowerdir=/,upperdir=$place/upper,workdir=$place/work" overlay "$place/root"
cd "$place/root"
mount -t proc proc proc
mount --bind proc/sys proc/sys
mount -o remount,bind,ro proc/sys
mount -t sysfs -o ro sysfs sys
mount -t cgroup2 cgroup2 sys/fs/cgroup
mount -t tmpfs -o mode=755 tmpfs run
mount -t tmpfs -o mode=1777 tmpfs tmp
for each in $closed; do chmod o+x ".$each"; done
rm -rf etc/systemd/system usr/lib/systemd/system/*.wants lib/systemd/system/*.wants
mkdir -p etc/systemd/system
cp -a "$files/." .
mkdir -p fresh-dev
mount -t tmpfs -o mode=755 tmpfs fresh-dev
mkdir fresh-dev/pts fresh-dev/shm fresh-dev/mqueue fresh-dev/hugepages
ln -s pts/ptmx fresh-dev/ptmx
for each in null zero full random urandom tty; do
    touch "fresh-dev/$each"
    mount --bind "/dev/$each" "fresh-dev/$each"
done
touch fresh-dev/console
mount --bind "$files/said" fresh-dev/console
mount --rbind fresh-dev dev
mkdir -p old
pivot_root . old
cd /
umount -l /old
mount --make-rshared /
exec env -i container=trial PATH=/usr/sbin:/usr/bin:/sbin:/bin \
    /lib/systemd/systemd --system --unit=trial.target --show-status=0 --log-target=null
"""
_TARGET = "[Unit]\nDefaultDependencies=no\nWants=trial.service\n"
_SERVICE = """[Unit]
DefaultDependencies=no
[Service]
Type=oneshot
ExecStart=/bin/sh /trial.sh
StandardOutput=append:/dev/console
StandardError=append:/dev/console
"""


def boot(files: Mapping[str, str], script: str, needed: Iterable[str] = ()) -> str:
    """What a shell script says that runs in it. `needed`: paths that every user there must be able to reach."""
    with tempfile.TemporaryDirectory() as place, tempfile.TemporaryDirectory() as given:
        for name, text in {
            **files,
            "etc/systemd/system/trial.target": _TARGET,
            "etc/systemd/system/trial.service": _SERVICE,
            "trial.sh": f"{script}\nsystemctl --force --force poweroff\n",
            "said": "",
        }.items():
            file = Path(given) / name
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(text)
            file.chmod(0o755 if text.startswith("#!") else 0o644)
        for directory in [Path(given), *Path(given).rglob("*/")]:
            directory.chmod(0o755)
        above = {parent for path in needed for parent in (Path(path), *Path(path).parents)}
        closed = sorted(str(one) for one in above if one.exists() and not os.stat(one).st_mode & 0o001)
        namespaces = ["--mount", "--pid", "--uts", "--ipc", "--cgroup", "--fork", "--kill-child"]
        subprocess.run(
            ["unshare", *namespaces, "sh", "-ec", _BOOT, place, given, shlex.join(closed)],
            check=False, timeout=_PATIENCE, stdin=subprocess.DEVNULL,
        )  # fmt: skip
        return (Path(given) / "said").read_text()
