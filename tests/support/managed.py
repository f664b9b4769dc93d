"""A manager under test with a source that a test plays by hand: no network, no real time."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

from msgspec import structs

from proxy.clock import Clock
from proxy.config.schema import Refresh
from proxy.model import Token
from proxy.tokens.cache import TokenCache
from proxy.tokens.manager import TokenManager
from proxy.tokens.refresh_scheduler import RefreshScheduler
from proxy.tokens.store.memory import MemoryTokenStore
from proxy.tokens.store.token_store import Grant, StoreError
from proxy.tokens.token_response import TokenPair, TokenResponse
from support.clock import FakeClock, settle


class PlayedSource:
    """Gives `at-1`, `at-2` … unless `script` holds a token, an exception or a future that becomes either.

    `asked`: what was passed as the previous token, one for each call.
    """

    def __init__(self, clock: Clock, lifetime: float | None = 3600.0) -> None:
        self.clock = clock
        self.lifetime = lifetime
        self.script: deque[object] = deque()
        self.asked: list[TokenPair] = []
        self.rotates = False

    @property
    def count(self) -> int:
        return len(self.asked)

    def hold(self) -> asyncio.Future[object]:
        """Let the next call wait for the result of this."""
        future: asyncio.Future[object] = asyncio.get_running_loop().create_future()
        self.script.append(future)
        return future

    def token(
        self, name: str | None = None, lifetime: float | None = None, *, refresh_token: str | None = None, **more: Any
    ) -> TokenResponse:
        """One that is asked for now."""
        life = self.lifetime if lifetime is None else lifetime
        wall, elapsed = self.clock.wall(), self.clock.elapsed()
        token = Token(
            access_token=name or f"at-{self.count}",
            expires_wall=None if life is None else wall + life,
            expires_elapsed=None if life is None else elapsed + life,
            lifetime=300.0 if life is None else life,
            issued_wall=wall,
            issued_elapsed=elapsed,
            **more,
        )
        return TokenResponse(token, refresh_token)

    async def fetch(self, previous: TokenPair) -> TokenResponse:
        self.asked.append(previous)
        more: dict[str, Any] = {"refresh_token": f"rt-{self.count}"} if self.rotates else {}
        result: Any = self.token(**more)
        if self.script:
            result = self.script.popleft()
            if isinstance(result, asyncio.Future):
                result = await result
                result = self.token(**more) if result is None else result
        if isinstance(result, BaseException):
            raise result
        return TokenResponse(result) if isinstance(result, Token) else result


class SharedStore(MemoryTokenStore):
    """A memory store that several managers watch, as if they were processes; it fails when told to."""

    durable = True

    def __init__(self) -> None:
        super().__init__()
        self._watchers: dict[str, list[Callable[[Grant], None]]] = {}
        self.failing: StoreError | None = None
        self.failing_saves: StoreError | None = None
        self.saved: list[Grant] = []

    async def load(self, name: str) -> Grant | None:
        if self.failing:
            raise self.failing
        return await super().load(name)

    async def save(self, name: str, grant: Grant) -> bool:
        if self.failing or self.failing_saves:
            raise self.failing or self.failing_saves
        done = await super().save(name, grant)
        if done:
            self.saved.append(grant)
            for changed in tuple(self._watchers.get(name, ())):
                changed(grant)
        return done

    def watch(self, name: str, changed: Callable[[Grant], None]) -> Callable[[], None]:
        watchers = self._watchers.setdefault(name, [])
        watchers.append(changed)
        return lambda: watchers.remove(changed)


class Managed:
    """One manager with everything around it."""

    def __init__(self, clock: FakeClock, source: PlayedSource, **options: Any) -> None:
        self.clock = clock
        self.source = source
        self.store: SharedStore = options.pop("store", None) or SharedStore()
        self.cache = TokenCache(clock)
        self.scheduler: RefreshScheduler = options.pop("scheduler", None) or RefreshScheduler(clock)
        options.setdefault("refresh", Refresh(jitter=0.0))
        self.manager = TokenManager(
            "crm", source, store=self.store, clock=clock, cache=self.cache, scheduler=self.scheduler, **options
        )

    @property
    def ready(self) -> str | None:
        token = self.manager.ready()
        return token.access_token if token else None

    @property
    def state(self) -> str:
        return self.manager.report().state

    @property
    def record(self) -> Grant:
        return self.store._records["crm"]

    async def start(self) -> None:
        self.scheduler.start()
        await self.manager.start()
        await settle()

    async def stop(self) -> None:
        await self.manager.stop()
        await self.scheduler.stop()


@asynccontextmanager
async def managed(*, started: bool = True, clock=None, source=None, **options: Any) -> AsyncIterator[Managed]:
    """A manager that has started."""
    clock = clock or FakeClock()
    it = Managed(clock, source or PlayedSource(clock, options.pop("lifetime", 3600.0)), **options)
    if started:
        await it.start()
    try:
        yield it
    finally:
        for entry in it.source.script:
            if isinstance(entry, asyncio.Future):
                entry.cancel()
        await it.stop()


def lasting(came: TokenResponse, clock: FakeClock, lifetime: float) -> TokenResponse:
    """The same token with another end."""
    token = structs.replace(
        came.token,
        lifetime=lifetime,
        expires_wall=clock.wall() + lifetime,
        expires_elapsed=clock.elapsed() + lifetime,
    )
    return structs.replace(came, token=token)
