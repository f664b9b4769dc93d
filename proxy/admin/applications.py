"""The three aiohttp applications: one with everything for operators, one for probes, one for pushes."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import suppress

from aiohttp import web
from aiohttp.typedefs import Middleware

from proxy.admin import (
    control_endpoints,
    credential_endpoints,
    guard,
    health_endpoints,
    metrics,
    middleware,
    status_endpoints,
    status_page,
    update_endpoint,
)
from proxy.admin.ports import Program
from proxy.clock import Clock
from proxy.config.schema import Limits
from proxy.defects import tell
from proxy.stats import SAMPLE_EVERY

_log = logging.getLogger("auth_sidecar.admin")

_OPEN = frozenset({"/healthz", "/readyz"})


class Applications:
    """Makes the applications of one program; they share counters. Each runs in an `admin_server.Runner` of its own."""

    def __init__(self, program: Program) -> None:
        self._program = program
        self._updates = metrics.Updates()
        self._endpoint = update_endpoint.UpdateEndpoint(program, self._updates)

    @property
    def clock(self) -> Clock:
        """The program's."""
        return self._program.clock

    @property
    def limits(self) -> Limits:
        """`limits` of the current configuration."""
        return self._program.runtime.loaded.config.limits

    def admin(self) -> web.Application:
        """Make the application of `admin.listen`: all endpoints, behind the middleware."""
        program = self._program
        app = _application(
            middleware.host_checked(program), middleware.same_site, middleware.bearer_checked(program, _is_open)
        )
        app.add_routes(status_page.routes(program))
        app.add_routes(health_endpoints.routes(program))
        app.add_routes(metrics.routes(program, self._updates))
        app.add_routes(status_endpoints.routes(program))
        app.add_routes(control_endpoints.routes(program))
        app.add_routes(credential_endpoints.routes(program))
        app.add_routes(self._endpoint.routes(allow_from=guard.LOOPBACK))
        app.cleanup_ctx.append(lambda _: _sampling(program))
        return app

    def health(self) -> web.Application:
        """Make the application of `health.listen`: for probes, whatever Host they send and without a bearer."""
        app = _application()
        app.add_routes(health_endpoints.routes(self._program))
        app.add_routes(metrics.routes(self._program, self._updates))
        return app

    def update(self) -> web.Application:
        """Make the application of `update.listen`: pushes alone, whatever Host they send."""
        app = _application()
        app.add_routes(self._endpoint.routes(allow_from=guard.ANYWHERE))
        return app


def _application(*middlewares: Middleware) -> web.Application:
    app = web.Application(middlewares=[middleware.problems, *middlewares], client_max_size=16 * 1024)
    app.on_response_prepare.append(middleware.plain)
    return app


def _is_open(request: web.Request) -> bool:
    """Whether a path needs no admin bearer: probes, and pushes, which have guards of their own."""
    if request.path in _OPEN:
        return True
    resource = request.match_info.route.resource
    return (
        resource is not None
        and resource.canonical == update_endpoint.PATH
        and request.method in update_endpoint.METHODS
    )


async def _sampling(program: Program) -> AsyncIterator[None]:
    """Copy the routes' counters every few seconds while the application runs, for the figures of the last minute."""

    async def sample() -> None:
        while True:
            try:
                for stats in program.runtime.stats.values():
                    stats.sample(program.clock.elapsed())
            except Exception as error:  # noqa: BLE001 - figures that are wrong once come again
                tell(_log, "while figures were taken", error)
            await program.clock.sleep(SAMPLE_EVERY)

    task = asyncio.create_task(sample(), name="route samples")
    yield
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task
