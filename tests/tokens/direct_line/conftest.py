"""A Direct Line service on a real socket, and the token side of a sidecar in front of it, on one fake clock."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from typing import Any

import aiohttp
import pytest
from support.clock import FakeClock, settle
from support.direct_line import BASE, DirectLineService

from proxy.config import schema
from proxy.config.schema import DirectLine, Refresh
from proxy.errors import CredentialError, CredentialRefused
from proxy.model import Request, Token
from proxy.tokens.cache import TokenCache
from proxy.tokens.direct_line.wiring import assemble
from proxy.tokens.http_client import HttpClient
from proxy.tokens.manager import TokenManager
from proxy.tokens.refresh_scheduler import RefreshScheduler
from proxy.tokens.store.memory import MemoryTokenStore


class Secret:
    """The Direct Line secret, which a test may change."""

    def __init__(self, value: str) -> None:
        self.value = value

    def ready(self) -> Token:
        return Token(access_token=self.value)

    async def current(self) -> Token:
        return self.ready()

    def predecessor(self, young: Token) -> Token | None:  # noqa: ARG002 - the interface
        return None

    async def renew(self, refused: Token) -> Token:
        if self.value == refused.access_token:
            raise CredentialRefused("the secret is what it was")
        return self.ready()


class Sidecar:
    """What the data path does with a picker, in a few lines: pick, send, renew once, show the answer, pass it on."""

    def __init__(self, service: DirectLineService, clock: FakeClock, **options: Any) -> None:
        self.service = service
        self.clock = clock
        self.client = HttpClient()
        self.scheduler = RefreshScheduler(clock)
        self.secret = Secret(service.secret)
        life: dict[str, Any] = {
            "clock": clock,
            "cache": TokenCache(clock),
            "scheduler": self.scheduler,
            "refresh": Refresh(jitter=0),
        }
        self.picker = assemble(
            DirectLine(secret=schema.Secret(env="X"), domain=service.url, **options),
            self.secret,
            lambda source: TokenManager("chat", source, store=MemoryTokenStore(), **life),
            client=self.client,
            clock=clock,
            scheduler=self.scheduler,
        )
        self.book = self.picker.book
        self.app = aiohttp.ClientSession(auto_decompress=False)
        self.scheduler.start()

    async def call(self, method: str, path: str, bearer: str | None = "dummy", **said: Any) -> tuple[int, Any]:
        """One request of the app's, as it is answered in the end."""
        request = Request(method.encode(), "http", b"upstream", (BASE + path).encode())
        sent = {b"authorization": f"Bearer {bearer}".encode()} if bearer is not None else {}
        tokens = self.picker.pick(request, sent.get)
        token = tokens.ready() or await tokens.current()
        status, body = await self._send(method, path, token, said)
        if status == 401 or (status == 403 and b"TokenExpired" in body):
            try:
                token = await tokens.renew(token)
            except CredentialError:
                pass
            else:
                status, body = await self._send(method, path, token, said)
        if self.picker.wants_answer(request):
            self.picker.learn(request, status, body)
        return status, json.loads(body) if body.startswith(b"{") else body

    async def _send(self, method: str, path: str, token: Token, said: dict[str, Any]) -> tuple[int, bytes]:
        headers = {"Authorization": f"Bearer {token.access_token}", "Accept-Encoding": "gzip"}
        async with self.app.request(method, self.service.url + path, headers=headers, json=said or None) as answer:
            return answer.status, await answer.read()

    async def say(self, conversation: str, text: str, bearer: str | None = "dummy") -> int:
        """The status of one message."""
        return (await self.call("POST", f"/conversations/{conversation}/activities", bearer, text=text))[0]

    async def pass_time(self, seconds: float, step: float = 60.0) -> None:
        """Let time pass, with real sockets: what falls due is done before the clock goes on."""
        while seconds > 0:
            await self.clock.advance(min(step, seconds))
            await self.quiet()
            seconds -= step

    async def quiet(self) -> None:
        """Until no request of ours is under way."""
        for _ in range(3):
            await settle(5)
            async with asyncio.timeout(30):
                while any(task.get_name().startswith("renew") for task in asyncio.all_tasks()):
                    await asyncio.sleep(0.001)

    async def close(self) -> None:
        await self.book.close()
        await self.scheduler.stop()
        await self.client.close()
        await self.app.close()


@pytest.fixture
def clock():
    return FakeClock()


@pytest.fixture
async def service(aiohttp_server, clock):
    service = DirectLineService(now=clock.wall)
    server = await aiohttp_server(service.app)
    service.url = str(server.make_url(BASE))
    return service


@pytest.fixture
async def sidecars(service, clock):
    """A maker of sidecars, for those that need more than one or options."""
    made: list[Sidecar] = []

    def make(**options: Any) -> Sidecar:
        made.append(Sidecar(service, clock, **options))
        return made[-1]

    yield make
    for sidecar in made:
        await sidecar.close()


@pytest.fixture
async def sidecar(sidecars: Callable[..., Sidecar]) -> Sidecar:
    return sidecars()
