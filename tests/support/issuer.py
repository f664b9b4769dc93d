"""A token endpoint on loopback that does what a test tells it, and remembers what it was asked."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web

from proxy.clock import Clock
from proxy.config.schema import OAuth2, TokenTimeouts
from proxy.tokens.http_client import HttpClient
from proxy.tokens.sources.discovery import Discovery
from proxy.tokens.sources.issuer import IssuerSource
from proxy.tokens.sources.issuer_request import IssuerSecrets

Handler = Callable[[web.Request], web.Response]


@dataclass
class Asked:
    """One request. `parameters`: all values of each form parameter."""

    method: str
    path: str
    headers: dict[str, str]
    parameters: dict[str, list[str]]

    def __getitem__(self, name: str) -> str | None:
        values = self.parameters.get(name)
        return values[0] if values else None


@dataclass
class ScriptedIssuer:
    """Answers with `at-1`, `at-2` … unless `script` holds something else for the next request.

    An entry of `script` is a JSON object, a (status, JSON object or text) pair, a ready response factory, or one of the
    words `reset` (the connection dies once the request was read) and `hang` (no answer until `let_go`).
    `rotating`: each refresh token serves once and is replaced; its second use is invalid_grant and revokes the grant.
    `answers` takes the place of all that.
    """

    url: str = ""
    lifetime: float | None = 3600
    rotating: bool = False
    asked: list[Asked] = field(default_factory=list)
    script: deque[object] = field(default_factory=deque)
    live_refresh_token: str | None = None
    revoked: bool = False
    let_go: asyncio.Event = field(default_factory=asyncio.Event)
    answers: Callable[[web.Request], Awaitable[web.StreamResponse]] | None = None
    issued: int = 0

    @property
    def count(self) -> int:
        """How many token requests came."""
        return len(self.asked)

    async def answer(self, request: web.Request) -> web.StreamResponse:
        form = await request.post()
        parameters = {name: [str(value) for value in form.getall(name)] for name in form}
        asked = Asked(request.method, request.path, {k.lower(): v for k, v in request.headers.items()}, parameters)
        self.asked.append(asked)
        return await (self._answer(request, asked) if self.answers is None else self.answers(request))

    async def _answer(self, request: web.Request, asked: Asked) -> web.StreamResponse:
        entry = self.script.popleft() if self.script else None
        if entry == "hang":
            await self.let_go.wait()
            entry = None
        if entry == "reset":
            return self._die(request)
        if entry == "rotate, then reset":
            self._grant(asked)
            return self._die(request)
        if callable(entry):
            return entry(request)
        if isinstance(entry, tuple):
            status, said = entry
            return (
                web.json_response(said, status=status)
                if isinstance(said, dict)
                else web.Response(text=said, status=status)
            )
        if isinstance(entry, dict):
            return web.json_response(entry)
        return self._grant(asked)

    def _grant(self, asked: Asked) -> web.Response:
        used = asked["refresh_token"]
        if self.rotating and used is not None and (self.revoked or used != self.live_refresh_token):
            self.revoked = True
            return web.json_response({"error": "invalid_grant", "error_description": "s3cret words"}, status=400)
        self.issued += 1
        said: dict[str, object] = {"access_token": f"at-{self.issued}", "token_type": "Bearer"}
        if self.lifetime is not None:
            said["expires_in"] = self.lifetime
        if self.rotating and used is not None:
            said["refresh_token"] = self.live_refresh_token = f"rt-{self.issued}"
        return web.json_response(said)

    @staticmethod
    def _die(request: web.Request) -> web.Response:
        assert request.transport is not None
        request.transport.abort()
        return web.Response()


@asynccontextmanager
async def scripted_issuer(routes: list[web.RouteDef] | None = None, **options: Any) -> AsyncIterator[ScriptedIssuer]:
    """One that listens."""
    issuer = ScriptedIssuer(**options)
    application = web.Application()
    application.router.add_post("/token", issuer.answer)
    application.router.add_routes(routes or [])
    runner = web.AppRunner(application, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    host, port = runner.addresses[0][:2]
    issuer.url = f"http://{host}:{port}"
    try:
        yield issuer
    finally:
        issuer.let_go.set()
        await runner.cleanup()


def reader(value: str):
    """How a source reads a secret that never changes."""

    async def read() -> str:
        return value

    return read


@asynccontextmanager
async def source_of(
    issuer: ScriptedIssuer,
    clock: Clock,
    /,
    *,
    secrets: dict[str, str] | None = None,
    proofs=None,
    per=None,
    follow_key=lambda: None,
    **config: Any,
) -> AsyncIterator[IssuerSource]:
    """A source that asks this issuer; a client with a secret by Basic unless told otherwise."""
    settings: dict[str, Any] = {
        "token_endpoint": f"{issuer.url}/token",
        "client_id": "me",
        "token_endpoint_auth_method": "client_secret_basic",
    } | config
    given = {"client_secret": "s3cret"} if secrets is None else secrets
    client = HttpClient(timeouts=settings.get("timeouts") or TokenTimeouts())
    yield IssuerSource(
        OAuth2(**settings),
        client,
        Discovery(client, clock),
        clock,
        IssuerSecrets(**{name: reader(value) for name, value in given.items()}),
        proofs,
        per,
        follow_key=follow_key,
    )
    await client.close()
