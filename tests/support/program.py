"""A running program as the admin side sees it, standing still: every figure is what a test says."""

from __future__ import annotations

import asyncio
import json
import socket
import ssl
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

from aiohttp import ClientResponse, ClientSession, UnixConnector, web
from yarl import URL

from proxy.admin.admin_server import Runner
from proxy.admin.applications import Applications
from proxy.admin.ports import CredentialView, Discovered
from proxy.clock import SystemClock
from proxy.config.load import Loaded
from proxy.config.schema import Callers, Config, Limits, Refresh
from proxy.errors import ConfigurationError, CredentialError
from proxy.model import Token
from proxy.stats import Histogram, RouteStats
from proxy.tokens.attempts import TokenReport
from proxy.tokens.cache import TokenCache
from proxy.tokens.manager import TokenManager
from proxy.tokens.refresh_scheduler import RefreshScheduler
from proxy.tokens.store.memory import MemoryTokenStore
from proxy.tokens.store.token_store import Grant, TokenStore
from proxy.tokens.token_response import TokenPair, TokenResponse
from support.clock import FakeClock


class Standing(TokenManager):
    """A credential whose state a test chooses."""

    def __init__(self, **figures: Any) -> None:
        self.durations = Histogram()
        chosen: dict[str, Any] = {
            "state": "fresh",
            "expires_at": 1_800_003_600.9,
            "refresh_at": 1_800_003_000.5,
            "generation": 3,
            "last_refresh": 1_799_999_990.2,
            "last_error": None,
            "fingerprint": "0a1b2c3d",
            "attempted": True,
            "refreshes": {"success": 3},
            "durations": self.durations,
            "history": [],
        }
        self._report = TokenReport(**(chosen | figures))

    def report(self) -> TokenReport:
        return self._report

    def held(self) -> Token | None:
        return None


class Issuer:
    """A source of tokens that a test can hold up or make fail."""

    def __init__(self, clock: FakeClock) -> None:
        self._clock = clock
        self.issued = 0
        self.trouble: CredentialError | None = None
        self.gate = asyncio.Event()
        self.gate.set()

    async def fetch(self, previous: TokenPair) -> TokenResponse:
        sent = (self._clock.wall(), self._clock.elapsed())
        await self.gate.wait()
        if self.trouble is not None:
            raise self.trouble
        self.issued += 1
        token = Token(
            access_token=f"renewed-{self.issued}",
            expires_wall=sent[0] + 3600,
            expires_elapsed=sent[1] + 3600,
            lifetime=3600.0,
            issued_wall=sent[0],
            issued_elapsed=sent[1],
        )
        return TokenResponse(token, previous.refresh_token)


class WorkingStore(MemoryTokenStore):
    """Takes its time to save, so that others get a turn meanwhile; a test can hold it up."""

    def __init__(self) -> None:
        super().__init__()
        self.gate = asyncio.Event()
        self.gate.set()

    async def save(self, name: str, grant: Grant) -> bool:
        await asyncio.sleep(0.002)
        await self.gate.wait()
        return await super().save(name, grant)


def manager_of(clock: FakeClock, issuer: Issuer, store: TokenStore, *, renews: bool = True) -> TokenManager:
    return TokenManager(
        "crm",
        issuer,
        store=store,
        clock=clock,
        cache=TokenCache(clock),
        scheduler=RefreshScheduler(clock),
        refresh=Refresh(eager=False),
        renews=renews,
    )


class StandingProgram:
    """What `proxy.admin.ports.Program` and its `RuntimeView` ask for, from plain attributes."""

    def __init__(self, **credentials: CredentialView) -> None:
        self.clock = FakeClock()
        self.version = "1.2.3"
        self.started = self.clock.elapsed() - 12.5
        self.draining = False
        self.reloaded = True
        self.store: TokenStore = MemoryTokenStore()
        self.credentials = credentials
        self.routes: dict[str, RouteStats] = {}
        self.found: dict[str, Discovered] = {}
        self.allowed_hosts: tuple[str, ...] = ("localhost", "127.0.0.1", "[::1]")
        self.unix_uids: tuple[int, ...] = ()
        self.limits = Limits()
        self.secret: str | None = None
        self.unreadable = False
        self.mistake: str | None = None
        self.reloads = 0

    @property
    def runtime(self) -> StandingProgram:
        return self

    @property
    def loaded(self) -> Loaded:
        callers = Callers(unix_uids=self.unix_uids) if self.unix_uids else None
        config = Config(routes=(), allowed_hosts=self.allowed_hosts, callers=callers, limits=self.limits)
        return Loaded(config, (), Path(), {})

    @property
    def entries(self) -> dict[str, CredentialView]:
        return self.credentials

    @property
    def stats(self) -> dict[str, RouteStats]:
        return self.routes

    @property
    def admin_bearer(self) -> Callable[[], str] | None:
        secret = self.secret
        if self.unreadable:
            return self._unreadable
        return None if secret is None else lambda: secret

    def discovered(self, elapsed: float) -> dict[str, Discovered]:
        assert elapsed == self.clock.elapsed()
        return self.found

    def _unreadable(self) -> str:
        raise ConfigurationError("admin.bearer: admin-token: no such file")

    async def reload(self) -> None:
        if self.mistake:
            raise ConfigurationError(self.mistake)
        self.reloads += 1

    def quit(self) -> None:
        self.draining = True


@dataclass
class Crm:
    """A program with one credential, `crm`, whose token is managed as the program manages it.

    `begun`: the generation at the beginning.
    """

    program: StandingProgram = field(default_factory=StandingProgram)
    issuer: Issuer = field(init=False)
    tokens: TokenManager = field(init=False)
    store: WorkingStore = field(default_factory=WorkingStore)
    begun: int = 0

    def __post_init__(self) -> None:
        self.issuer = Issuer(self.program.clock)

    @property
    def generation(self) -> int:
        return self.tokens.report().generation

    @property
    def held(self) -> Token | None:
        return self.tokens.held()


class Answered:
    """An answer, read to its end."""

    def __init__(self, answer: ClientResponse, text: str) -> None:
        self.status = answer.status
        self.headers = answer.headers
        self.content_type = answer.content_type
        self.text = text

    def json(self) -> Any:
        return json.loads(self.text)


class Served:
    """One of the applications on a real socket, run as the program runs it, and a client."""

    def __init__(
        self,
        app: web.Application,
        *,
        path: str | None = None,
        limits: Callable[[], Limits] = Limits,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self._runner = Runner(app, limits, SystemClock())
        self._path = path
        self._tls = tls
        self.port = 0

    async def __aenter__(self) -> Self:
        await self._runner.setup()
        if self._path is not None:
            listening = socket.socket(socket.AF_UNIX)
            listening.bind(self._path)
            self._session = ClientSession(connector=UnixConnector(self._path))
        else:
            listening = socket.create_server(("127.0.0.1", 0))
            self.port = listening.getsockname()[1]
            self._session = ClientSession()
        self.listener = self._runner.listen([listening], self._tls)
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._session.close()
        await self._runner.cleanup()

    async def ask(self, method: str, path: str, **how: Any) -> Answered:
        url = URL(f"http://127.0.0.1:{self.port}{path}", encoded=True)
        async with self._session.request(method, url, **how) as answer:
            return Answered(answer, await answer.text())


def admin_of(program: StandingProgram, *, path: str | None = None) -> Served:
    return Served(Applications(program).admin(), path=path, limits=lambda: program.limits)


def health_of(program: StandingProgram) -> Served:
    return Served(Applications(program).health(), limits=lambda: program.limits)


def update_of(program: StandingProgram, *, tls: ssl.SSLContext | None = None) -> Served:
    return Served(Applications(program).update(), limits=lambda: program.limits, tls=tls)
