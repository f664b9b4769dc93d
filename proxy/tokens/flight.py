"""One renewal at a time, in a task of its own: it goes on when the callers that wait for its token are cancelled."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Coroutine
from functools import partial

from proxy import defects
from proxy.errors import CredentialError, CredentialUnavailable
from proxy.tokens.shared_result import bare

_log = logging.getLogger("auth_sidecar.tokens")


class Flight:
    """The renewals of one credential. It refers to its owner only while one runs, so that no cycle keeps both alive."""

    __slots__ = ("_task",)

    def __init__(self) -> None:
        self._task: asyncio.Task[None] | None = None

    @property
    def under_way(self) -> bool:
        """Whether a renewal runs."""
        return self._task is not None

    def begin(self, name: str, renewal: Coroutine[None, None, None], lost: Callable[[CredentialError], None]) -> None:
        """Start one; none may be under way. `lost` is told why where it is ended, or fails by a mistake of ours."""
        self._task = asyncio.create_task(renewal, name=f"renew {name}")
        self._task.add_done_callback(partial(self._ended, lost))

    def landed(self) -> None:
        """Called by the renewal at its end: the next one may begin."""
        self._task = None

    async def end(self, *, within: float) -> None:
        """Wait for the renewal to end, for so many seconds, then cancel it."""
        task = self._task
        if task is None:
            return
        if within > 0:
            await asyncio.wait((task,), timeout=within)
        task.cancel()
        await asyncio.wait((task,))

    def _ended(self, lost: Callable[[CredentialError], None], task: asyncio.Task[None]) -> None:
        if self._task is task:
            self._task = None
        if task.cancelled():
            lost(CredentialUnavailable("The sidecar is shutting down"))
        elif (error := task.exception()) is not None:
            defects.tell(_log, f"in the task {task.get_name()!r}", error)
            lost(CredentialUnavailable("Renewing failed"))


async def outcome(name: str, renewal: Awaitable[None]) -> CredentialError | None:
    """The error that a renewal ended with, None if it brought a token. A bug in it is logged and becomes one."""
    try:
        await renewal
    except CredentialError as error:
        return bare(error)
    except defects.ENDS:
        raise
    except BaseException as error:
        if defects.cancelled(error):
            raise
        defects.tell(_log, f"while renewing {name}", error)
        return CredentialUnavailable("Renewing failed")
    return None
