"""Run a program of the operator's and take what it prints: bounded in time and size, nothing of it ever logged.

The program inherits our environment, gets no standard input, and leads a process group of its own, so that nothing that
it started outlives a deadline. Its standard error is discarded: such programs print secrets there, too.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from collections.abc import Mapping, Sequence

from proxy.errors import CredentialRefused, CredentialUnavailable

_LONGEST_OUTPUT = 1024 * 1024
_LONGEST_DEATH = 5.0
"""Seconds that a killed process may take to disappear before we stop watching."""


async def output_of(command: Sequence[str], *, within: float, env: Mapping[str, str] | None = None) -> bytes:
    """What the program prints on standard output, up to 1 MiB, once it has ended with status 0.

    `within`: seconds; `env` is added to ours. Raises CredentialUnavailable (it failed or took too long: later may help)
    or CredentialRefused (it cannot be run, or prints without end). Neither tells its arguments: these may hold secrets.
    """
    loop = asyncio.get_running_loop()
    try:
        transport, output = await loop.subprocess_exec(
            lambda: _Output(loop),
            *command,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.DEVNULL,
            start_new_session=True,
            env={**os.environ, **(env or {})},
        )
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else None
        raise CredentialRefused(f"The command cannot be run: {reason or 'malformed'}") from None
    try:
        async with asyncio.timeout(within):
            await output.ended
    except TimeoutError:
        raise CredentialUnavailable(f"The command did not end within {within:g} s") from None
    finally:
        await _end(transport, output)
    status = transport.get_returncode()
    if status != 0:
        raise CredentialUnavailable(f"The command {_how_it_ended(status)}; run it by hand to see why")
    return bytes(output.data)


class _Output(asyncio.SubprocessProtocol):
    """Collects standard output. `ended`: the process is gone and its output complete, or the output is too long."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.data = bytearray()
        self.ended: asyncio.Future[None] = loop.create_future()
        self.exited: asyncio.Future[None] = loop.create_future()
        self._closed = False

    def pipe_data_received(self, _fd: int, data: bytes) -> None:
        self.data += data
        if len(self.data) > _LONGEST_OUTPUT and not self.ended.done():
            self.ended.set_exception(CredentialRefused("The command prints more than 1 MiB"))

    def pipe_connection_lost(self, _fd: int, _error: Exception | None) -> None:
        self._closed = True
        self._look()

    def process_exited(self) -> None:
        self.exited.set_result(None)
        self._look()

    def _look(self) -> None:
        if self._closed and self.exited.done() and not self.ended.done():
            self.ended.set_result(None)


async def _end(transport: asyncio.SubprocessTransport, output: _Output) -> None:
    """Leave no process and no zombie behind, whatever happened; a daemon that a good command started may live on."""
    if not output.ended.done() or output.ended.cancelled() or output.ended.exception() is not None:
        with contextlib.suppress(ProcessLookupError, PermissionError):  # the group may be gone, or hold only zombies
            os.killpg(transport.get_pid(), signal.SIGKILL)
    transport.close()
    if not output.exited.done():
        await asyncio.wait([output.exited], timeout=_LONGEST_DEATH)


def _how_it_ended(status: int | None) -> str:
    if status is None or status >= 0:
        return f"ended with status {status}"
    return f"was killed by signal {-status}"
