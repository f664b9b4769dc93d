"""Secrets that may have to be waited for: what a command prints, another credential's token; and those that need not.

All are read anew whenever they are needed, so that whatever was rotated is used at once.
"""

from __future__ import annotations

import asyncio
import base64
import logging
from collections.abc import Callable, Mapping
from typing import Protocol

from proxy.auth.skew import ServerTime
from proxy.clock import Clock
from proxy.config.schema import Secret
from proxy.config.secrets import SecretError, WatchedSecret, extract, named, padded, trimmed
from proxy.errors import CredentialError, CredentialRefused, CredentialUnavailable
from proxy.model import Token
from proxy.tokens.command import output_of
from proxy.tokens.credential import Tokens
from proxy.tokens.token_response import NOTHING, TokenPair, TokenResponse

_COMMAND_WITHIN = 10.0
_TTL = 300.0

_log = logging.getLogger("auth_sidecar.tokens")


def basic(username: str, password: str) -> str:
    """User name and password as a field of Basic authentication holds them (RFC 7617), in UTF-8."""
    return "Basic " + base64.b64encode(f"{username}:{password}".encode()).decode("ascii")


Spoken = Callable[[str, Token], str]
"""What a token of the credential of this name is to whoever names that credential as a secret."""


def as_it_is(_name: str, token: Token) -> str:
    """The token itself."""
    return token.access_token


class LiveSecret(Protocol):
    """One secret."""

    @property
    def changes(self) -> int:
        """How many new values it has had since the first."""

    def ready(self) -> str | None:
        """The secret, if nobody has to wait for it."""

    async def read(self, *, anew: bool = False) -> str:
        """The secret; `anew`: do not use a kept value. Raises CredentialError."""


class Signer(Protocol):
    """Signs tokens of its own. `time`: that of the server which judges them."""

    time: ServerTime

    async def fetch(self, previous: TokenPair) -> TokenResponse:
        """A token that was never handed out before. Raises CredentialError."""


def nobody_signs(_name: str) -> Signer | None:
    """Where no credential signs tokens of its own."""
    return None


def live_secret(
    secret: Secret,
    environ: Mapping[str, str],
    clock: Clock,
    tokens_of: Callable[[str], Tokens],
    signer_of: Callable[[str], Signer | None] = nobody_signs,
    spoken: Spoken = as_it_is,
) -> LiveSecret:
    """Follow a reference. `tokens_of` finds another credential by name, once it is needed; `signer_of` what signs it.

    `spoken`: what of its token is the secret.
    Raises SecretError where a variable or a file is missing.
    """
    if secret.exec is not None:
        return CommandSecret(secret, clock)
    if secret.credential is not None:
        return CredentialSecret(secret.credential, tokens_of, signer_of, spoken)
    return LocalSecret(WatchedSecret(secret, environ, clock.elapsed))


class LocalSecret:
    """From the environment, a file or the configuration."""

    __slots__ = ("_watched",)

    def __init__(self, watched: WatchedSecret) -> None:
        self._watched = watched

    @property
    def changes(self) -> int:
        """New values of the file."""
        self._watched.current()
        return self._watched.changes

    def ready(self) -> str | None:
        """Always at hand."""
        return self._watched.current()

    async def read(self, *, anew: bool = False) -> str:  # noqa: ARG002 - the interface
        """The value of this very moment: an assertion or a subject token that was replaced must not be sent again."""
        return self._watched.newest()


class CommandSecret:
    """What a command prints, kept for `ttl`. The last value outlives a command that fails."""

    def __init__(self, secret: Secret, clock: Clock) -> None:
        self.changes = 0
        self._secret = secret
        self._clock = clock
        self._value: str | None = None
        self._until = 0.0
        self._runs = 0
        self._running = asyncio.Lock()

    def __repr__(self) -> str:
        """Neither the arguments nor the output."""
        return "CommandSecret()"

    def ready(self) -> str | None:
        """None until the command has run, and when its output is too old."""
        return self._value if self._clock.elapsed() < self._until else None

    async def read(self, *, anew: bool = False) -> str:
        """Run the command, if what it printed is too old; one run however many ask."""
        runs = self._runs
        async with self._running:
            too_old = anew and runs == self._runs
            value = None if too_old else self.ready()
            return value if value is not None else await self._run()

    async def _run(self) -> str:
        try:
            value = self._told(await output_of(self._secret.exec or (), within=_COMMAND_WITHIN))
        except CredentialError as error:
            if self._value is None:
                raise
            _log.warning("a command that prints a secret failed (%s); its last output stays in use", error)
            return self._value
        self.changes += self._value not in {None, value}
        self._value = value
        self._runs += 1
        self._until = self._clock.elapsed() + (self._secret.ttl or _TTL)
        return value

    def _told(self, output: bytes) -> str:
        try:
            text = trimmed(extract(output.decode(), self._secret.json_pointer, named(self._secret)))
            text.encode()
        except (SecretError, UnicodeError):
            raise CredentialUnavailable("A command that should print a secret prints something else") from None
        if not text.strip() or "\0" in text:
            raise CredentialUnavailable("A command that should print a secret prints nothing of use")
        if padded(text) and not self._runs:
            _log.warning("a command prints a secret with white space before or behind it, which stays part of it")
        return text


class CredentialSecret:
    """The token of another credential, which is renewed there.

    One that is signed here is signed anew each time it is read: whoever takes it as an assertion may remember its `jti`
    and call it a replay the second time (RFC 7523 §3).
    """

    changes = 0

    def __init__(
        self,
        name: str,
        tokens_of: Callable[[str], Tokens],
        signer_of: Callable[[str], Signer | None] = nobody_signs,
        spoken: Spoken = as_it_is,
    ) -> None:
        self._name = name
        self._spoken = spoken
        self._tokens_of = tokens_of
        self._signer_of = signer_of

    @property
    def time(self) -> ServerTime | None:
        """The time by which it is dated, if it is signed here."""
        signer = self._signer_of(self._name)
        return None if signer is None else signer.time

    def ready(self) -> str | None:
        """Its token, if it has one."""
        token = self._tokens_of(self._name).ready()
        return None if token is None else self._spoken(self._name, token)

    async def read(self, *, anew: bool = False) -> str:
        """The token of that credential; `anew`: another one than it has now."""
        try:
            return self._spoken(self._name, await self._token(anew=anew))
        except CredentialUnavailable as error:
            raise CredentialUnavailable(
                f"The credential {self._name} has no token: {error.detail}", retry_after=error.requested
            ) from None
        except CredentialRefused as error:
            raise CredentialRefused(f"The credential {self._name} has no token: {error.detail}") from None

    async def _token(self, *, anew: bool) -> Token:
        signer = self._signer_of(self._name)
        if signer is not None:
            return (await signer.fetch(NOTHING)).token
        tokens = self._tokens_of(self._name)
        held = tokens.ready()
        return await tokens.renew(held) if anew and held is not None else await tokens.current()
