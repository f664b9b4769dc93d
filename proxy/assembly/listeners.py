"""All listeners: the data path's own, and the admin side's three applications.

`rehearse` tries them first, so that no token is requested if a port is taken. They are opened last, when requests can
be served; the data path's before the admin side's, which reports readiness.
"""

from __future__ import annotations

import contextlib
import logging
import os
import socket
import ssl
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from aiohttp import web

from proxy.admin.admin_server import Runner
from proxy.admin.applications import Applications
from proxy.assembly import sockets
from proxy.assembly.unusable import ErrorCollector
from proxy.config import schema
from proxy.config.address import Address, parse_address
from proxy.errors import ConfigurationError
from proxy.forward.proxy_server import ProxyServer
from proxy.forward.socket_file import SocketFile
from proxy.tokens.tls import load_certificate

_log = logging.getLogger("auth_sidecar.app")


@dataclass(frozen=True)
class ConfiguredListener:
    """One listener as configured. `key`: what the file calls it; `make`: its application, None for the data path."""

    key: str
    text: str
    tls: schema.ListenTls | None
    make: Callable[[], web.Application] | None

    @property
    def address(self) -> Address:
        """Its address."""
        return parse_address(self.text)


class Listeners:
    """The listeners of the program. A reload changes nothing about them but certificates and who may connect."""

    def __init__(self, config: schema.Config, front: ProxyServer, applications: Applications) -> None:
        self._config = config
        self._reuse_port = config.reuse_port
        self._front = front
        self._applications = applications
        self._places = _places(config, applications)
        self._contexts: dict[schema.ListenTls, ssl.SSLContext] = {}
        self._runners: list[Runner] = []
        self._files: list[tuple[ConfiguredListener, SocketFile]] = []

    def rehearse(self) -> None:
        """Check that all of them can be opened, and open none.

        Raises OSError, whose `strerror` names the listener, and ConfigurationError for a certificate.
        """
        self._contexts = self.certificates()
        for place in self._places:
            with _named(place):
                sockets.rehearse(place.address, reuse_port=self._reuse_port)

    async def open(self, config: schema.Config) -> None:
        """Open them, the data path's first, so that it is open once readiness is reported. Raises as `rehearse`."""
        for place in self._places:
            address = place.address
            with _named(place):
                context = self._contexts[place.tls] if place.tls is not None else None
                if place.make is None:
                    await self._front.listen(address, context, reuse_port=self._reuse_port)
                else:
                    await self._serve(place.make(), address, context)
                if address.path is not None:
                    self._files.append((place, SocketFile(address.path)))
                    self.admit(config)

    def admit(self, config: schema.Config) -> None:
        """Open unix sockets to other users of this machine where callers are checked in another way."""
        for place, file in self._files:
            file.chmod(0o666 if _is_guarded(place, config) else 0o600)

    def certificates(self) -> dict[schema.ListenTls, ssl.SSLContext]:
        """Read certificates and keys from their files. Raises UnusableError."""
        return certificates(self._config)

    def renew_certificates(self) -> None:
        """Use the certificates that were read last for new connections."""
        for tls, context in self._contexts.items():
            try:
                load_certificate(context, tls.cert_file, tls.key_file)
            except (OSError, ValueError):
                _log.error("tls of a listener: %s changed under our hands and cannot be used", tls.cert_file)

    async def close(self) -> None:
        """Stop the admin side's, and remove the sockets that are still ours."""
        for place, file in self._files:
            if place.make is not None:  # the data path removes its own; the path may belong to another process by now
                file.remove()
        self._files.clear()
        for runner in self._runners:
            await runner.cleanup()
        self._runners.clear()

    async def _serve(self, application: web.Application, address: Address, context: ssl.SSLContext | None) -> None:
        runner = Runner(application, lambda: self._applications.limits, self._applications.clock)
        self._runners.append(runner)
        await runner.setup()
        runner.listen(sockets.bound(address, reuse_port=self._reuse_port), context)


def _is_guarded(place: ConfiguredListener, config: schema.Config) -> bool:
    """Whether a unix socket may be open to all users: its callers are checked otherwise, or everybody is allowed."""
    if place.make is None:
        return config.callers is not None
    if place.key != "admin.listen":
        return True  # probes for anybody; pushes, each with its own guard
    return config.admin.bearer is not None or (
        isinstance(config.callers, schema.Callers) and bool(config.callers.unix_uids)
    )


def certificates(config: schema.Config) -> dict[schema.ListenTls, ssl.SSLContext]:
    """The TLS contexts of all listeners, read from their files. Raises UnusableError."""
    errors = ErrorCollector()
    contexts = {}
    given = [(("listen", index, "tls"), listen.tls) for index, listen in enumerate(config.listen)]
    for path, tls in [*given, (("update", "tls"), config.update.tls if config.update is not None else None)]:
        if tls is not None:
            with errors.collect(*path):
                contexts[tls] = server_context(tls)
    errors.raise_collected()
    return contexts


def server_context(tls: schema.ListenTls) -> ssl.SSLContext:
    """The TLS context of a listener. Raises ConfigurationError."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(["http/1.1"])
    try:
        load_certificate(context, tls.cert_file, tls.key_file)
    except (OSError, ValueError) as error:
        reason = "not a certificate, or not its key"
        if not isinstance(error, ssl.SSLError) and isinstance(error, OSError) and error.strerror:
            reason = error.strerror.lower()
        raise ConfigurationError(f"tls of a listener: {tls.cert_file}, {tls.key_file}: {reason}") from None
    return context


def _places(config: schema.Config, applications: Applications) -> list[ConfiguredListener]:
    found = [ConfiguredListener("listen", listen.address, listen.tls, None) for listen in config.listen]
    if config.admin.listen is not None:
        found.append(ConfiguredListener("admin.listen", config.admin.listen, None, applications.admin))
    if config.health is not None:
        found.append(ConfiguredListener("health.listen", config.health.listen, None, applications.health))
    if config.update is not None:
        found.append(ConfiguredListener("update.listen", config.update.listen, config.update.tls, applications.update))
    return found


@contextlib.contextmanager
def _named(place: ConfiguredListener) -> Iterator[None]:
    """Add the listener's name to an OSError."""
    try:
        yield
    except OSError as error:
        reason = error.strerror or str(error)
        if error.errno is not None and error.errno > 0 and not isinstance(error, socket.gaierror | FileExistsError):
            reason = os.strerror(error.errno)
        raise OSError(error.errno, f"{place.key}: cannot listen on {place.text}: {reason.lower()}") from None
