"""The replicas, the issuer and the API, with taps in between: what is done to them, and when they have recovered."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import os
import signal
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import aiohttp
from support.oidc_provider.provider import OidcProvider
from support.process import Program

from chaos.api import Api
from chaos.journal import Absence, Journal
from chaos.tap import Gap, Steps, Tap

LIFETIME = 10
"""Seconds that a token lives; renewed from a third of that on, it outlives a lease that nobody released."""
LEASE = 3
CREDENTIAL = "main"
PATIENCE = 90.0
"""Seconds for a recovery. A bound against a hang."""
GUARD = "guard"
CLIENT = "basic"
_COMMAND = (str(Path(sys.executable).with_name("auth-sidecar")), "serve")

Store = Callable[[int], Mapping[str, Any]]
"""The `store` of a replica's configuration, for the port of its tap."""


def redis_store(port: int) -> dict[str, Any]:
    """For a tap in front of one server."""
    return {"type": "redis", "url": {"value": f"redis://127.0.0.1:{port}/0"}, "lease": f"{LEASE}s"}


class Replica:
    """One process of the program. `store` and `issuer`: its taps."""

    def __init__(self, number: int, directory: Path, redis: Callable[[], int] | None, fleet: Fleet) -> None:
        directory.mkdir()
        self.number = number
        self.steps = Steps()
        self.issuer = Tap("issuer", lambda: int(fleet.provider.issuer.rpartition(":")[2]), self.steps)
        self.store = Tap("store", redis or (lambda: 0), self.steps)
        self._shares_redis = redis is not None
        self._directory = directory
        self._fleet = fleet
        self._program: Program | None = None
        self._absence: Absence | None = None

    @property
    def program(self) -> Program:
        """The program, once it was configured."""
        assert self._program is not None
        return self._program

    def configure(self, config: Mapping[str, Any], secrets: Mapping[str, str]) -> None:
        """Before the first start."""
        self._program = Program(config, self._directory, command=_COMMAND, ready="/healthz", environ=secrets)

    async def start(self) -> None:
        """Until it is alive."""
        await self.program.start()
        if self._absence is not None:
            self._absence.ended = time.time()

    async def kill(self) -> None:
        """SIGKILL."""
        self._absence = self._fleet.journal.absent(self.number, "killed", time.time())
        if self.steps.unsaved and self._shares_redis:
            self.steps.requests[-1].lost = True
        await self.program.kill()
        assert "Traceback" not in self.program.log, self.program.log

    def pause(self) -> None:
        """SIGSTOP."""
        self._absence = self._fleet.journal.absent(self.number, "paused", time.time())
        self.program.signal(signal.SIGSTOP)

    def resume(self) -> None:
        """SIGCONT."""
        self.program.signal(signal.SIGCONT)
        assert self._absence is not None
        self._absence.ended = time.time()

    async def renew(self) -> int:
        """Ask it to renew now; the status, 0 where it died meanwhile."""
        with contextlib.suppress(aiohttp.ClientError):
            async with self._fleet.http.post(f"{self.program.admin}/credentials/{CREDENTIAL}/refresh") as answer:
                return answer.status
        return 0

    async def status(self) -> Any:
        """`GET /status`."""
        async with self._fleet.http.get(f"{self.program.admin}/status") as answer:
            return await answer.json()

    async def until_caught(self, gap: Gap) -> None:
        """Let it renew until it is held in that gap."""
        caught = self.steps.catch(gap)
        async with asyncio.timeout(PATIENCE):
            while not caught.is_set():
                self.steps.begin_anew()
                renewal, holding = asyncio.create_task(self.renew()), asyncio.create_task(caught.wait())
                await asyncio.wait((renewal, holding), return_when=asyncio.FIRST_COMPLETED)
                self._fleet.left_over(renewal)
                holding.cancel()


class Fleet:
    """Replicas that share a store. `redis` tells the port of the server behind their taps, if there is one."""

    def __init__(self, directory: Path, store: Store, journal: Journal, redis: Callable[[], int] | None = None) -> None:
        self.journal = journal
        self.provider = OidcProvider(ttl=LIFETIME)
        self.api = Api(self.provider, journal)
        self.grants_given = 0
        self.slowest_recovery = 0.0
        self._store = store
        self._stack = contextlib.AsyncExitStack()
        self._left_over: set[asyncio.Task[int]] = set()
        self.replicas = [Replica(n, directory / f"replica-{n}", redis, self) for n in range(journal.replicas)]

    @property
    def urls(self) -> list[str]:
        """Where callers ask."""
        return [replica.program.url for replica in self.replicas]

    async def __aenter__(self) -> Self:
        stack = self._stack
        try:
            self.http = await stack.enter_async_context(aiohttp.ClientSession())
            await stack.enter_async_context(self.provider)
            await stack.enter_async_context(self.api)
            secrets = {
                "SEED": await self.provider.mint_refresh_token(CLIENT),
                "CLIENT_SECRET": self.provider.secrets[CLIENT],
                "GUARD": GUARD,
                "STORE_KEY": base64.b64encode(os.urandom(32)).decode(),
            }
            for replica in self.replicas:
                for tap in (replica.store, replica.issuer):
                    await stack.enter_async_context(tap)
                replica.configure(self._config(replica), secrets)
                stack.push_async_callback(replica.program.kill)
            await asyncio.gather(*(replica.start() for replica in self.replicas))
        except BaseException:
            await stack.aclose()
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is not None:
            for replica in self.replicas:
                sys.stderr.write(f"---- replica {replica.number} ----\n{replica.program.log[-6000:]}\n")
        for task in self._left_over:
            task.cancel()
        await asyncio.gather(*self._left_over, return_exceptions=True)
        await self._stack.aclose()

    def left_over(self, task: asyncio.Task[int]) -> None:
        """End it at the end at the latest."""
        self._left_over.add(task)
        task.add_done_callback(self._left_over.discard)

    async def recovered(self, since: float) -> float:
        """Wait until every replica is served with a token that is newer than that moment; the seconds it took."""
        async with asyncio.timeout(PATIENCE):
            while any(self.journal.newest(replica.number) <= since for replica in self.replicas):
                if await self.grants_burned() > self.grants_given:
                    since = await self._give_another_grant()
                await asyncio.sleep(0.1)
        self.slowest_recovery = max(self.slowest_recovery, took := time.time() - since)
        return took

    async def grants_burned(self) -> int:
        """How many grants the issuer has withdrawn so far."""
        burned: int = (await self.provider.stats())["grants_revoked"]
        while len(self.journal.burned) < burned:
            self.journal.burned.append(time.time())
            self.api.forget()
        return burned

    async def _give_another_grant(self) -> float:
        """What an operator does once a grant is lost: get another one and push it, to any one replica. When that was.

        Fails unless the answer that brought the next refresh token was lost: no client can close that gap.
        """
        self.grants_given += 1
        requests = sorted(
            (one for replica in self.replicas for one in replica.steps.requests), key=lambda one: one.moment
        )
        refused = [one for one in requests if one.status == "400"]
        assert any(one.explains(bad) for bad in refused for one in requests), "\n".join(
            ["a grant is lost, although the answer that replaced its refresh token was not:"]
            + [
                f"{one.moment:.2f}: {one.sent[-6:]} got {one.status or 'no answer'}{', lost' * one.lost}"
                for one in requests[-12:]
            ]
        )
        for replica in self.replicas:
            replica.steps.requests.clear()
        replica = self.replicas[0]
        secret = self.provider.secrets[CLIENT]
        form = {"grant_type": "refresh_token", "refresh_token": await self.provider.mint_refresh_token(CLIENT)}
        login = {"Authorization": aiohttp.encode_basic_auth(CLIENT, aiohttp.FormData({"x": secret})().decode()[2:])}
        async with self.http.post(self.provider.token_endpoint, data=form, headers=login) as answer:
            came = await answer.json()
        where = f"{replica.program.admin}/credentials/{CREDENTIAL}/token"
        async with self.http.put(where, json=came, headers={"Authorization": f"Bearer {GUARD}"}) as answer:
            assert answer.status == 200, await answer.text()
        return time.time()

    def _config(self, replica: Replica) -> dict[str, Any]:
        return {
            "store": {**self._store(replica.store.port), "encryption_key": {"env": "STORE_KEY"}},
            "routes": [
                {
                    "match": "/api",
                    "upstream": f"http://127.0.0.1:{self.api.port}/{replica.number}",
                    "credential": CREDENTIAL,
                }
            ],
            "credentials": {
                CREDENTIAL: {
                    "type": "oauth2",
                    "grant_type": "refresh_token",
                    "token_endpoint": self.provider.token_endpoint,
                    "client_id": CLIENT,
                    "client_secret": {"env": "CLIENT_SECRET"},
                    "refresh_token": {"env": "SEED"},
                    "refresh": {"at": 0.33},
                    "timeouts": {"connect": "500ms", "total": "1s"},
                    "via_proxy": {"url": f"http://127.0.0.1:{replica.issuer.port}"},
                    "update": {"secret": {"env": "GUARD"}},
                }
            },
            "log": {"access": "off"},
        }
