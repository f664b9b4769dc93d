"""The API behind the replicas. Each has a path of its own, so that it is known who sent which token."""

from __future__ import annotations

import time
from dataclasses import dataclass
from types import TracebackType
from typing import Self

from aiohttp import web
from support.oidc_provider.provider import OidcProvider

from chaos.journal import Journal


@dataclass(frozen=True)
class Known:
    """What the issuer says of a token: when it ends (0 where it is not active). `seen`: when it came first."""

    ends: float
    seen: float


class Api:
    """Answers 200 to good tokens and 401 to all others. A token is looked up at the issuer once."""

    def __init__(self, provider: OidcProvider, journal: Journal) -> None:
        self.port = 0
        self._provider = provider
        self._journal = journal
        self._known: dict[str, Known] = {}
        self._runner: web.AppRunner | None = None

    def forget(self) -> None:
        """Ask the issuer again: a grant was withdrawn, and its tokens with it."""
        self._known.clear()

    async def __aenter__(self) -> Self:
        app = web.Application()
        app.add_routes([web.get("/{replica}/{rest:.*}", self._answer)])
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=1)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0).start()
        self.port = self._runner.addresses[0][1]
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._runner is not None
        await self._runner.cleanup()

    async def _answer(self, request: web.Request) -> web.Response:
        replica = int(request.match_info["replica"])
        token = request.headers.get("Authorization", "").removeprefix("Bearer ")
        known = self._known.get(token)
        if known is None:
            told = await self._provider.introspect(token)
            known = self._known.setdefault(token, Known(told.get("exp", 0.0) if told["active"] else 0.0, time.time()))
        if time.time() >= known.ends:
            self._journal.refused(replica, time.time(), known.ends)
            return web.Response(status=401, headers={"WWW-Authenticate": 'Bearer error="invalid_token"'})
        self._journal.accepted(replica, time.time(), known.ends, known.seen)
        return web.Response(text="fine")
