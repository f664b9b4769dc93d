"""Reload and quit."""

from __future__ import annotations

from aiohttp import web

from proxy.admin.admin_errors import Unusable
from proxy.admin.ports import Program
from proxy.errors import ConfigurationError


def routes(program: Program) -> list[web.RouteDef]:
    """`POST /reload` and `POST /quit`."""

    async def reload(_: web.Request) -> web.Response:
        try:
            await program.reload()
        except ConfigurationError as error:
            raise Unusable(str(error)) from error
        return web.json_response({"reloaded": True})

    async def leave(_: web.Request) -> web.Response:
        program.quit()
        return web.json_response({"draining": True}, status=202)

    return [web.post("/reload", reload), web.post("/quit", leave)]
