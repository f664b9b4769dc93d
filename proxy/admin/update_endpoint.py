"""The guarded update endpoint: a pushed token replaces the held one.

Checked in this order: the guard, `If-Match`, the shape, the time, the expiry. Pushes to one credential are handled one
after the other, so that none is compared with a token which another is about to replace; where several processes take
pushes, each is compared once more with what the store holds when it is saved.
"""

from __future__ import annotations

import asyncio
import logging
import re
import socket
from collections.abc import Collection, Sequence
from functools import partial

from aiohttp import web

from proxy.admin import admin_errors, push
from proxy.admin.guard import Guards, numeric
from proxy.admin.jwks import KeySets
from proxy.admin.metrics import Updates
from proxy.admin.middleware import CREDENTIAL
from proxy.admin.ports import CredentialView, Program
from proxy.admin.status_endpoints import whole
from proxy.admin.throttle import Throttle
from proxy.errors import GenerationMismatch, ProxyError
from proxy.model import Token
from proxy.tokens.manager import TokenManager

_log = logging.getLogger("auth_sidecar.admin")

PATH = "/credentials/{name}/token"
METHODS = frozenset({"PUT", "POST"})

_ENTITY_TAG = re.compile(r'(?:^|,)[ \t]*"([0-9]+)"[ \t]*(?=,|$)')
"""A strong entity tag (RFC 9110 §8.8.3) that holds a generation."""

_RESULTS = {
    400: "malformed",
    401: "refused",
    409: "stale",
    412: "mismatched",
    413: "too_large",
    422: "expired",
    429: "limited",
}


class UpdateEndpoint:
    """The endpoint. It is served on the admin listener and on `update.listen`."""

    def __init__(self, program: Program, updates: Updates) -> None:
        self._program = program
        self._updates = updates
        self._keys = KeySets(program.clock)
        self._throttle = Throttle(program.clock)
        self._turns: dict[str, asyncio.Lock] = {}

    def routes(self, *, allow_from: Sequence[str]) -> list[web.RouteDef]:
        """Take pushes with PUT and POST. `allow_from`: the networks of who may, where a credential has no list."""
        guards = Guards(self._program.clock, self._keys, allow_from=allow_from)

        async def update(request: web.Request) -> web.Response:
            name = request.match_info["name"]
            taking = {name: entry for name, entry in self._program.runtime.entries.items() if _takes_pushes(entry)}
            entry = taking.get(name)
            try:
                return await self._answer(guards, name, entry, taking.values(), request)
            except ProxyError as error:
                if entry is not None:
                    self._updates.count(name, _RESULTS.get(error.status, "failed"))
                raise

        return [web.put(PATH, update), web.post(PATH, update)]

    async def _answer(
        self,
        guards: Guards,
        name: str,
        entry: CredentialView | None,
        taking: Collection[CredentialView],
        request: web.Request,
    ) -> web.Response:
        """`entry`: None for names that do not exist or take no pushes; the answer is the same as to a wrong guard."""
        said = push.document(await _body(request, self._program.runtime.loaded.config.limits.header_timeout))
        address = _address(request)
        admitted = await guards.admits(
            entry,
            taking,
            address=address,
            authorization=request.headers.get("Authorization", ""),
            inner_secret=push.inner_secret(said),
        )
        if not admitted or entry is None or entry.tokens is None:
            raise self._refusal(address, name, exists=entry is not None)
        return await self._take(name, entry, entry.tokens, said, request)

    def _refusal(self, address: str, name: str, *, exists: bool) -> ProxyError:
        wait = self._throttle.refuse(address, name, exists=exists)
        if wait is not None:
            return admin_errors.TooMany(retry_after=wait)
        if exists:  # once the answer is under way: the time to write a line would tell that the name exists
            line = "%s: a push from %s was refused: wrong or missing guard"
            asyncio.get_running_loop().call_soon(_log.warning, line, name, address)
        return admin_errors.NotAuthenticated(headers=(("WWW-Authenticate", 'Bearer realm="auth-sidecar"'),))

    async def _take(
        self, name: str, entry: CredentialView, tokens: TokenManager, said: push.Document | None, request: web.Request
    ) -> web.Response:
        request[CREDENTIAL] = name
        async with self._turns.setdefault(name, asyncio.Lock()):
            if "If-Match" in request.headers:
                await tokens.look()
            if_match = _generation_named(request, tokens.report().generation)
            pushed = push.read(said, entry.kind)
            held = tokens.held()
            wall = self._program.clock.wall()
            push.refuse_stale(pushed, wall=wall, max_age=entry.update.max_age if entry.update else None, held=held)
            came = push.token(
                pushed,
                wall=wall,
                elapsed=self._program.clock.elapsed(),
                assumed=entry.default_expires_in if held is None else held.lifetime,
            )
            before = tokens.report().generation
            refuse = partial(push.refuse_older, pushed, wall=wall)
            token = await tokens.adopt(came, if_match, refuse)
        if token.generation == before:
            self._updates.count(name, "unchanged")
        else:
            self._updates.count(name, "accepted")
            _log.info("%s: token pushed from %s, generation %d", name, _address(request), token.generation)
        return _taken(name, token)


def _takes_pushes(entry: CredentialView) -> bool:
    return entry.update is not None and entry.tokens is not None


async def _body(request: web.Request, within: float) -> bytes:
    """The whole body. It is small, and must come within the time that a head may take."""
    try:
        async with asyncio.timeout(within):
            return await request.read()
    except TimeoutError as error:
        raise admin_errors.TooSlow from error
    except web.HTTPRequestEntityTooLarge as error:
        raise admin_errors.TooLarge from error
    except (web.RequestPayloadError, ConnectionError) as error:
        raise admin_errors.Malformed("The body cannot be read.") from error


def _address(request: web.Request) -> str:
    """The caller's numeric address; 127.0.0.1 for a unix socket; empty if the caller has gone."""
    connection = request.get_extra_info("socket")
    if connection is not None and connection.family == socket.AF_UNIX:
        return "127.0.0.1"
    return numeric(request.remote or "")


def _generation_named(request: web.Request, generation: int) -> int | None:
    """The generation that must still be held when the push takes effect (RFC 9110 §13.1.1); None for any.

    `*` stands for any generation, if a token is held or was held before.
    """
    if "If-Match" not in request.headers:
        return None
    named = ",".join(request.headers.getall("If-Match"))
    if named.strip() == "*" and generation:
        return None
    if str(generation) not in _ENTITY_TAG.findall(named):
        raise GenerationMismatch
    return generation


def _taken(name: str, token: Token) -> web.Response:
    return web.json_response(
        {"credential": name, "generation": token.generation, "expires_at": whole(token.expires_wall)},
        headers={"ETag": f'"{token.generation}"'},
    )
