"""Through an egress proxy: by CONNECT (RFC 9110 §9.3.6), after which its connection is as good as one to the upstream.

What is http:// is sent to the proxy itself, the target in absolute form (RFC 9112 §3.2.2): most proxies connect to port
443 alone. A protocol that a connection changes to has no other way than CONNECT, though (RFC 6455 §4.1).
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable
from typing import cast
from urllib.parse import urlsplit

from proxy.config.schema import ViaProxy
from proxy.errors import ConfigurationError, ConnectionRefused, MalformedAnswer, ProxyError
from proxy.forward.directory_errors import EgressDenied
from proxy.http1.answer import read_answer
from proxy.tokens.secret import LiveSecret, basic

_LARGEST_HEAD = 16 * 1024
_MOST_FIELDS = 100
_DENIED = 407


class Egress:
    """One proxy, by its URL: `http://host[:port]`. Raises ConfigurationError for any other."""

    def __init__(self, via: ViaProxy, password: LiveSecret | None = None) -> None:
        parts = urlsplit(via.url)
        if parts.scheme != "http" or not parts.hostname:
            raise ConfigurationError("via_proxy: only http:// proxies are known: http://egress:3128")
        self.host = parts.hostname
        self.port = parts.port or 80
        self._username = via.username
        self._password = password
        self._known = ""
        self._line = b""
        if via.username is not None and password is None:
            self._line = _line(via.username, "")

    async def prepare(self) -> None:
        """Wait for the password. Raises CredentialError where it cannot be had."""
        if self._password is not None:
            self._remember(await self._password.read())

    def authorization(self) -> bytes:
        """The field line for the proxy, with the password as it is now; none where it asks for nobody."""
        if self._password is not None and (password := self._password.ready()) is not None:
            self._remember(password)
        return self._line

    def _remember(self, password: str) -> None:
        if password != self._known and self._username is not None:
            self._known = password
            self._line = _line(self._username, password)

    def denied(self) -> EgressDenied:
        """What a 407 of the proxy means."""
        return EgressDenied(named=self._username is not None)

    async def connect(self, handle: socket.socket, host: str, port: int) -> asyncio.Transport:
        """A transport that leads to the upstream's port; nothing is read from it yet. Raises OSError, UpstreamError.

        `handle`: connected to the proxy.
        """
        authority = (f"[{host}]:{port}" if ":" in host else f"{host}:{port}").encode("ascii")
        loop = asyncio.get_running_loop()
        transport, protocol = await loop.create_connection(lambda: _Asking(self.denied), sock=handle)
        try:
            head = b"CONNECT %b HTTP/1.1\r\nHost: %b\r\n%b\r\n" % (authority, authority, self.authorization())
            transport.write(head)
            await protocol.opened
        except BaseException:
            transport.abort()
            raise
        return transport


def absolute(authority: bytes, target: bytes) -> bytes:
    """The target as a proxy reads it. `OPTIONS *` is asked of the origin with an empty path (RFC 9112 §3.2.4)."""
    return b"http://" + authority + (b"" if target == b"*" else target)


def _line(username: str, password: str) -> bytes:
    return b"Proxy-Authorization: %b\r\n" % basic(username, password).encode("ascii")


class _Asking(asyncio.Protocol):
    """Waits for the proxy's answer: a 2xx and not an octet more, because whoever is behind it speaks when spoken to."""

    def __init__(self, denied: Callable[[], ProxyError]) -> None:
        self.opened: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._denied = denied
        self._transport: asyncio.Transport | None = None
        self._received = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        self._received += data
        if self.opened.done():
            return
        try:
            if self._answered():
                if self._transport is not None:
                    self._transport.pause_reading()
                self.opened.set_result(None)
        except ProxyError as error:
            self.opened.set_exception(error)

    def _answered(self) -> bool:
        head = read_answer(self._received, 0, _LARGEST_HEAD, _MOST_FIELDS)
        if head is None:
            return False
        if head.status < 200:  # noqa: PLR2004 - interim
            self._received = self._received[head.size :]
            return self._answered() if self._received else False
        if head.status == _DENIED:
            raise self._denied()
        if head.status >= 300:  # noqa: PLR2004
            raise ConnectionRefused(f"The egress proxy refused to connect to the upstream (status {head.status})")
        if len(self._received) > head.size:
            raise MalformedAnswer("The egress proxy said more than its answer")
        return True

    def connection_lost(self, error: Exception | None) -> None:  # noqa: ARG002 - the interface
        if not self.opened.done():
            self.opened.set_exception(ConnectionRefused("The egress proxy ended the connection"))
