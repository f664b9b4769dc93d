"""WebSocket messages through a peer: to an upstream that sends each back, or from one that sends of its own accord."""

from __future__ import annotations

import base64
import os
import select
import socket
import time
from collections.abc import Callable
from statistics import quantiles
from types import TracebackType
from typing import Self

from frames import SIZE_OF_PUSHED, accept_for, from_client, from_server, pushed, pushed_at
from load import Load
from modes import Mode

THERE_AND_BACK = 2
PATIENCE = 10.0
MESSAGES = 256
"""So many different ones, each masked with its own key."""


class _Connection:
    """`due`: the answer that is to come, frame and all; `sent`: when what it answers was sent."""

    def __init__(self, port: int, mode: Mode, number: int) -> None:
        key = base64.b64encode(os.urandom(16))
        self.handle = socket.create_connection(("127.0.0.1", port), PATIENCE)
        self.handle.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.handle.sendall(
            f"GET {mode.path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
            f"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {key.decode()}\r\n\r\n".encode()
        )
        head = b""
        while not head.endswith(b"\r\n\r\n"):
            head += (octets := self.handle.recv(1))
            if not octets:
                raise RuntimeError(f"no WebSocket: {head!r}")
        accepts = [
            value.strip()
            for name, _, value in (line.partition(b":") for line in head.split(b"\r\n"))
            if name.lower() == b"sec-websocket-accept"
        ]
        if not head.startswith(b"HTTP/1.1 101 ") or accepts != [accept_for(key)]:
            raise RuntimeError(f"no WebSocket: {head!r}")
        self.number = number
        self.octets = self.due = b""
        self.sent = 0.0


class Chatter:
    """Kept-open WebSockets, `mode.connections` of them. Raises RuntimeError where one is not opened as it should."""

    def __init__(self, port: int, mode: Mode) -> None:
        self._connections = [_Connection(port, mode, number) for number in range(mode.connections)]
        self._by_number = {one.handle.fileno(): one for one in self._connections}
        self._poll = select.epoll()
        for one in self._connections:
            self._poll.register(one.handle, select.EPOLLIN)
        self._push = mode.push
        self._latencies: list[float] = []
        self._errors = 0
        self._stopping = False
        plain = [os.urandom(mode.message) for _ in range(MESSAGES)]
        self._messages = [(from_client(one, os.urandom(4)), from_server(one)) for one in plain]
        if self._push:
            for one in self._connections:
                one.number = 0
                one.handle.send(self._messages[0][0])

    def __enter__(self) -> Self:
        """They are open from its making on."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Hang up."""
        for one in self._connections:
            one.handle.close()
        self._poll.close()

    def run(self, seconds: float) -> Load:
        """Messages for that long; those that came whole and as they should are counted."""
        self._latencies, self._errors, self._stopping = [], 0, False
        started = time.monotonic()
        until = started + seconds
        if not self._push:
            for one in self._connections:
                self._say(one, started)
        messages = 0
        while (left := until - time.monotonic()) > 0 and not self._errors:
            messages += self._look(left)
        seconds = time.monotonic() - started
        self._stopping = True
        while not self._push and not self._errors and any(one.due for one in self._connections):
            if not self._look(PATIENCE):
                self._errors += 1
        cuts = quantiles(self._latencies, n=100) if len(self._latencies) > 1 else [0.0] * 99
        return Load(messages, seconds, self._errors, cuts[49] * 1000, cuts[98] * 1000)

    def _look(self, patience: float) -> int:
        """Read what has come; how many messages that was."""
        messages = 0
        heed: Callable[[_Connection, float], int] = self._listen if self._push else self._hear
        ready = self._poll.poll(patience)
        now = time.monotonic()
        for number, _ in ready:
            one = self._by_number[number]
            octets = one.handle.recv(1 << 16)
            if not octets:
                self._errors += 1
                break
            one.octets = one.octets + octets if one.octets else octets
            messages += heed(one, now)
        return messages

    def _say(self, one: _Connection, now: float) -> None:
        one.number += 1
        said, one.due = self._messages[one.number % MESSAGES]
        one.sent = now
        one.handle.send(said)

    def _hear(self, one: _Connection, now: float) -> int:
        if len(one.octets) < len(one.due):
            return 0
        if one.octets != one.due:
            self._errors += 1
            return 0
        one.octets = one.due = b""
        self._latencies.append(now - one.sent)
        if not self._stopping:
            self._say(one, now)
        return THERE_AND_BACK

    def _listen(self, one: _Connection, now: float) -> int:
        messages = 0
        while len(one.octets) >= SIZE_OF_PUSHED:
            message, one.octets = one.octets[:SIZE_OF_PUSHED], one.octets[SIZE_OF_PUSHED:]
            at = pushed_at(message)
            one.number += 1
            if message != pushed(one.number, at):
                self._errors += 1
                break
            self._latencies.append(now - at / 1e9)
            messages += 1
        return messages
