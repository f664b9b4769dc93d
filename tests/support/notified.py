"""A service manager's end of sd_notify(3): the datagram socket that $NOTIFY_SOCKET names, and what arrives there."""

from __future__ import annotations

import asyncio
import socket

_PATIENCE = 60.0


class Notified:
    """`address` as the variable has it: a path, or `@` and a name in the abstract namespace."""

    def __init__(self, address: str) -> None:
        self.address = address
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind("\0" + address[1:] if address.startswith("@") else address)
        self._socket.settimeout(_PATIENCE)

    def heard(self, count: int) -> list[dict[str, str]]:
        """The next messages, each with its assignments."""
        return [self._one() for _ in range(count)]

    async def until(self, name: str) -> list[dict[str, str]]:
        """All messages up to the first that assigns this name."""
        messages: list[dict[str, str]] = []
        while not messages or name not in messages[-1]:
            messages.append(await asyncio.to_thread(self._one))
        return messages

    def close(self) -> None:
        """Listen no more."""
        self._socket.close()

    def _one(self) -> dict[str, str]:
        return dict(line.split("=", 1) for line in self._socket.recv(65536).decode().split("\n"))
