"""The addresses of one host: asked for once however many wait, remembered for a short while, doubted where they fail.

The system's resolver may hang for half a minute. It is asked in a thread of its own, so that it holds up nobody but
those who wait for this host: no file, no command, and not the end of the program.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import threading
from collections.abc import Callable
from typing import Any, cast

from proxy.config.address import is_address
from proxy.errors import NameNotResolved, NameTimeout

SocketAddress = tuple[int, int, int, str, tuple[Any, ...]]
"""As `socket.getaddrinfo` has them: family, type, protocol, name, and what to connect to."""

TTL = 30.0
"""Seconds for which an answer is good. The system does not tell the record's own."""

_AGAIN = 5.0
"""Seconds until the next question, while an older answer serves in place of none."""

_RECENT = 1.0
"""Seconds for which an answer is beyond doubt."""

_NO_SUCH_NAME = frozenset({socket.EAI_NONAME, getattr(socket, "EAI_NODATA", socket.EAI_NONAME)})
"""An answer, too: those before it are void."""


class Resolver:
    """For connections to one host and port. `clock`: seconds, never going back."""

    def __init__(self, host: str, port: int, clock: Callable[[], float]) -> None:
        self._host = host
        self._port = port
        self._clock = clock
        self._numeric = is_address(host)
        self._known: list[SocketAddress] = []
        self._learned_at = self._good_until = float("-inf")
        self._question: asyncio.Future[None] | None = None

    async def addresses(self, within: float) -> list[SocketAddress]:
        """At least one, in the order to try them in (RFC 6724). Raises NameTimeout, NameNotResolved.

        `within`: seconds to wait for an answer. Where none can be had, the last one serves on.
        """
        if self._numeric:
            return self._read()
        if self._known and self._clock() < self._good_until:
            return self._known
        question = self._question or self._ask()
        await asyncio.wait((question,), timeout=within)
        if self._known:
            self._good_until = max(self._good_until, self._clock() + _AGAIN)
            return self._known
        if not question.done():
            raise NameTimeout("The upstream's name was not resolved in time")
        raise NameNotResolved("The upstream's name does not resolve")

    async def newer(self, than: list[SocketAddress], within: float) -> list[SocketAddress] | None:
        """What is known instead of addresses that cannot be connected to; None where there is nothing else."""
        self.doubt(than)
        try:
            found = await self.addresses(within)
        except (NameTimeout, NameNotResolved):
            return None
        return None if set(found) == set(than) else found

    def doubt(self, which: list[SocketAddress]) -> None:
        """These may be out of date: ask before they are used again."""
        if which is self._known and self._clock() - self._learned_at >= _RECENT:
            self._good_until = float("-inf")

    def _read(self) -> list[SocketAddress]:
        try:
            found = socket.getaddrinfo(self._host, self._port, type=socket.SOCK_STREAM, flags=socket.AI_NUMERICHOST)
        except OSError:  # the zone of a link-local address, which is the name of an interface
            raise NameNotResolved("The upstream's address is of an interface that there is not") from None
        return cast("list[SocketAddress]", found)

    def _ask(self) -> asyncio.Future[None]:
        loop = asyncio.get_running_loop()
        question: asyncio.Future[None] = loop.create_future()

        def ask() -> None:
            answer: list[SocketAddress] | Exception
            try:
                answer = cast(
                    "list[SocketAddress]", socket.getaddrinfo(self._host, self._port, type=socket.SOCK_STREAM)
                )
            except (OSError, UnicodeError) as error:
                answer = error
            with contextlib.suppress(RuntimeError):  # nobody is there any more: the loop has ended
                loop.call_soon_threadsafe(self._answered, question, answer)

        threading.Thread(target=ask, name="resolver", daemon=True).start()
        self._question = question
        return question

    def _answered(self, question: asyncio.Future[None], answer: list[SocketAddress] | Exception) -> None:
        self._question = None
        if isinstance(answer, list):
            self._known = answer
            self._learned_at = self._clock()
            self._good_until = self._learned_at + TTL
        elif isinstance(answer, socket.gaierror) and answer.errno in _NO_SUCH_NAME:
            self._known = []
        question.set_result(None)
