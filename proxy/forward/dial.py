"""Opening a connection to an upstream: resolve, connect, shake hands; each failure by its own name (RFC 9209 §2.3)."""

from __future__ import annotations

import asyncio
import ipaddress
import socket
import ssl
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from proxy.config.no_proxy import is_direct
from proxy.config.schema import ClientTls, ViaProxy
from proxy.errors import (
    CertificateRefused,
    ConnectionRefused,
    ConnectTimeout,
    NameNotResolved,
    NameTimeout,
    TlsFailed,
)
from proxy.forward.egress import Egress
from proxy.tokens.tls import FollowedTls

_HAPPY_EYEBALLS_DELAY = 0.25
"""Seconds before the next address is tried beside the last one (RFC 8305 §5)."""


@dataclass(frozen=True, slots=True)
class Origin:
    """Where connections lead, and all that must be the same for two requests to share one.

    `scheme`: http or https; `timeout`: seconds for resolving, and again for connecting with the handshake;
    `via`: the egress proxy.
    """

    scheme: str
    host: str
    port: int
    timeout: float
    tls: ClientTls | None = None
    via: ViaProxy | None = None

    @property
    def authority(self) -> str:
        """host[:port] as in a Host line: the scheme's own port is left out."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == (443 if self.scheme == "https" else 80) else f"{host}:{self.port}"


class Dialler:
    """Opens connections to one origin. Raises ConfigurationError for certificates or a proxy that cannot be used."""

    def __init__(self, origin: Origin) -> None:
        self.origin = origin
        self._tls = FollowedTls(origin.tls) if origin.scheme == "https" else None
        self._server_name = (origin.tls and origin.tls.server_name) or origin.host
        via = origin.via
        self._egress = Egress(via.url) if via is not None and not is_direct(origin.host, via.no_proxy) else None

    async def dial(self, protocol: Callable[[], asyncio.Protocol]) -> asyncio.Protocol:
        """One connected protocol. Raises UpstreamFault by its kind."""
        origin = self.origin
        nearest = (origin.host, origin.port) if self._egress is None else (self._egress.host, self._egress.port)
        if not _is_address(nearest[0]):
            await self._resolve(*nearest)
        try:
            async with asyncio.timeout(origin.timeout):
                return await (
                    self._connect(protocol) if self._egress is None else self._through(self._egress, protocol)
                )
        except TimeoutError:
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

    async def _connect(self, protocol: Callable[[], asyncio.Protocol]) -> asyncio.Protocol:
        host = self.origin.host
        loop = asyncio.get_running_loop()
        several = not _is_address(host) and isinstance(loop, asyncio.BaseEventLoop)  # uvloop tries one after the other
        options: dict[str, Any] = {"happy_eyeballs_delay": _HAPPY_EYEBALLS_DELAY} if several else {}
        _, connected = await loop.create_connection(
            protocol,
            host,
            self.origin.port,
            ssl=self._tls.current() if self._tls else None,
            server_hostname=self._server_name if self._tls else None,
            **options,
        )
        return connected

    async def _through(self, egress: Egress, protocol: Callable[[], asyncio.Protocol]) -> asyncio.Protocol:
        transport: asyncio.Transport | None = await egress.connect(self.origin.host, self.origin.port)
        connected = protocol()
        if transport is not None and self._tls is not None:
            loop = asyncio.get_running_loop()
            transport = await loop.start_tls(
                transport, connected, self._tls.current(), server_hostname=self._server_name
            )
        elif transport is not None:
            transport.set_protocol(connected)
        if transport is None:
            raise ConnectionResetError
        connected.connection_made(transport)
        transport.resume_reading()
        return connected

    async def _resolve(self, host: str, port: int) -> None:
        """Look the name up by itself first, so that a name that does not resolve is told from a host that is not there.

        The system's resolver caches; connecting asks it again and tries all addresses.
        """
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(self.origin.timeout):
                await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        except TimeoutError:
            raise NameTimeout("The upstream's name was not resolved in time") from None
        except OSError:
            raise NameNotResolved("The upstream's name does not resolve") from None


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        return False
    return True
