"""Through an egress proxy: CONNECT (RFC 9110 §9.3.6), after which its connection is as good as one to the upstream."""

from __future__ import annotations

import asyncio
import socket
from typing import cast
from urllib.parse import urlsplit

from proxy.errors import ConfigurationError, ConnectionRefused, MalformedAnswer, ProxyError
from proxy.http1.answer import read_answer

_LARGEST_HEAD = 16 * 1024
_MOST_FIELDS = 100


class Egress:
    """One proxy, by its URL: `http://host[:port]`. Raises ConfigurationError for any other."""

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        if parts.scheme != "http" or not parts.hostname:
            raise ConfigurationError("via_proxy: only http:// proxies are known: http://egress:3128")
        self.host = parts.hostname
        self.port = parts.port or 80

    async def connect(self, handle: socket.socket, host: str, port: int) -> asyncio.Transport:
        """A transport that leads to the upstream's port; nothing is read from it yet. Raises OSError, UpstreamFault.

        `handle`: connected to the proxy.
        """
        authority = (f"[{host}]:{port}" if ":" in host else f"{host}:{port}").encode("ascii")
        loop = asyncio.get_running_loop()
        transport, protocol = await loop.create_connection(_Asking, sock=handle)
        try:
            transport.write(b"CONNECT %b HTTP/1.1\r\nHost: %b\r\n\r\n" % (authority, authority))
            await protocol.opened
        except BaseException:
            transport.abort()
            raise
        return transport


class _Asking(asyncio.Protocol):
    """Waits for the proxy's answer: a 2xx and not an octet more, because whoever is behind it speaks when spoken to."""

    def __init__(self) -> None:
        self.opened: asyncio.Future[None] = asyncio.get_running_loop().create_future()
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
        if head.status >= 300:  # noqa: PLR2004
            raise ConnectionRefused(f"The egress proxy refused to connect to the upstream (status {head.status})")
        if len(self._received) > head.size:
            raise MalformedAnswer("The egress proxy said more than its answer")
        return True

    def connection_lost(self, error: Exception | None) -> None:  # noqa: ARG002 - the interface
        if not self.opened.done():
            self.opened.set_exception(ConnectionRefused("The egress proxy ended the connection"))
