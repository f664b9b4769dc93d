"""An API with WebSockets that costs little: it shares a core with the load, and both must keep the fastest peer busy.

Usage: websocket_upstream.py PORT TOKEN RATE

401 without exactly the token. /ws/echo: each message comes back. /ws/push: once the client has said something, its
connection gets RATE messages a second, numbered, all connections at the same moments. Anything else: {}. One loop over
epoll; messages in one frame of less than 64 KiB; who sends anything else is hung up on.
"""

from __future__ import annotations

import select
import socket
import sys
import time

from frames import accept_for, from_server, pushed, read_from_client

ECHO = b"/ws/echo"


class Connection:
    """Requests first, messages once it has a `path`. `number`: of the last message pushed."""

    def __init__(self, handle: socket.socket) -> None:
        self.handle = handle
        self.path = b""
        self.octets = b""
        self.number = 0
        self._unsent = b""

    def send(self, octets: bytes) -> None:
        """Now, or with what comes later. Raises OSError once the other side is gone."""
        if self._unsent:
            octets = self._unsent + octets
        try:
            self._unsent = octets[self.handle.send(octets) :]
        except BlockingIOError:
            self._unsent = octets


class Upstream:
    """All connections; those that are `listening` get their next message when it is due."""

    def __init__(self, port: int, token: str, rate: float) -> None:
        self._authorization = f"Bearer {token}".encode()
        self._every = 1 / rate
        self._listener = socket.create_server(("127.0.0.1", port), backlog=4096)
        self._poll = select.epoll()
        self._poll.register(self._listener, select.EPOLLIN)
        self._connections: dict[int, Connection] = {}
        self._listening: set[Connection] = set()

    def serve(self) -> None:
        """Until killed."""
        due = time.monotonic()
        while True:
            patience = max(0.0, due - time.monotonic()) if self._listening else -1
            for number, _ in self._poll.poll(patience):
                if number == self._listener.fileno():
                    self._accept()
                else:
                    self._read(self._connections[number])
            now = time.monotonic()
            if now >= due:
                due = max(due + self._every, now)
                for connection in list(self._listening):
                    self._push(connection)

    def _accept(self) -> None:
        handle, _ = self._listener.accept()
        handle.setblocking(False)  # noqa: FBT003 - the socket's own signature
        handle.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._connections[handle.fileno()] = Connection(handle)
        self._poll.register(handle, select.EPOLLIN)

    def _end(self, connection: Connection) -> None:
        self._listening.discard(connection)
        del self._connections[connection.handle.fileno()]
        connection.handle.close()

    def _read(self, connection: Connection) -> None:
        try:
            octets = connection.handle.recv(1 << 16)
            if octets:
                self._heed(connection, connection.octets + octets)
                return
        except (OSError, ValueError):
            pass
        self._end(connection)

    def _heed(self, connection: Connection, octets: bytes) -> None:
        while octets and not connection.path:
            head, end, rest = octets.partition(b"\r\n\r\n")
            if not end:
                break
            connection.send(self._answer(connection, head))
            octets = rest
        while octets and connection.path:
            message, size = read_from_client(octets)
            if not size:
                break
            octets = octets[size:]
            if connection.path == ECHO:
                connection.send(from_server(message))
            else:
                self._listening.add(connection)
        connection.octets = octets

    def _answer(self, connection: Connection, head: bytes) -> bytes:
        line, *lines = head.split(b"\r\n")
        pairs = [(name.lower(), value.strip()) for name, _, value in (one.partition(b":") for one in lines)]
        if [value for name, value in pairs if name == b"authorization"] != [self._authorization]:
            return b"HTTP/1.1 401 Unauthorized\r\nContent-Length: 0\r\n\r\n"
        fields = dict(pairs)
        if fields.get(b"upgrade", b"").lower() != b"websocket":
            return b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}"
        connection.path = line.split(b" ")[1]
        return (
            b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            b"Sec-WebSocket-Accept: %b\r\n\r\n" % accept_for(fields[b"sec-websocket-key"])
        )

    def _push(self, connection: Connection) -> None:
        connection.number += 1
        try:
            connection.send(pushed(connection.number, time.monotonic_ns()))
        except OSError:
            self._end(connection)


if __name__ == "__main__":
    Upstream(int(sys.argv[1]), sys.argv[2], float(sys.argv[3])).serve()
