"""The machine under the bench: its cores, its interpreter, and programs whose CPU and memory are read from /proc."""

from __future__ import annotations

import contextlib
import http.client
import os
import platform
import resource
import shutil
import signal
import socket
import ssl
import subprocess
import sys
import sysconfig
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Self

PROC = Path("/proc")
TICK = os.sysconf("SC_CLK_TCK")
CORES = sorted(os.sched_getaffinity(0))
PEER_CORE, LOAD_CORE = CORES[0], CORES[-1]


def find(program: str) -> str:
    """Where a program is; Debian keeps some out of the PATH of people."""
    path = shutil.which(program, path=f"{os.environ['PATH']}:/usr/sbin:/sbin")
    if path is None:
        raise SystemExit(f"bench: no {program} here, and it could not be installed")
    return path


def free_port() -> int:
    """A port of the loopback that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def prepare() -> None:
    """Bind this process to the load's core, with descriptors for a thousand connections and more.

    Told to stop, it ends like after an error: what it started is ended too.
    """
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    os.sched_setaffinity(0, {LOAD_CORE})
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def describe() -> str:
    """The processor, the cores, and the interpreter that runs the bench and the sidecar."""
    cpu = next((line.split(":")[1].strip() for line in _lines(PROC / "cpuinfo") if line.startswith("model name")), "?")
    made = sysconfig.get_config_var("CONFIG_ARGS") or ""
    built = [name for name, option in (("PGO", "--enable-optimizations"), ("LTO", "--with-lto")) if option in made]
    python = (
        f"Python {platform.python_version()} ({', '.join(built) or 'no PGO or LTO on record'}, {loop_speed():.1f} ms)"
    )
    return f"{cpu}, {len(CORES)} cores, Linux {platform.release()}; {python}"


def loop_speed() -> float:
    """Milliseconds for a fixed piece of pure Python: how fast the interpreter is on this machine now."""
    best = float("inf")
    for _ in range(5):
        started, table, number = time.thread_time(), {}, 0
        for i in range(100_000):
            table[i & 255] = number
            number = (number * 31 + i) & 0xFFFFFF
        best = min(best, time.thread_time() - started)
    return best * 1000


def busy_seconds(core: int) -> float:
    """How long a core has worked since boot, for whomever."""
    fields = next(line for line in _lines(PROC / "stat") if line.startswith(f"cpu{core} ")).split()
    user, nice, system, _, _, interrupt, soft_interrupt = map(int, fields[1:8])
    return (user + nice + system + interrupt + soft_interrupt) / TICK


def _lines(file: Path) -> list[str]:
    return file.read_text().splitlines()


class Program:
    """One program of the bench on one core: started in a session of its own, ended with all of its children."""

    def __init__(self, command: Sequence[str | Path], port: int, core: int, folder: Path, *, tls: bool = False) -> None:
        self.port = port
        self._tls = tls
        self._log = folder / "log"
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                ["taskset", "--cpu-list", str(core), *map(str, command)],
                cwd=folder,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def __enter__(self) -> Self:
        """It runs from its making on."""
        return self

    def __exit__(self, *_: object) -> None:
        """End it, and what it started, by their ids."""
        tree = self._tree()
        self._process.send_signal(signal.SIGTERM)
        try:
            self._process.wait(5)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        for pid in tree[1:]:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                if os.getsid(pid) == self._process.pid:
                    os.kill(pid, signal.SIGKILL)

    def wait_until_ready(self, path: str, headers: dict[str, str], patience: float = 20) -> None:
        """Until a GET of `path` is answered with 200 (any answer at all, where `path` is empty)."""
        until = time.monotonic() + patience
        last: object = "no answer"
        while time.monotonic() < until:
            if self._process.poll() is not None:
                raise RuntimeError(f"ended with {self._process.returncode}:\n{self._log.read_text()[-2000:]}")
            try:
                last = self._status(path or "/", headers)
            except (OSError, http.client.HTTPException) as error:
                last = error
            else:
                if last == http.client.OK or not path:
                    return
            time.sleep(0.05)
        raise RuntimeError(f"not ready after {patience:g} s ({last}):\n{self._log.read_text()[-2000:]}")

    def _status(self, path: str, headers: dict[str, str]) -> int:
        if self._tls:
            unverified = ssl._create_unverified_context()  # noqa: S323, SLF001 - only asks whether it is up
            connection: http.client.HTTPConnection = http.client.HTTPSConnection(
                "127.0.0.1", self.port, timeout=2, context=unverified
            )
        else:
            connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=2)
        try:
            connection.request("GET", path, headers=headers)
            return connection.getresponse().status
        finally:
            connection.close()

    def cpu_nanoseconds(self) -> int:
        """User and system time of all its processes, of the threads that live."""
        total = 0
        for pid in self._tree():
            for file in (PROC / str(pid) / "task").glob("*/schedstat"):
                with contextlib.suppress(OSError):
                    total += int(file.read_text().split()[0])
        return total

    def resident_mib(self) -> float:
        """Resident memory of all its processes."""
        kib = 0
        for pid in self._tree():
            with contextlib.suppress(OSError):
                for line in _lines(PROC / str(pid) / "status"):
                    if line.startswith("VmRSS:"):
                        kib += int(line.split()[1])
        return kib / 1024

    def _tree(self) -> list[int]:
        children: dict[int, list[int]] = {}
        for entry in PROC.iterdir():
            if entry.name.isdigit():
                with contextlib.suppress(OSError):
                    children.setdefault(int(_stat(int(entry.name))[1]), []).append(int(entry.name))
        tree: list[int] = []
        generation = [self._process.pid]
        while generation:
            tree += generation
            generation = [child for pid in generation for child in children.get(pid, [])]
        return tree


def _stat(pid: int) -> list[str]:
    """The fields of /proc/PID/stat from the state on: the name before it may hold blanks and brackets."""
    return (PROC / str(pid) / "stat").read_text().rpartition(")")[2].split()
