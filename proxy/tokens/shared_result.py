"""One result that any number of callers wait for: the next token, from a renewal or from a push."""

from __future__ import annotations

import asyncio

from proxy.errors import CredentialError, CredentialUnavailable
from proxy.model import Token


class SharedResult:
    """Every waiting caller gets the same result; a caller that is cancelled does not affect the others."""

    __slots__ = ("_coming",)

    def __init__(self) -> None:
        self._coming: asyncio.Future[Token] | None = None

    async def wait(self, seconds: float, otherwise: CredentialError | None = None) -> Token:
        """The next token that comes within that time. Raises CredentialError: the one that comes, or `otherwise`."""
        if self._coming is None:
            self._coming = asyncio.get_running_loop().create_future()
        coming = self._coming
        done, _ = await asyncio.wait((coming,), timeout=max(0.0, seconds))
        if not done:
            raise otherwise or CredentialUnavailable("No token came in time")
        error = coming.exception()
        if isinstance(error, CredentialError):
            raise again(error)
        return coming.result()

    def publish(self, outcome: Token | CredentialError) -> None:
        """Wake everyone; who comes from now on waits for the next one."""
        coming, self._coming = self._coming, None
        if coming is None:
            return
        if isinstance(outcome, CredentialError):
            coming.set_exception(outcome)
            coming.exception()  # whoever waited may have gone
        else:
            coming.set_result(outcome)


def bare(error: CredentialError) -> CredentialError:
    """The error without the frames that it came through: these would live for as long as it is remembered."""
    error.__cause__ = error.__context__ = None
    return error.with_traceback(None)


def again(error: CredentialError, seconds: float | None = None) -> CredentialError:
    """The same error for one more caller: an exception that is raised twice collects both tracebacks.

    `seconds`: until the next attempt.
    """
    if isinstance(error, CredentialUnavailable):
        return CredentialUnavailable(error.detail, retry_after=error.retry_after or 0.0 if seconds is None else seconds)
    return type(error)(error.detail)
