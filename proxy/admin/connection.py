"""One connection to the admin side: aiohttp's, with a deadline for each head and with error answers of our own.

aiohttp waits for a head for as long as its connection lives, and its own answer to a malformed request quotes up to a
hundred octets of it, which may be half an Authorization field, in the body and, with a traceback, in the log.
"""

from __future__ import annotations

import asyncio
import logging
from typing import Any, Protocol

from aiohttp import web
from aiohttp.streams import EMPTY_PAYLOAD

from proxy.admin.admin_errors import Malformed, TooSlow
from proxy.clock import Clock
from proxy.errors import ProxyError
from proxy.problem import MEDIA_TYPE, problem_body

NAME = "auth-sidecar"
HEAD_LIMIT = 32 * 1024
"""Octets of one line or field at most; a field that carries a JWT is long."""
_ALL_LIMIT = 2 * HEAD_LIMIT
"""Octets of a whole head at most."""

_log = logging.getLogger("auth_sidecar.admin")


def problem(error: ProxyError, *, credential: str | None = None, instance: bytes | None = None) -> web.Response:
    """The problem document of `error` as an answer."""
    return web.Response(
        status=error.status,
        body=problem_body(error, instance=instance, credential=credential),
        headers=[
            ("Content-Type", MEDIA_TYPE.decode()),
            ("Server", NAME),
            ("Cache-Control", "no-store"),
            *error.headers,
        ],
    )


class ConnectionOwner(Protocol):
    """Holds all connections of a listener, in the order in which they last sent something."""

    clock: Clock

    def heard_of(self, connection: AdminConnection) -> None:
        """Note that its caller has sent something."""

    def forget(self, connection: AdminConnection) -> None:
        """Forget a connection that has ended."""


class AdminConnection(web.RequestHandler):
    """A connection, from when it was accepted: the TLS handshake is included.

    `heard`: when its caller last sent something. `head_since`: since when a head is due; None while none is, because a
    request is being served or the next one has not begun. `handshake`: the task that makes the connection; None where
    there is none. Moments are those of `Clock.monotonic`.
    """

    __slots__ = (
        "_begun",
        "_head_octets",
        "_last_octets",
        "_more",
        "_owner",
        "_wire",
        "handshake",
        "head_since",
        "heard",
    )

    def __init__(self, server: web.Server, owner: ConnectionOwner, **options: Any) -> None:
        super().__init__(server, **options)
        self.heard = owner.clock.monotonic()
        self.head_since: float | None = self.heard
        self.handshake: asyncio.Task[None] | None = None
        self._begun = False
        self._last_octets = b""
        self._more = False
        self._owner = owner
        self._head_octets = 0
        self._wire: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin to read. The transport is kept: aiohttp forgets it before all is sent."""
        self._wire = transport  # type: ignore[assignment]
        super().connection_made(transport)

    def connection_lost(self, exc: BaseException | None) -> None:
        """Tell the listener."""
        super().connection_lost(exc)
        self._owner.forget(self)

    async def start(self) -> None:
        """Serve, unless the caller has gone before the first turn."""
        self._begun = True
        if self._manager is None:
            return
        try:
            await super().start()
        except Exception as error:  # noqa: BLE001 - nobody else would hear of it
            _log.error("a connection was ended, please report: %s", type(error).__name__)
            self.end()

    def data_received(self, data: bytes) -> None:
        """Note whether a head has begun, is whole, or grows without end."""
        self.heard = self._owner.clock.monotonic()
        self._owner.heard_of(self)
        try:
            super().data_received(data)
        except Exception as error:  # noqa: BLE001 - of a parser, at what a stranger sent
            _log.debug("a head cannot be read: %s", type(error).__name__)
            self._give_up(Malformed())
            return
        self._last_octets = (self._last_octets + data)[-4:]
        if self._messages:
            self.head_since = None
            self._head_octets = 0
            # What follows a body cannot be told from here: its connection idles no longer than a head may take.
            self._more = self._messages[-1][1] is not EMPTY_PAYLOAD or self._last_octets != b"\r\n\r\n"
        elif self.waits:
            if self.head_since is None:
                self.head_since = self.heard
            self._head_octets += len(data)
            if self._head_octets > _ALL_LIMIT:
                self._give_up(Malformed())
        else:
            self._more = True

    def look(self, now: float) -> None:
        """Begin to count for a head whose first octets may have come while the request before it was served."""
        if self._more and self.head_since is None and self.waits:
            self._more = False
            self.head_since = now

    @property
    def made(self) -> bool:
        """Whether its TLS handshake, if there is one, has ended."""
        return self._wire is not None

    @property
    def waits(self) -> bool:
        """Whether no request of it is being served."""
        return not self._messages and (self._waiter is not None or not self._begun)

    def expire(self) -> None:
        """End it because its head did not come in time; answer 408 if the head had begun."""
        if self._head_octets and self.waits:
            self._give_up(TooSlow("The head did not come in time."))
        else:
            self.end()

    def end(self) -> None:
        """End it now, whatever it does."""
        if self._wire is not None:
            self._wire.abort()
        elif self.handshake is not None:
            self.handshake.cancel()

    def _give_up(self, error: ProxyError) -> None:
        """Answer without aiohttp, which knows of no request yet, and close."""
        body = problem_body(error)
        fields = {
            "Content-Type": MEDIA_TYPE.decode(),
            "Content-Length": str(len(body)),
            "Server": NAME,
            "Cache-Control": "no-store",
            "Connection": "close",
        }
        lines = [f"HTTP/1.1 {error.status} {error.title}", *(f"{name}: {value}" for name, value in fields.items())]
        self.head_since = self._owner.clock.monotonic()  # who does not read the answer is cut off in the end
        self._head_octets = 0
        if self._wire is not None:
            self._wire.write("\r\n".join([*lines, "", ""]).encode() + body)
        self.force_close()

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,  # noqa: ARG002 - quotes the request
    ) -> web.StreamResponse:
        """Answer what never became a request, or what our own code failed on."""
        if status < web.HTTPInternalServerError.status_code:
            _log.debug("malformed request from %s", request.remote)
            answer = problem(Malformed())
        elif isinstance(exc, ConnectionError):
            _log.debug("a caller has gone: %s", type(exc).__name__)
            answer = problem(ProxyError())
        else:
            _log.error("failed on a request from %s: %s", request.remote, type(exc).__name__, exc_info=exc)
            answer = problem(ProxyError())
        answer.force_close()
        return answer

    def log_exception(self, *args: Any, exc_info: BaseException | None = None, **more: Any) -> None:
        """Log it, but only for debugging if the rest of an unread body is broken: that is the sender's mistake."""
        if isinstance(exc_info, web.RequestPayloadError | ConnectionError):
            _log.debug("the rest of a body cannot be read")
        else:
            _log.error(*args, exc_info=exc_info, **more)
