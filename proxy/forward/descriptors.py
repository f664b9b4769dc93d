"""File descriptors: enough of them for every connection, and what becomes of connections when they end all the same.

Shells and containers often start a program with 1,024 and let it have many more: the soft limit is raised as far as may
be needed. Where the hard one is lower, the log says so. There asyncio would try to accept 4,096 times in a row, with a
traceback for each try and a timer for each that begins them all anew. So the first failure takes the connections that
wait, by means of descriptors kept for it, and ends them: their apps learn at once what a time-out would tell them.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import resource
import socket
from collections.abc import Iterator
from typing import Any

_OUT = "socket.accept() out of system resource"
"""asyncio's message, in `BaseSelectorEventLoop._accept_connection`."""

_SPARE = 2
"""One to look at the listener with, one for the connection that is ended."""

_log = logging.getLogger("auth_sidecar.forward")


def provide(wanted: int) -> int:
    """Raise the soft limit to `wanted` or as near as the hard one lets it be; how many there may be."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY or soft >= wanted:
        return wanted
    most = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))
    except (OSError, ValueError):  # macOS has a lower limit behind an infinite one
        return soft
    return most


class Descriptors:
    """Of one event loop: those kept for the moment when there are no others."""

    def __init__(self) -> None:
        self._asked = 0
        self._spare: list[int] = []
        self._keeping: asyncio.Handle | None = None

    def ask(self, wanted: int) -> None:
        """See that there may be as many, or say that there may not. Once for each number."""
        if wanted == self._asked:
            return
        self._asked = wanted
        found = provide(wanted)
        if found < wanted:
            _log.warning(
                "only %d file descriptors (ulimit -n) where up to %d may be needed: connections beyond are ended",
                found,
                wanted,
            )

    def guard(self, loop: asyncio.AbstractEventLoop) -> None:
        """From now on no listener of `loop` fails in a storm."""
        self._keep()
        loop.set_exception_handler(self.failed)

    def failed(self, loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        """What went wrong in a callback: see `asyncio.loop.set_exception_handler`."""
        if context.get("message") != _OUT:
            loop.default_exception_handler(context)
            return
        self.close()
        ended = 0
        for app in waiting(context["socket"].fileno()):
            app.close()
            ended += 1
        self._keeping = loop.call_soon(self._keep)  # asyncio must find that nobody waits, not that none is left
        _log.error("no file descriptors are left (ulimit -n): %d new connections were ended", ended)

    def close(self) -> None:
        """Give back what was kept."""
        if self._keeping is not None:
            self._keeping.cancel()
        while self._spare:
            os.close(self._spare.pop())

    def _keep(self) -> None:
        with contextlib.suppress(OSError):  # another thread was faster
            while len(self._spare) < _SPARE:
                self._spare.append(os.open(os.devnull, os.O_RDONLY))


def waiting(listening: int) -> Iterator[socket.socket]:
    """Accept the connections that a listener's apps believe to be made, one after the other, until none is left."""
    with contextlib.suppress(OSError), socket.socket(fileno=os.dup(listening)) as twin:
        while True:
            yield twin.accept()[0]
