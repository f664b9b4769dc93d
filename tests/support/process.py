"""The whole program as a subprocess, on free ports, with all that it says; it never outlives the test.

async with Program({"routes": […], "credentials": {…}}, tmp_path) as program:
    …                                        # ask program.url + "/route", program.admin + "/status"
    await program.logged("renewed")
assert program.exit_code == 0                # __aexit__ sent SIGTERM and made sure of it
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import re
import signal
import socket
import sys
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, Self

import aiohttp
import yaml

_PATIENCE = 90.0
"""Seconds for a start or a stop. A bound against a hang: nothing here takes as long."""

_NEVER_SAID = re.compile(r"Traceback|never retrieved|never awaited|ResourceWarning|was destroyed")


_CHANCE = random.Random()
_WORKER = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
_WORKERS = int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))
_told: set[int] = set()


def free_port() -> int:
    """A port that nobody listened on a moment ago, and that is told only once.

    Nor is it one of those that the system gives to whoever asks for any: they begin at 32768 (macOS: 49152), and are
    given away while the program is still starting. The processes of a parallel run have a share of the ports each.
    """
    for port in _CHANCE.sample(range(10_000 + _WORKER, 32_768, _WORKERS), 1000):
        with socket.socket() as attempt, contextlib.suppress(OSError):
            attempt.bind(("", port))
            if port not in _told:
                _told.add(port)
                return port
    raise OSError("no free port")


class Program:
    """One run of `python -m proxy -c FILE`. `ready`: which probe says that it has started; `command`: run instead.

    `config` is what a user would write; `listen` and `admin.listen` become free ports where they are not given.
    """

    def __init__(
        self,
        config: Mapping[str, Any],
        directory: Path,
        *,
        environ: Mapping[str, str] | None = None,
        arguments: tuple[str, ...] = (),
        command: tuple[str, ...] = (sys.executable, "-m", "proxy"),
        ready: Literal["/readyz", "/healthz"] = "/readyz",
    ) -> None:
        self._port, self._admin_port = free_port(), free_port()
        self.url = f"http://127.0.0.1:{self._port}"
        self.admin = f"http://127.0.0.1:{self._admin_port}"
        self.file = directory / "config.yaml"
        self._said = directory / f"said-{self._port}.log"
        self._directory = directory
        self._environ = {**os.environ, "PYTHONWARNINGS": "always::ResourceWarning", **(environ or {})}
        self._command = (*command, *arguments)
        self._ready = ready
        self._process: asyncio.subprocess.Process | None = None
        self.write(config)

    @property
    def pid(self) -> int:
        """Of the running process."""
        assert self._process is not None
        return self._process.pid

    @property
    def exit_code(self) -> int | None:
        """None while it runs."""
        return None if self._process is None else self._process.returncode

    @property
    def log(self) -> str:
        """All that it said so far, on both streams. A file: what was written before an answer went out stands in it."""
        return self._said.read_text("utf-8", "replace")

    def write(self, config: Mapping[str, Any]) -> None:
        """Put a configuration into its file, with this program's ports."""
        given = dict(config)
        given.setdefault("listen", f"127.0.0.1:{self._port}")
        given["admin"] = {"listen": f"127.0.0.1:{self._admin_port}", **given.get("admin", {})}
        self.file.write_text(yaml.safe_dump(given, sort_keys=False))

    async def start(self) -> None:
        """Start, and wait until the probe answers 200. Fails with what the program said where it ends instead."""
        with self._said.open("wb") as said:
            self._process = await asyncio.create_subprocess_exec(
                *(*self._command, "-c", str(self.file)),
                cwd=self._directory,
                env=self._environ,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=said,
                stderr=asyncio.subprocess.STDOUT,
            )
        try:
            async with asyncio.timeout(_PATIENCE):
                await self._until_ready()
        except BaseException:
            await self.kill()
            raise

    async def run_to_end(self) -> int:
        """Start a program that is expected to end by itself; its exit code."""
        self._ready = "/healthz"
        try:
            await self.start()
        except AssertionError:
            code = self.exit_code
            assert code is not None
            return code
        await self.stop()
        raise AssertionError(f"it started:\n{self.log}")

    async def logged(self, text: str, *, times: int = 1) -> None:
        """Wait until a text was said so often."""
        async with asyncio.timeout(_PATIENCE):
            while self.log.count(text) < times:
                await asyncio.sleep(0.02)

    def signal(self, number: signal.Signals) -> None:
        """Send a signal."""
        assert self._process is not None
        self._process.send_signal(number)

    async def wait(self) -> int:
        """The exit code, once it has ended."""
        assert self._process is not None
        async with asyncio.timeout(_PATIENCE):
            return await self._process.wait()

    async def stop(self) -> None:
        """SIGTERM; it must end with 0 and must not have said anything that a defect says."""
        if self._process is None or self._process.returncode is not None:
            return
        self.signal(signal.SIGTERM)
        try:
            code = await self.wait()
        except TimeoutError:
            await self.kill()
            raise AssertionError(f"SIGTERM did not end it:\n{self.log}") from None
        assert code == 0, f"exit {code} after SIGTERM:\n{self.log}"
        assert not _NEVER_SAID.search(self.log), self.log

    async def kill(self) -> None:
        """SIGKILL, whatever state it is in."""
        if self._process is None:
            return
        if self._process.returncode is None:
            self._process.kill()
        await self._process.wait()

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if kind is None:
                await self.stop()
        finally:
            await self.kill()
            if kind is not None:
                sys.stderr.write(f"---- what the program said ----\n{self.log}")

    async def _until_ready(self) -> None:
        async with aiohttp.ClientSession() as http:
            while True:
                assert self._process is not None
                if self._process.returncode is not None:
                    await self.wait()
                    raise AssertionError(f"exit {self.exit_code} at the start:\n{self.log}")
                try:
                    async with http.get(self.admin + self._ready) as answer:
                        if answer.status == 200:
                            return
                except aiohttp.ClientConnectionError:
                    pass
                await asyncio.sleep(0.02)
