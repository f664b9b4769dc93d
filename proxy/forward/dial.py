"""Opening a connection to an upstream: resolve, connect, shake hands; each failure by its own name (RFC 9209 §2.3)."""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import Callable
from dataclasses import dataclass

from aiohappyeyeballs import start_connection

from proxy.clock import SystemClock
from proxy.config.address import is_prohibited
from proxy.config.no_proxy import NoProxy
from proxy.config.schema import ClientTls, ViaProxy
from proxy.default_ports import DEFAULT_PORTS
from proxy.errors import (
    CertificateRefused,
    ConnectionRefused,
    ConnectTimeout,
    TlsFailed,
)
from proxy.forward.directory_errors import AddressProhibited
from proxy.forward.egress import Egress
from proxy.forward.resolver import Resolver, SocketAddress
from proxy.forward.sessions import Sessions
from proxy.forward.tls_client import TlsClient
from proxy.forward.unix_socket import connected_to
from proxy.http1.host import parse_host
from proxy.tokens.secret import LiveSecret
from proxy.tokens.tls import FollowedTls

_HAPPY_EYEBALLS_DELAY = 0.25
"""Seconds before the next address is tried beside the last one (RFC 8305 §5)."""


@dataclass(frozen=True, slots=True)
class Origin:
    """Where connections lead, and all that must be the same for two requests to share one.

    `scheme`: http or https; `timeout`: seconds for resolving, and again for connecting with the handshake;
    `via`: the egress proxy. `found`: in a directory, which must not lead to where no API is (`is_prohibited`).
    `seen_as`: the Host and server name that the upstream is told, where that is not its own. `socket`: the path of the
    unix socket where it is. `connects`: through the proxy by CONNECT, though it is http.
    """

    scheme: str
    host: str
    port: int
    timeout: float
    tls: ClientTls | None = None
    via: ViaProxy | None = None
    found: bool = False
    seen_as: str | None = None
    socket: str | None = None
    connects: bool = False

    @property
    def authority(self) -> str:
        """host[:port] as in a Host line: the scheme's own port is left out."""
        return self.seen_as or self._place

    @property
    def _place(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == DEFAULT_PORTS[self.scheme] else f"{host}:{self.port}"

    @property
    def url(self) -> str:
        """Where connections lead, for people."""
        return f"unix:{self.socket}" if self.socket is not None else f"{self.scheme}://{self._place}"

    @property
    def server_name(self) -> str:
        """Whom a TLS connection is for, and whom the certificate must name; without the root's dot (RFC 6066 §3)."""
        if self.tls is not None and self.tls.server_name is not None:
            return self.tls.server_name
        seen_as = self.seen_as
        name = self.host if seen_as is None else parse_host(seen_as.encode("ascii"))[0].decode().strip("[]")
        return name.removesuffix(".")

    @property
    def behind_proxy(self) -> bool:
        """Whether connections lead to the egress proxy."""
        via = self.via
        return via is not None and self.socket is None and not NoProxy(via.no_proxy).covers(self.host, self.port)

    @property
    def forwarded(self) -> bool:
        """Whether requests are sent to the egress proxy itself, their targets in absolute form."""
        return self.scheme == "http" and not self.connects and self.behind_proxy


class Dialler:
    """Opens connections to one origin. Raises ConfigurationError for certificates or a proxy that cannot be used.

    `forwards`: the egress proxy, where it is sent the requests themselves.
    """

    def __init__(
        self, origin: Origin, password: LiveSecret | None = None, now: Callable[[], float] = SystemClock.monotonic
    ) -> None:
        """`password`: of `origin.via`. `now`: seconds, never going back."""
        self.origin = origin
        self._tls = FollowedTls(origin.tls) if origin.scheme == "https" else None
        self._sessions = Sessions()
        self._egress = Egress(origin.via, password) if origin.via is not None and origin.behind_proxy else None
        self.forwards = self._egress if origin.forwarded else None
        nearest = (origin.host, origin.port) if self._egress is None else (self._egress.host, self._egress.port)
        self._resolver = Resolver(*nearest, now)
        self._now = now

    async def dial(self, protocol: Callable[[], asyncio.Protocol]) -> asyncio.Protocol:
        """One connected protocol. Raises UpstreamError by its kind."""
        timeout = self.origin.timeout
        addresses = await self._resolver.addresses(timeout) if self.origin.socket is None else []
        if self._egress is not None:
            await self._egress.prepare()
        connected = protocol()
        outer = connected if self._tls is None else self._encrypted(connected, self._tls.current())
        try:
            async with asyncio.timeout(timeout):
                await self._begin(await self._reach(addresses), outer)
                return connected
        except TimeoutError:
            self._resolver.doubt(addresses)
            raise ConnectTimeout("The upstream did not accept the connection in time") from None
        except ssl.SSLCertVerificationError as error:
            raise CertificateRefused(f"The upstream's certificate does not verify: {error.verify_message}") from None
        except ssl.SSLError as error:
            raise TlsFailed(f"The TLS handshake with the upstream failed: {error.reason}") from None
        except (ConnectionResetError, BrokenPipeError, ConnectionAbortedError):
            if self._tls is not None:
                raise TlsFailed("The upstream ended the connection during the TLS handshake") from None
            raise ConnectionRefused("The upstream reset the connection") from None
        except OSError:
            whom = "The upstream" if self._egress is None else "The egress proxy"
            raise ConnectionRefused(f"{whom} cannot be connected to") from None

    async def _reach(self, addresses: list[SocketAddress]) -> socket.socket:
        """A connected socket. Where none can be had, the name may lead elsewhere by now."""
        if self.origin.socket is not None:
            return await connected_to(self.origin.socket)
        try:
            return await self._race(addresses)
        except OSError:
            newer = await self._resolver.newer(addresses, self.origin.timeout)
            if newer is None:
                raise
            return await self._race(newer)

    async def _race(self, addresses: list[SocketAddress]) -> socket.socket:
        if self.origin.found and self._egress is None and any(is_prohibited(str(one[4][0])) for one in addresses):
            raise AddressProhibited("The upstream's name leads to a link-local address")
        return await start_connection(addresses, happy_eyeballs_delay=_HAPPY_EYEBALLS_DELAY)

    async def _begin(self, handle: socket.socket, outer: asyncio.Protocol) -> None:
        """Let the protocol have the connection, behind the egress proxy if there is one, and wait for TLS."""
        if self.origin.socket is not None:
            await asyncio.get_running_loop().create_unix_connection(lambda: outer, sock=handle)
        elif self._egress is None or self.forwards is not None:
            await asyncio.get_running_loop().create_connection(lambda: outer, sock=handle)
        else:
            transport = await self._egress.connect(handle, self.origin.host, self.origin.port)
            transport.set_protocol(outer)
            outer.connection_made(transport)
            transport.resume_reading()
        if isinstance(outer, TlsClient):
            try:
                await outer.ready
            except BaseException:
                outer.abort()
                raise
            self._sessions.learn(outer.tls)

    def _encrypted(self, protocol: asyncio.Protocol, context: ssl.SSLContext) -> TlsClient:
        session = self._sessions.resumable(context, self._now())
        return TlsClient(protocol, context, self.origin.server_name, session)
