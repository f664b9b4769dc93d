"""The bad day: tokens are revoked, the issuer restarts, connections are reset or left, files and clocks change."""

from __future__ import annotations

import asyncio
import copy
import itertools
import random
import signal
import time
from typing import Any

import aiohttp
from support.process import Program

from proxy.sandbox.sandbox_server import Sandbox
from soak.journal import Journal
from soak.pusher import Pusher
from soak.upstream import Apis

_DAY = (
    "reset",
    "revoke",
    "reload",
    "leave",
    "step",
    "reload",
    "reset",
    "restart",
    "step",
    "reload",
    "revoke",
    "reset",
    "reload",
)


class Disturber:
    """Does one thing after the other. `config`: the one that the program was started with.

    `usable`: the generations of the configuration that the program may run on.
    """

    def __init__(
        self,
        program: Program,
        config: dict[str, Any],
        sandbox: Sandbox,
        apis: Apis,
        pusher: Pusher,
        journal: Journal,
    ) -> None:
        self._program = program
        self._config = config
        self._sandbox = sandbox
        self._apis = apis
        self._pusher = pusher
        self._journal = journal
        self._chance = random.Random(11)
        self._generations = itertools.count(1)
        self.complaints: list[str] = []
        self.usable: set[bytes] = set()

    async def run(self, until: float, pause: float) -> None:
        """Go on until then (of the monotonic clock). `pause`: seconds between two mishaps, on average."""
        for kind in itertools.cycle(_DAY):
            await asyncio.sleep(pause * (0.5 + self._chance.random()))
            if time.monotonic() > until:
                return
            began = time.monotonic()
            await getattr(self, f"_{kind}")()
            self._journal.happened(kind, began)

    async def _reset(self) -> None:
        self._apis.reset(self._chance.choice((0.2, 0.5, 1.0)))

    async def _leave(self) -> None:
        """The APIs end kept connections without a word, as servers do that keep none for long."""
        self._apis.leaves = self._chance.choice((0.1, 0.5, 1.0))
        try:
            await asyncio.sleep(1.0 + self._chance.random())
        finally:
            self._apis.leaves = 0.0

    async def _revoke(self) -> None:
        await self._pusher.revoke()

    async def _step(self) -> None:
        self._program.signal(signal.SIGUSR1)

    async def _restart(self) -> None:
        """The issuer is gone for a while, and has forgotten every second time what it issued."""
        await self._sandbox.stop()
        try:
            await asyncio.sleep(self._chance.choice((0.2, 1.0, 1.5)))
            if self._chance.random() < 0.5:
                await self._pusher.revoke()
        finally:
            await self._sandbox.start()

    async def _reload(self) -> None:
        """By signal, over the admin side, by the file alone; and now and then a file that cannot be used."""
        generation = next(self._generations)
        config = copy.deepcopy(self._config)
        for route in config["routes"]:
            route.setdefault("headers", {}).setdefault("set", {})["X-Generation"] = str(generation)
        if generation % 2:
            config["routes"].append({"match": "/more", "upstream": "http://127.0.0.1:9/", "credential": "more"})
            config["credentials"]["more"] = {"type": "header", "name": "X-More", "value": {"value": str(generation)}}
        broken = generation % 5 == 4
        if broken:
            config["routes"][0]["credential"] = "nobody"
        else:
            self.usable.add(b"%d" % generation)
        self._program.write(config)
        if generation % 3 == 0:
            self._program.signal(signal.SIGHUP)
        elif generation % 3 == 1 or broken:
            async with aiohttp.ClientSession() as http, http.post(self._program.admin + "/reload") as answer:
                if (answer.status >= 300) is not broken:
                    self.complaints.append(f"reload {generation}: {answer.status}, broken: {broken}")
