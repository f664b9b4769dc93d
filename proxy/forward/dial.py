"""Opening a connection to an upstream: resolve, connect, shake hands; each failure by its own name (RFC 9209 §2.3)."""

from __future__ import annotations

import asyncio
import ipaddress
import socket
import ssl
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from proxy.config.schema import ClientTls
from proxy.errors import (
    CertificateRefused,
    ConfigurationError,
    ConnectionRefused,
    ConnectTimeout,
    NameNotResolved,
    NameTimeout,
    TlsFailed,
)

_HAPPY_EYEBALLS_DELAY = 0.25
"""Seconds before the next address is tried beside the last one (RFC 8305 §5)."""


@dataclass(frozen=True, slots=True)
class Origin:
    """Where connections lead, and all that must be the same for two requests to share one.

    `scheme`: http or https; `timeout`: seconds for resolving, and again for connecting with the handshake.
    """

    scheme: str
    host: str
    port: int
    timeout: float
    tls: ClientTls | None = None

    @property
    def authority(self) -> str:
        """host[:port] as in a Host line: the scheme's own port is left out."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == (443 if self.scheme == "https" else 80) else f"{host}:{self.port}"


def client_context(tls: ClientTls | None) -> ssl.SSLContext:
    """TLS towards a server: verified always. Raises ConfigurationError where a file cannot be used."""
    tls = tls or ClientTls()
    try:
        context = ssl.create_default_context(cafile=tls.ca_file)
        context.minimum_version = ssl.TLSVersion.TLSv1_3 if tls.min_version == "1.3" else ssl.TLSVersion.TLSv1_2
        context.set_alpn_protocols(["http/1.1"])
        if tls.cert_file is not None:
            context.load_cert_chain(tls.cert_file, tls.key_file)
    except (OSError, ssl.SSLError) as error:
        files = ", ".join(filter(None, (tls.ca_file, tls.cert_file, tls.key_file)))
        raise ConfigurationError(f"TLS: a certificate or key cannot be used ({files}): {error.strerror}") from None
    return context


class Dialler:
    """Opens connections to one origin."""

    def __init__(self, origin: Origin) -> None:
        self.origin = origin
        self._context = client_context(origin.tls) if origin.scheme == "https" else None
        self._server_name = (origin.tls and origin.tls.server_name) or origin.host

    async def dial(self, protocol: Callable[[], asyncio.Protocol]) -> asyncio.Protocol:
        """One connected protocol. Raises UpstreamFault by its kind."""
        origin = self.origin
        host = origin.host if _is_address(origin.host) else await self._resolve()
        try:
            async with asyncio.timeout(origin.timeout):
                return await self._connect(protocol, host)
        except TimeoutError:
            raise ConnectTimeout("The upstream did not accept the connection in time") from None
        except ssl.SSLCertVerificationError as error:
            raise CertificateRefused(f"The upstream's certificate does not verify: {error.verify_message}") from None
        except ssl.SSLError as error:
            raise TlsFailed(f"The TLS handshake with the upstream failed: {error.reason}") from None
        except (ConnectionResetError, BrokenPipeError):
            if self._context is not None:
                raise TlsFailed("The upstream ended the connection during the TLS handshake") from None
            raise ConnectionRefused("The upstream reset the connection") from None
        except OSError:
            raise ConnectionRefused("The upstream cannot be connected to") from None

    async def _connect(self, protocol: Callable[[], asyncio.Protocol], host: str) -> asyncio.Protocol:
        # uvloop does not know the option, and an address has no second one to try
        options: dict[str, Any] = {} if _is_address(host) else {"happy_eyeballs_delay": _HAPPY_EYEBALLS_DELAY}
        _, connected = await asyncio.get_running_loop().create_connection(
            protocol,
            host,
            self.origin.port,
            ssl=self._context,
            server_hostname=self._server_name if self._context else None,
            **options,
        )
        return connected

    async def _resolve(self) -> str:
        """Look the name up by itself first, so that a name that does not resolve is told from a host that is not there.

        The system's resolver caches; connecting asks it again and tries all addresses.
        """
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(self.origin.timeout):
                await loop.getaddrinfo(self.origin.host, self.origin.port, type=socket.SOCK_STREAM)
        except TimeoutError:
            raise NameTimeout("The upstream's name was not resolved in time") from None
        except OSError:
            raise NameNotResolved("The upstream's name does not resolve") from None
        return self.origin.host


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        return False
    return True
