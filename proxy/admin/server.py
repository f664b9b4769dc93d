"""Our aiohttp server: no banner, no access log, and what it cannot parse is neither echoed to the sender nor logged.

aiohttp's own answer to a malformed request quotes up to a hundred octets of it, which may be half an Authorization
field, in the body and, with a traceback, in the log.
"""

from __future__ import annotations

import asyncio
import logging
from typing import Any

from aiohttp import web

from proxy.admin.faults import Malformed
from proxy.errors import ProxyError
from proxy.problem import MEDIA_TYPE, problem_body

NAME = "auth-sidecar"
_log = logging.getLogger("auth_sidecar.admin")

MOST_CONNECTIONS = 256
_KEEP_ALIVE = 75.0
_LINGER = 1.0
"""Seconds in which the rest of a refused body is read, so that the caller gets to see the answer."""
_HEAD_LIMIT = 32 * 1024
"""Generous for the field that carries a JWT."""


def problem(error: ProxyError, *, credential: str | None = None, instance: bytes | None = None) -> web.Response:
    """The answer that tells of `error`."""
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


class Connection(web.RequestHandler):
    """One connection of a caller."""

    __slots__ = ()

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
        else:
            _log.error("failed on a request from %s: %s", request.remote, type(exc).__name__, exc_info=exc)
            answer = problem(ProxyError())
        answer.force_close()
        return answer

    def log_exception(self, *args: Any, exc_info: BaseException | None = None, **more: Any) -> None:
        """Keep it quiet where the rest of a body that nobody wanted cannot be read: that is the sender's mistake."""
        if isinstance(exc_info, web.RequestPayloadError):
            _log.debug("the rest of a body cannot be read")
        else:
            _log.error(*args, exc_info=exc_info, **more)


class _Server(web.Server):
    def connection_made(self, handler: web.RequestHandler, transport: asyncio.Transport) -> None:
        """Take the connection, unless there are too many: callers that say nothing are let go after a while."""
        super().connection_made(handler, transport)
        if len(self.connections) > MOST_CONNECTIONS:
            handler.force_close()

    def __call__(self) -> Connection:
        return Connection(self, loop=self._loop, **self._kwargs)


class Runner(web.AppRunner):
    """Runs one of the admin applications: `setup()`, then a site per listener, then `cleanup()`."""

    def __init__(self, app: web.Application) -> None:
        super().__init__(
            app,
            access_log=None,
            keepalive_timeout=_KEEP_ALIVE,
            max_line_size=_HEAD_LIMIT,
            max_field_size=_HEAD_LIMIT,
            lingering_time=_LINGER,
            shutdown_timeout=5.0,
        )

    async def _make_server(self) -> web.Server:
        made = await super()._make_server()
        return _Server(made.request_handler, request_factory=made.request_factory, **self._kwargs)
