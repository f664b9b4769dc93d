"""The callers: each asks one replica after the other, again and again, and notes what did not go well."""

from __future__ import annotations

import asyncio
import contextlib
import random
import time
from collections.abc import AsyncIterator, Sequence

import aiohttp

from chaos.journal import Journal

PATIENCE = 20.0
"""Seconds after which a caller gives up; whoever is stopped lets it wait."""


async def _ask(http: aiohttp.ClientSession, url: str) -> str:
    """Empty where it was served; else what came instead."""
    try:
        async with http.get(url) as answer:
            await answer.read()
            said = answer.headers.get("Proxy-Status", "")
            return "" if answer.status == 200 else f"{answer.status} {said.partition('details=')[2] or said}".strip()
    except (aiohttp.ClientError, TimeoutError, OSError) as error:
        return type(error).__name__


async def _call(number: int, urls: Sequence[str], pause: float, journal: Journal, http: aiohttp.ClientSession) -> None:
    chance = random.Random(number)
    replica = number % len(urls)
    await asyncio.sleep(pause * chance.random())
    while True:
        began = time.time()
        if result := await _ask(http, f"{urls[replica]}/api/{number}"):
            journal.trouble(replica, began, time.time(), result)
        replica = (replica + 1) % len(urls)
        await asyncio.sleep(pause * (0.5 + chance.random()))


@contextlib.asynccontextmanager
async def calling(count: int, urls: Sequence[str], rate: float, journal: Journal) -> AsyncIterator[None]:
    """So many callers, who ask `rate` times a second together, while inside."""
    timeout = aiohttp.ClientTimeout(total=PATIENCE)
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0), timeout=timeout) as http:
        tasks = [asyncio.create_task(_call(number, urls, count / rate, journal, http)) for number in range(count)]
        try:
            yield
        finally:
            for task in tasks:
                task.cancel()
            ended = await asyncio.gather(*tasks, return_exceptions=True)
    assert all(isinstance(end, asyncio.CancelledError) for end in ended), ended
