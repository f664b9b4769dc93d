"""The secrets of a credential that signs and has no token (OAuth 1): followed as they change, waited for if need be.

A request needs something at hand before it is signed, so these secrets pose as a token that says nothing. The file of
a DPoP key is followed in the same way.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping

from proxy.errors import ConfigurationError, CredentialRefused
from proxy.model import Token
from proxy.tokens.secret import LiveSecret

_log = logging.getLogger("auth_sidecar.tokens")


class SigningKeys:
    """`secrets` by name; `use` gets them whenever one of them is another than before (at first: than `in_use`).

    What `use` refuses with ConfigurationError, a key file that is half written, leaves the last good ones in use.
    """

    def __init__(
        self,
        name: str,
        secrets: Mapping[str, LiveSecret],
        use: Callable[[Mapping[str, str]], None],
        *,
        in_use: Mapping[str, str],
    ) -> None:
        self._name = name
        self._secrets = secrets
        self._use = use
        self._values = in_use
        self._unusable: Mapping[str, str] | None = None
        self._token = Token(access_token="")

    def ready(self) -> Token | None:
        """The token that says nothing, once the keys of now are in use; None where a command must be run first."""
        values = {}
        for name, secret in self._secrets.items():
            value = secret.ready()
            if value is None:
                return None
            values[name] = value
        return self._as_token(values)

    async def current(self) -> Token:
        """The same, waiting for commands. Raises CredentialError."""
        return self._as_token({name: await secret.read() for name, secret in self._secrets.items()})

    def predecessor(self, young: Token) -> None:
        """None: keys that were exchanged on purpose do not sign again."""

    async def renew(self, refused: Token) -> Token:
        """Raises CredentialRefused unless the secrets have changed: nobody can be asked for others."""
        token = self._as_token({name: await secret.read(anew=True) for name, secret in self._secrets.items()})
        if token is refused:
            raise CredentialRefused("The signature was refused, and the configured secrets have not changed")
        return token

    def _as_token(self, values: dict[str, str]) -> Token:
        if values not in (self._values, self._unusable):
            try:
                self._use(values)
            except ConfigurationError as error:
                self._unusable = values
                _log.warning("%s: new keys cannot be used (%s): the last good ones stay in use", self._name, error)
            else:
                self._values = values
                self._token = Token(access_token="", generation=self._token.generation + 1)
        return self._token
