"""One command to Redis: bounded in time, repeated once over a new connection, its failure explained and told once."""

from __future__ import annotations

import logging
from typing import Any

from redis import exceptions

from proxy.background import bounded
from proxy.clock import Clock
from proxy.tokens.store.failures import StoreFailures
from proxy.tokens.store.redis_client import LIBRARY_ERRORS, NotSentError, RedisClient
from proxy.tokens.store.redis_errors import explained
from proxy.tokens.store.token_store import StoreError

_log = logging.getLogger("auth_sidecar.store")

_LONGEST_REST = 0.1
"""Seconds before the repeat, at most: many of us lose the same server in the same instant."""
_REACH = "reach it"
"""What fails where there is no answer, whatever was asked; what a server refuses is told for each use."""
_SLACK = 1.5
"""The client keeps `timeout` for each answer, and knows which one did not come; this is a safeguard."""


class RedisOperations:
    """`place`: what messages call the server. `timeout`: seconds for one answer; `hops`: how many it may take.

    `degrade`: whether the program may go on without Redis. `failures`: shared with who else reports of this store.
    """

    def __init__(
        self,
        client: RedisClient,
        place: str,
        clock: Clock,
        failures: StoreFailures,
        *,
        timeout: float,
        hops: int = 1,
        degrade: bool = True,
    ) -> None:
        self.client = client
        self.place = place
        self.failures = failures
        self.degrade = degrade
        self._clock = clock
        self._limit = timeout * hops * _SLACK

    async def run(self, use: str, *words: str | int) -> Any:
        """Send a command that may be sent twice.

        Raises StoreError: `cut_off`, and `unchanged` where it was never sent or refused. `use`: what failures of it are
        told as.
        """
        unchanged = True
        for last in (False, True):
            try:
                answer = await bounded(self.client.execute(*words), self._limit)
            except (NotSentError, *LIBRARY_ERRORS) as error:
                unchanged = unchanged and isinstance(error, NotSentError | exceptions.ResponseError)
                cause = error.__cause__ if isinstance(error, NotSentError) else error
                again = not isinstance(cause, exceptions.ResponseError | exceptions.TimeoutError | TimeoutError)
                if last or not again or isinstance(cause, exceptions.AuthenticationError):
                    raise self.failed(use, error, unchanged=unchanged) from None
                await self._clock.sleep(_LONGEST_REST * self._clock.chance())
            else:
                self.worked(use)
                return answer
        raise AssertionError

    def failed(self, use: str, error: BaseException, *, unchanged: bool = False) -> StoreError:
        """Count and log a failure; the error to raise."""
        if isinstance(error, exceptions.ResponseError) and str(error).startswith("WRONGTYPE"):
            return StoreError("is no record of ours; delete it, or choose another store.key_prefix", unchanged=True)
        message = f"Redis at {self.place}: {explained(error)}"
        answered = isinstance(error, exceptions.ResponseError)
        known = not answered and self.failures.failing(_REACH)
        if self.failures.failed(use if answered else _REACH, message) and not known:
            _log.error("%s%s", message, "" if self.degrade else "; tokens are not renewed meanwhile")
        return StoreError(message, degrade=self.degrade, cut_off=True, unchanged=unchanged)

    def worked(self, use: str) -> None:
        """Forget the failures of this use, and log that they are over."""
        if self.failures.worked(_REACH):
            _log.info("Redis at %s can be reached again", self.place)
        if self.failures.worked(use):
            _log.info("Redis at %s works again (%s)", self.place, use)
