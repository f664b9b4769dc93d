"""A secret printed by a command, for places that cannot wait: a header field of a route, a bearer to compare with.

The command runs before requests are served, and again in the background when its output has expired.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging

from proxy.config.secrets import WatchedSecret
from proxy.defects import tell
from proxy.errors import ConfigurationError, CredentialError
from proxy.tokens.secret import LiveSecret

_log = logging.getLogger("auth_sidecar.app")


class PrintedSecret:
    """`where`: what messages call it. `current` must not be called before `start` has returned."""

    def __init__(self, where: str, secret: LiveSecret) -> None:
        self._where = where
        self._secret = secret
        self._value = ""
        self._again: asyncio.Task[None] | None = None

    def __repr__(self) -> str:
        """The secret stays hidden."""
        return "PrintedSecret()"

    async def start(self) -> None:
        """Wait for the command. Raises ConfigurationError if it prints no secret."""
        try:
            self._value = await self._secret.read()
        except CredentialError as error:
            raise ConfigurationError(f"{self._where}: {error.detail}") from None

    def current(self) -> str:
        """The secret that was printed last."""
        value = self._secret.ready()
        if value is not None:
            self._value = value
        elif self._again is None:
            self._again = asyncio.get_running_loop().create_task(self._run())
        return self._value

    async def stop(self) -> None:
        """End a command that is running."""
        if self._again is not None:
            self._again.cancel()
            await asyncio.wait((self._again,))

    async def _run(self) -> None:
        try:
            with contextlib.suppress(CredentialError):  # the last value stays; the secret has logged why
                await self._secret.read()
        except Exception as error:  # noqa: BLE001 - the command is run again, whatever became of this time
            tell(_log, f"while {self._where} was read", error)
        finally:
            self._again = None


CurrentSecret = WatchedSecret | PrintedSecret
"""A secret whose value is available without waiting."""
