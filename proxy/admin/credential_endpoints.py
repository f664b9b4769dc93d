"""Renew now; hand a token to a local caller."""

from __future__ import annotations

from contextlib import suppress

from aiohttp import web

from proxy.admin.admin_errors import Forbidden, NotFound
from proxy.admin.middleware import CREDENTIAL, bearer, cross_site, unix_uids
from proxy.admin.ports import CredentialView, Program
from proxy.admin.status_endpoints import whole
from proxy.admin.update_endpoint import PATH
from proxy.errors import CredentialError
from proxy.peer import peer_uid
from proxy.tokens.lifetime import end
from proxy.tokens.manager import TokenManager
from proxy.tokens.reply import OTHER


def routes(program: Program) -> list[web.RouteDef]:
    """`POST /credentials/{name}/refresh` and `GET /credentials/{name}/token`."""

    async def refresh(request: web.Request) -> web.Response:
        name, _, tokens = _wanted(program, request)
        if "text/html" in request.headers.get("Accept", ""):
            with suppress(CredentialError):  # the page shows it
                await tokens.renew_now()
            raise web.HTTPSeeOther("/")
        token = await tokens.renew_now()
        return web.json_response(
            {"credential": name, "generation": token.generation, "expires_at": whole(token.expires_wall)}
        )

    async def vend(request: web.Request) -> web.Response:
        _, entry, tokens = _wanted(program, request)
        if not entry.vend or not _is_known(program, request):
            raise NotFound
        if cross_site(request):
            raise Forbidden("A browser on another site gets no token.")
        token = await tokens.current()
        answer: dict[str, str | int] = {
            "access_token": token.access_token,
            "token_type": "Bearer" if token.token_type == OTHER else token.token_type,
        }
        wall = program.clock.wall()
        if (ends := end(token, wall, program.clock.elapsed())) is not None:
            answer["expires_in"] = max(0, int(ends - wall))
        return web.json_response(answer, headers={"Pragma": "no-cache"})  # RFC 6749 §5.1

    return [web.post("/credentials/{name}/refresh", refresh), web.get(PATH, vend)]


def _is_known(program: Program, request: web.Request) -> bool:
    """Whether the caller has shown the admin bearer (checked by the middleware) or is one of `callers.unix_uids`."""
    if bearer(program) is not None:
        return True
    connection = request.get_extra_info("socket")
    return connection is not None and peer_uid(connection) in unix_uids(program)


def _wanted(program: Program, request: web.Request) -> tuple[str, CredentialView, TokenManager]:
    """The credential that the path names. Raises NotFound if it does not exist or has no token to renew."""
    name = request.match_info["name"]
    entry = program.runtime.entries.get(name)
    if entry is None or entry.tokens is None:
        raise NotFound
    request[CREDENTIAL] = name
    return name, entry, entry.tokens
