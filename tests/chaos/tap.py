"""Stands between one replica and one server. What passes has a name, and can be held there while the replica dies.

A step is a command or request on its way to the server (`sent`), or the beginning of its answer (`answered`). A `Gap`
is the place before the n-th step of a name. What a replica that is stopped there was about to send, it sends when it
wakes up: the tap delivers it then. What a killed one had sent, or was about to hear, is dropped with its connections.
"""

from __future__ import annotations

import asyncio
import re
import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from types import TracebackType
from typing import Literal, Self

TOKEN = "/token"
"""What a request for a token is called."""

WAITS = 0.9
"""Seconds for which a replica can be relied on to wait for the answer to a request for a token."""
SAVE = "save"
"""What the script is called that puts a record in place of an older one."""

Way = Literal["sent", "answered"]

_COMMAND = re.compile(rb"\*\d+\r\n\$\d+\r\n([A-Za-z]+)\r\n")
_REQUEST = re.compile(rb"(POST|GET) (?:http://[^/ ]+)?(/\S*) HTTP/1\.1\r\n")
_REFRESH_TOKEN = re.compile(rb"\brefresh_token=([^&\s]+)")
_SCRIPTS = {b"'PUBLISH'": SAVE, b"'PEXPIRE'": "extend the lease", b"'DEL'": "release the lease"}
"""What an EVAL does, by a word that no other script of ours has."""
_ASIDE = frozenset({"HELLO", "AUTH", "CLIENT", "SELECT", "PING", "SUBSCRIBE", "SSUBSCRIBE", "PSUBSCRIBE", "SENTINEL"})
"""What a connection begins or is watched with: no steps of a renewal."""


@dataclass(frozen=True)
class Gap:
    """Before the n-th command of that name arrives (`sent`), or before its answer does (`answered`)."""

    server: str
    name: str
    nth: int
    way: Way

    def __str__(self) -> str:
        return f"{self.server}: {self.name} {self.nth}, {'not arrived' if self.way == 'sent' else 'not answered'}"


@dataclass
class TokenRequest:
    """`sent`: the refresh token. `status`: of the answer, as far as it came.

    `lost`: the answer did not get to the replica, or not while it waited for it, or died with it.
    """

    moment: float
    sent: str = ""
    status: str = ""
    lost: bool = False

    def explains(self, refused: TokenRequest) -> bool:
        """Whether that one was refused because the answer to this one was lost."""
        return self.sent == refused.sent and self.lost and self.status in ("", "200")


@dataclass
class _Hold:
    gap: Gap
    caught: asyncio.Event = field(default_factory=asyncio.Event)
    decided: asyncio.Event = field(default_factory=asyncio.Event)
    drops: bool = False


class Steps:
    """What passes the taps of one replica. `passed`: the steps since `begin_anew`, in their order.

    `requests`: those for a token, in their order. `unsaved`: the last one's answer has got to the replica, and nothing
    to the store since, where there is one behind a tap: the replica alone knows the next refresh token.
    """

    def __init__(self) -> None:
        self.passed: list[Gap] = []
        self.requests: list[TokenRequest] = []
        self.unsaved = False
        self._counts: Counter[tuple[str, str, Way]] = Counter()
        self._hold: _Hold | None = None

    def begin_anew(self) -> None:
        """Count the steps from 1."""
        self.passed.clear()
        self._counts.clear()

    def catch(self, gap: Gap) -> asyncio.Event:
        """Hold the next one there, counted from now; the event says that it is held."""
        self.begin_anew()
        self._hold = _Hold(gap)
        return self._hold.caught

    def let_go(self, *, drop: bool) -> None:
        """End the hold: deliver what was held, or drop it and its connection. Nothing is caught from now on."""
        if self._hold is not None:
            self._hold.drops = drop
            self._hold.decided.set()
            self._hold = None

    async def take(self, server: str, name: str, way: Way) -> bool:
        """Something passes; False where it is to be dropped."""
        self._counts[server, name, way] += 1
        gap = Gap(server, name, self._counts[server, name, way], way)
        self.passed.append(gap)
        hold = self._hold
        if hold is None or gap != hold.gap:
            return True
        hold.caught.set()
        await hold.decided.wait()
        return not hold.drops


class Tap:
    """Listens on `port`; `server` tells the port of the server, and `name` is what gaps call it."""

    def __init__(self, name: str, server: Callable[[], int], steps: Steps) -> None:
        self.name = name
        self.port = 0
        self.steps = steps
        self._server = server
        self._listener: asyncio.Server | None = None
        self._connections: dict[asyncio.Task[None], asyncio.StreamWriter] = {}

    async def __aenter__(self) -> Self:
        self._listener = await asyncio.start_server(self._accepted, "127.0.0.1", 0)
        self.port = self._listener.sockets[0].getsockname()[1]
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._listener is not None
        self._listener.close()
        self.steps.let_go(drop=True)
        for writer in self._connections.values():
            writer.close()
        await asyncio.gather(*self._connections, return_exceptions=True)
        await self._listener.wait_closed()

    async def _accepted(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._connections[task] = writer
        try:
            with suppress(OSError):
                await _Passage(self).run(reader, writer, self._server())
        finally:
            writer.close()
            del self._connections[task]


class _Passage:
    """One connection."""

    def __init__(self, tap: Tap) -> None:
        self._tap = tap
        self._asked = ""
        self._aside = False
        self._request: TokenRequest | None = None

    async def run(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, port: int) -> None:
        server_reader, server_writer = await asyncio.open_connection("127.0.0.1", port)
        ways = [
            asyncio.create_task(self._pass(reader, server_writer, "sent")),
            asyncio.create_task(self._pass(server_reader, writer, "answered")),
        ]
        try:
            await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
        finally:
            if self._request is not None:
                self._request.lost = True
            for way in ways:
                way.cancel()
            await asyncio.gather(*ways, return_exceptions=True)
            server_writer.close()

    async def _pass(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, way: Way) -> None:
        while octets := await reader.read(65536):
            name = self._name(octets) if way == "sent" else self._asked  # only the beginning of an answer is a step
            self._note(octets, name, way)
            if name and not await self._tap.steps.take(self._tap.name, name, way):
                return
            if way == "sent":
                self._asked = name or self._asked
                octets = _REQUEST.sub(
                    rb"\1 \2 HTTP/1.1\r\n", octets, count=1
                )  # a proxy's absolute-form (RFC 9112 §3.2.2)
            writer.write(octets)
            await writer.drain()
            self._tap.steps.unsaved = name != SAVE and (self._tap.steps.unsaved or (name, way) == (TOKEN, "answered"))
            if way == "answered":
                if self._request is not None and time.time() > self._request.moment + WAITS:
                    self._request.lost = True
                self._asked, self._request = "", None

    def _name(self, octets: bytes) -> str:
        """Empty for the rest of a command, and for what is no step."""
        if (command := _COMMAND.match(octets)) is not None:
            name = command[1].decode().upper()
            self._aside = self._aside or name.endswith("SUBSCRIBE")
            if self._aside or name in _ASIDE:
                return ""
            return next((does for word, does in _SCRIPTS.items() if word in octets), name) if name == "EVAL" else name
        if (request := _REQUEST.match(octets)) is not None:
            return request[2].decode()
        return ""

    def _note(self, octets: bytes, name: str, way: Way) -> None:
        """Remember requests for a token."""
        if way == "sent" and name == TOKEN:
            self._request = TokenRequest(time.time())
            self._tap.steps.requests.append(self._request)
        if self._request is None:
            return
        if way == "answered":
            self._request.status = octets[9:12].decode("latin-1")
        elif (sent := _REFRESH_TOKEN.search(octets)) is not None:
            self._request.sent = sent[1].decode("latin-1")
