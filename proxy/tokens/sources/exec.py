"""Tokens printed by a command: an ExecCredential (client.authentication.k8s.io/v1 or v1beta1), as client-go takes it.

    {"apiVersion": "client.authentication.k8s.io/v1", "kind": "ExecCredential",
     "status": {"token": "…", "expirationTimestamp": "2026-11-21T12:00:00Z"}}

The command is told which version we read in KUBERNETES_EXEC_INFO, unless the environment says so already.
"""

from __future__ import annotations

import codecs
import os
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from proxy.clock import Clock
from proxy.errors import CredentialRefused
from proxy.tokens import reply
from proxy.tokens.command import output_of
from proxy.tokens.lifetime import Asked, LastStated
from proxy.tokens.token_response import TokenPair, TokenResponse

_VERSIONS = ("client.authentication.k8s.io/v1", "client.authentication.k8s.io/v1beta1")
_ASKED_IN = "KUBERNETES_EXEC_INFO"
_ASKED = {"apiVersion": _VERSIONS[0], "kind": "ExecCredential", "spec": {"interactive": False}}


class ExecSource:
    """Runs the command anew for each token."""

    def __init__(
        self,
        command: Sequence[str],
        clock: Clock,
        *,
        within: float = 10.0,
        env: Mapping[str, str] | None = None,
        assumed: float = 300.0,
    ) -> None:
        """`within`: seconds that the command may take; `assumed`: the lifetime where it states none."""
        self._command = tuple(command)
        self._clock = clock
        self._within = within
        self._env = dict(env or {})
        if _ASKED_IN not in os.environ:
            self._env.setdefault(_ASKED_IN, msgspec.json.encode(_ASKED).decode())
        self._assumed = assumed
        self._last_stated = LastStated()

    async def fetch(self, previous: TokenPair) -> TokenResponse:
        """Run the command, which knows nothing of earlier tokens. Raises CredentialUnavailable or CredentialRefused."""
        expected = reply.Expected(assumed=self._last_stated.after(previous.access, self._assumed), giver="command")
        asked = Asked(self._clock.wall(), self._clock.elapsed())
        status = _status(await output_of(self._command, within=self._within, env=self._env))
        said = {"access_token": status.get("token"), "expires_at": status.get("expirationTimestamp")}
        return reply.token(said, asked, expected)


def _status(output: bytes) -> dict[str, Any]:
    try:
        said = msgspec.json.decode(output.removeprefix(codecs.BOM_UTF8))
    except (ValueError, RecursionError):
        raise CredentialRefused("The command did not print JSON") from None
    if not isinstance(said, dict) or said.get("kind") != "ExecCredential":
        raise CredentialRefused("The command did not print an ExecCredential")
    if said.get("apiVersion") not in _VERSIONS:
        raise CredentialRefused("The command's ExecCredential is neither client.authentication.k8s.io/v1 nor v1beta1")
    status = said.get("status")
    if not isinstance(status, dict) or not status.get("token"):
        raise CredentialRefused("The command's ExecCredential holds no token (client certificates are not supported)")
    return status
