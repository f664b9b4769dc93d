"""A redis-server for whole runs of tests: started and asked without an event loop, and it never outlives the run."""

from __future__ import annotations

import shutil
import signal
import socket
import subprocess
import tempfile
import time
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import redis

from support.process import free_port

_PATIENCE = 30.0


class LocalRedis:
    """`options`: as on the command line of redis-server, without the dashes. Nothing is kept on disk unless asked."""

    def __init__(self, *, program: str = "redis-server", port: int | None = None, **options: str) -> None:
        self.port = port or free_port()
        self._program = program
        self._options = {"save": "", "appendonly": "no", "bind": "127.0.0.1", "loglevel": "warning", **options}
        self._directory = Path(tempfile.mkdtemp(prefix="redis-"))
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """For `store.url`."""
        return f"redis://127.0.0.1:{self.port}"

    @property
    def pid(self) -> int:
        """Of the running server."""
        assert self._process is not None
        return self._process.pid

    def raw(self, **options: Any) -> redis.Redis:
        """A client of one's own, to look at what is kept; to be closed."""
        return redis.Redis(host="127.0.0.1", port=self.port, socket_timeout=10, **options)

    def start(self) -> None:
        """Start, and wait until it accepts connections."""
        words = [self._program, "--port", str(self.port), "--dir", str(self._directory)]
        for name, value in self._options.items():
            words += [f"--{name}", *(value.split() or [""])]
        self._process = subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.STDOUT)
        until = time.monotonic() + _PATIENCE
        while True:
            try:
                socket.create_connection(("127.0.0.1", self.port), timeout=5).close()
            except OSError:
                assert self._process.poll() is None, f"{self._program} ended with {self._process.returncode}"
                assert time.monotonic() < until, f"{self._program} does not answer"
                time.sleep(0.01)
            else:
                return

    def signal(self, number: signal.Signals) -> None:
        """Such as SIGSTOP and SIGCONT."""
        assert self._process is not None
        self._process.send_signal(number)

    def kill(self) -> None:
        """SIGKILL: what is not on disk is gone."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def close(self) -> None:
        """End it, and remove what it left."""
        self.kill()
        shutil.rmtree(self._directory, ignore_errors=True)

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
