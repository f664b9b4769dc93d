"""Saving in the background, for one record: one try at a time, whose failure is told and ends nothing."""

from __future__ import annotations

import asyncio
import logging
import math
from collections.abc import Awaitable, Callable
from contextlib import suppress

from proxy.defects import tell
from proxy.errors import CredentialUnavailable

_log = logging.getLogger("auth_sidecar.tokens")


class SavingTask:
    """Needs a running loop. `name`: the credential's."""

    __slots__ = ("_name", "_task")

    def __init__(self, name: str) -> None:
        self._name = name
        self._task: asyncio.Task[None] | None = None

    def begin(self, save: Callable[[], Awaitable[None]], then: Callable[[], None] | None = None) -> None:
        """Begin a try, unless one is under way; `then` is called at its end."""
        if self._task is None:
            self._task = asyncio.create_task(self._run(save, then), name=f"save {self._name}")

    async def ended(self, within: float = math.inf) -> None:
        """Wait for the try under way to end, for so many seconds at most."""
        if self._task is not None:
            await asyncio.wait((self._task,), timeout=within if within < math.inf else None)

    async def _run(self, save: Callable[[], Awaitable[None]], then: Callable[[], None] | None) -> None:
        try:
            with suppress(CredentialUnavailable):
                await save()
        except Exception as error:  # noqa: BLE001 - the next try is due whatever became of this one
            tell(_log, f"while saving {self._name}", error)
        finally:
            self._task = None
        if then is not None:
            then()
