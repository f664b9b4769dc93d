"""The sandbox's listener: paths to handlers; start and stop.

async with Sandbox() as sandbox:
    sandbox.script.change(expires_in=5)
    …                                   # talk to sandbox.token_endpoint and sandbox.url + "/api"
    assert sandbox.counters.grants == {"client_credentials": 1}
"""

from __future__ import annotations

import asyncio
import logging
import ssl
from collections.abc import Awaitable, Callable
from types import TracebackType
from typing import Any, Self

from aiohttp import web
from aiohttp.http_exceptions import HttpProcessingError
from msgspec import Struct, field

from proxy.clock import Clock, SystemClock
from proxy.sandbox.authorization_server import AuthorizationServer
from proxy.sandbox.clients import DEFAULT_CLIENTS, Client
from proxy.sandbox.control import Control
from proxy.sandbox.counters import Counters
from proxy.sandbox.echo_api import EchoApi
from proxy.sandbox.ledger import Family, Ledger
from proxy.sandbox.script import Script
from proxy.sandbox.state import make_state

DEFAULT_PORT = 9911
_FORM_LIMIT = 256 * 1024
_GOODBYE = 1.0
_LOG = logging.getLogger("auth_sidecar.sandbox")


class SandboxOptions(Struct, frozen=True, kw_only=True):
    """Where the sandbox listens, and its clients, users and tokens at the start.

    `port` 0 takes a free one. `public_url`: scheme and authority under which others reach it, and the issuer (default:
    where it listens). `users`: names and passwords of the password grant. `refresh_token`: a refresh token of the first
    client that is good from the start, or None.
    """

    host: str = "127.0.0.1"
    port: int = DEFAULT_PORT
    public_url: str | None = None
    clients: tuple[Client, ...] = DEFAULT_CLIENTS
    users: dict[str, str] = field(default_factory=lambda: {"sandbox-user": "sandbox-password"})
    refresh_token: str | None = "sandbox-refresh-token"  # noqa: S105 - published with the documentation

    def __repr__(self) -> str:
        """Without passwords."""
        return f"SandboxOptions({self.host}:{self.port})"


class _Complaints(logging.LoggerAdapter[logging.Logger]):
    """aiohttp's log. Unreadable requests are logged without a traceback: they are mistakes of the sender."""

    def exception(self, msg: object, *args: object, exc_info: Any = True, **more: Any) -> None:
        """Log with a traceback only what is an internal error."""
        if isinstance(exc_info, HttpProcessingError | web.RequestPayloadError):
            self.debug("a request cannot be read")
        else:
            self.error(msg, *args, exc_info=exc_info, **more)


class Sandbox:
    """An authorization server and an echo API on one port. An asynchronous context manager; may be started again."""

    def __init__(
        self,
        options: SandboxOptions | None = None,
        *,
        clock: Clock | None = None,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self._options = options or SandboxOptions()
        self._tls = tls
        self._port = self._options.port
        self._runner: web.AppRunner | None = None
        self._state = make_state(clock or SystemClock(), self._options.clients, self._options.users)
        if self._options.refresh_token is not None and self._options.clients:
            family = Family(self._options.clients[0].client_id, "sandbox-user")
            self._state.ledger.mint_refresh(family, self._options.refresh_token)

    @property
    def url(self) -> str:
        """Scheme and authority, no slash at the end; known once it is started."""
        return self._state.issuer

    @property
    def token_endpoint(self) -> str:
        """The URL of the token endpoint."""
        return f"{self.url}/oauth2/token"

    @property
    def script(self) -> Script:
        """The settings and faults that `/control` changes."""
        return self._state.script

    @property
    def ledger(self) -> Ledger:
        """The tokens that were issued."""
        return self._state.ledger

    @property
    def counters(self) -> Counters:
        """What `/control/stats` answers."""
        return self._state.counters

    def register(self, client: Client) -> None:
        """Add a client, or replace one."""
        self._state.clients.register(client)

    async def start(self) -> None:
        """Listen. Raises OSError where the port is taken. A sandbox that was stopped listens on the same port again."""
        runner = web.AppRunner(
            self._application(),
            access_log=None,
            handler_cancellation=True,
            logger=_Complaints(_LOG),
            shutdown_timeout=_GOODBYE,
        )
        await runner.setup()
        site = web.TCPSite(runner, self._options.host, self._port, ssl_context=self._tls)
        try:
            await site.start()
        except OSError:
            await runner.cleanup()
            raise
        self._runner = runner
        self._port = runner.addresses[0][1]
        scheme = "http" if self._tls is None else "https"
        host = f"[{self._options.host}]" if ":" in self._options.host else self._options.host
        self._state.issuer = self._options.public_url or f"{scheme}://{host}:{self._port}"

    async def stop(self) -> None:
        """Close the listener and every connection. Issued tokens are kept."""
        if self._runner is not None:
            runner, self._runner = self._runner, None
            await runner.cleanup()

    async def __aenter__(self) -> Self:
        """Start."""
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop."""
        await self.stop()

    def _application(self) -> web.Application:
        authorization_server = AuthorizationServer(self._state)
        echo_api = EchoApi(self._state)
        control = Control(self._state)
        app = web.Application(client_max_size=_FORM_LIMIT)
        app.add_routes(
            [
                web.post("/oauth2/token", authorization_server.token),
                web.post("/oauth2/introspect", authorization_server.introspect),
                web.post("/oauth2/revoke", authorization_server.revoke),
                web.get("/oauth2/jwks", authorization_server.keys),
                web.get("/.well-known/oauth-authorization-server", authorization_server.metadata),
                web.get("/.well-known/openid-configuration", authorization_server.metadata),
                web.get("/control", control.show),
                web.post("/control", control.change),
                web.get("/control/stats", control.stats),
                web.delete("/control/stats", control.forget_stats),
                web.post("/control/clients", control.register),
                web.post("/control/refresh-token", control.mint),
                web.route("*", "/{rest:.*}", _by_raw_path(echo_api)),
            ]
        )
        app.on_shutdown.append(_close_websockets(echo_api))
        return app


def _by_raw_path(echo_api: EchoApi) -> Callable[[web.Request], Awaitable[web.StreamResponse]]:
    """Route the echo API by the path as sent: aiohttp's router sees it normalised."""

    async def handle(request: web.Request) -> web.StreamResponse:
        first = request.raw_path.partition("?")[0].split("/", 2)[1:2]
        if first == ["api"]:
            return await echo_api.guarded(request)
        if first == ["open"]:
            return await echo_api.open(request)
        raise web.HTTPNotFound(text="the sandbox answers under /api, /open, /oauth2, /.well-known and /control\n")

    return handle


def _close_websockets(echo_api: EchoApi) -> Callable[[web.Application], Awaitable[None]]:
    """Close open WebSockets, which would keep the listener from stopping."""

    async def close_all(_app: web.Application) -> None:
        for socket in set(echo_api.open_sockets):
            await socket.close(code=1001)

    return close_all


async def serve(
    options: SandboxOptions, *, ready: Callable[[Sandbox], None] | None = None, stop: asyncio.Event | None = None
) -> None:
    """Run a sandbox until `stop` is set or the task is cancelled; `ready` is called once it listens.

    Raises OSError where the port is taken.
    """
    async with Sandbox(options) as sandbox:
        if ready is not None:
            ready(sandbox)
        await (stop or asyncio.Event()).wait()
