"""What others save, as Redis announces it: one subscription for all credentials, kept up for as long as the store runs.

A notice says only that a record has changed: whoever follows it reads the record. While there is no subscription,
notices are lost; so each time one begins, every record that is followed is read anew.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any

from redis import exceptions
from redis.asyncio.client import PubSub

from proxy.background import end
from proxy.clock import Clock
from proxy.defects import tell
from proxy.tokens.store.redis_client import LIBRARY_ERRORS
from proxy.tokens.store.redis_operations import RedisOperations
from proxy.tokens.store.redis_scripts import Notice, read_notice
from proxy.tokens.store.token_store import StoreError

_log = logging.getLogger("auth_sidecar.store")

_QUIET = 5.0
"""Seconds without a word after which Redis is asked whether it is still there, and then those for its answer."""
_FIRST_REST = 0.05
_LONGEST_REST = 1.0
_USE = "hear of changes"


class RedisNotices:
    """`began`: read everything anew; `changed`: follow one notice. StoreErrors of both end the subscription."""

    def __init__(
        self,
        operations: RedisOperations,
        channel: str,
        clock: Clock,
        *,
        began: Callable[[], Awaitable[None]],
        changed: Callable[[Notice], Awaitable[None]],
    ) -> None:
        self._operations = operations
        self._channel = channel
        self._clock = clock
        self._began = began
        self._changed = changed
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin, in a task of its own; twice is fine."""
        if self._task is None:
            self._task = asyncio.create_task(self._run(), name="redis notices")

    async def stop(self) -> None:
        """End; twice is fine."""
        task, self._task = self._task, None
        if task is not None:
            await end(task)

    async def _run(self) -> None:
        rest = _FIRST_REST
        while True:
            began = self._clock.elapsed()
            try:
                await self._listen()
            except StoreError:
                pass  # told by what failed
            except LIBRARY_ERRORS as error:
                self._operations.failed(_USE, error)
            except Exception as error:  # noqa: BLE001 - the next subscription reads everything anew
                tell(_log, "while changes in Redis were followed", error)
            if self._clock.elapsed() - began > _LONGEST_REST:
                rest = _FIRST_REST
            await self._clock.sleep(rest * (1 - self._clock.chance() / 2))
            rest = min(2 * rest, _LONGEST_REST)

    async def _listen(self) -> None:
        """One subscription, until it ends. Raises what ended it."""
        subscription = await self._operations.client.subscription()
        try:
            await subscription.subscribe(self._channel)
            while (said := await self._heard(subscription)) is None or said["type"] != "subscribe":
                if said is None:
                    raise exceptions.TimeoutError("no answer to SUBSCRIBE")
            await self._began()
            self._operations.worked(_USE)
            while True:
                said = await self._heard(subscription)
                if said is None:
                    await subscription.ping()
                    said = await self._heard(subscription)
                    if said is None:
                        raise exceptions.TimeoutError("no word within the time")
                if said["type"] == "message" and (notice := read_notice(said["data"])) is not None:
                    await self._changed(notice)
        finally:
            with suppress(*LIBRARY_ERRORS):
                await subscription.aclose()

    @staticmethod
    async def _heard(subscription: PubSub) -> dict[str, Any] | None:
        said: dict[str, Any] | None = await subscription.get_message(timeout=_QUIET)
        return said
