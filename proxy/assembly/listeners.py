"""Opening listeners: the data path's own, and the admin side's three applications."""

from __future__ import annotations

import contextlib
import os
import ssl
from collections.abc import Callable, Iterator

from aiohttp import web

from proxy.admin.app import Applications
from proxy.admin.server import Runner
from proxy.config import schema
from proxy.config.address import Address, parse_address
from proxy.errors import ConfigurationError
from proxy.forward.front import Front


async def open_listeners(front: Front, config: schema.Config) -> None:
    """All of `listen`. Raises OSError with the address in its text, ConfigurationError for a certificate."""
    for listen in config.listen:
        context = server_context(listen.tls) if listen.tls is not None else None
        with _named(listen.address):
            await front.listen(parse_address(listen.address), context, reuse_port=config.reuse_port)


class AdminListeners:
    """`admin.listen`, `health.listen` and `update.listen`, as far as they are configured."""

    def __init__(self, applications: Applications) -> None:
        self._applications = applications
        self._runners: list[Runner] = []

    async def open(self, config: schema.Config) -> None:
        """Raises OSError with the address in its text, ConfigurationError for a certificate."""
        if config.admin.listen is not None:
            await self._open(self._applications.admin, config.admin.listen, None)
        if config.health is not None:
            await self._open(self._applications.health, config.health.listen, None)
        if config.update is not None:
            await self._open(self._applications.update, config.update.listen, config.update.tls)

    async def close(self) -> None:
        """Stop them all."""
        for runner in self._runners:
            await runner.cleanup()
        self._runners.clear()

    async def _open(self, make: Callable[[], web.Application], text: str, tls: schema.ListenTls | None) -> None:
        address = parse_address(text)
        context = server_context(tls) if tls is not None else None
        runner = Runner(make())
        self._runners.append(runner)
        await runner.setup()
        site: web.BaseSite
        if address.path is not None:
            site = web.UnixSite(runner, address.path, ssl_context=context)
        else:
            site = web.TCPSite(runner, address.host, address.port, ssl_context=context)
        with _named(text), _private(address):
            await site.start()


def server_context(tls: schema.ListenTls) -> ssl.SSLContext:
    """TLS of one of our listeners. Raises ConfigurationError."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(["http/1.1"])
    try:
        context.load_cert_chain(tls.cert_file, tls.key_file, password=lambda: "")
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or "not a certificate, or not its key"
        raise ConfigurationError(f"tls of a listener: {tls.cert_file}, {tls.key_file}: {reason}") from None
    return context


@contextlib.contextmanager
def _named(address: str) -> Iterator[None]:
    """An OSError that says which listener it was."""
    try:
        yield
    except OSError as error:
        raise OSError(error.errno, f"cannot listen on {address}: {error.strerror or error}") from None


@contextlib.contextmanager
def _private(address: Address) -> Iterator[None]:
    """A unix socket is its owner's from its first moment on."""
    if address.path is None:
        yield
        return
    before = os.umask(0o177)
    try:
        yield
    finally:
        os.umask(before)
