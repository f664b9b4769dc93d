"""A client of the running instance's admin listener, with the bearer of the configuration.

A file that was broken after the start still says where the instance is: the parts that this needs are read alone then.
"""

from __future__ import annotations

import asyncio
import http.client
import json
import os
import socket
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from proxy.cli.command_errors import RefusedError, UnreachableError
from proxy.clock import SystemClock
from proxy.config import schema
from proxy.config.address import Address, parse_address
from proxy.config.load import load, load_text
from proxy.errors import ConfigurationError, CredentialError
from proxy.tokens.credential import Tokens
from proxy.tokens.secret import live_secret

_PATIENCE = 30.0
"""Seconds for an answer: a renewal asks the issuer first."""
_EVERYWHERE = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 - what listens everywhere is reached on loopback
_OK = 200


class Running:
    """`config`: the configuration, or as much of it as could be read.

    Raises UnreachableError where the admin listener is off.
    """

    def __init__(self, config: schema.Config) -> None:
        self.config = config
        listen = config.admin.listen
        if listen is None:
            raise UnreachableError("admin.listen is off: the running instance cannot be asked anything")
        self._listen = listen
        self._host = config.allowed_hosts[0] if config.allowed_hosts else "localhost"

    def ask(
        self, method: str, path: str, document: Any = None, *, bearer: str | None = None
    ) -> tuple[int, dict[str, Any]]:
        """One request; status and document of the answer. `bearer` instead of the admin's. Raises UnreachableError."""
        if bearer is None and self.config.admin.bearer is not None:
            bearer = secret_of(self.config.admin.bearer)
        headers = {"Host": self._host, "Accept": "application/json", "Connection": "close"}
        if bearer:
            headers["Authorization"] = f"Bearer {bearer}"
        body = None if document is None else json.dumps(document).encode()
        return exchange(self._listen, method, path, headers, body)

    def must(self, method: str, path: str, document: Any = None, *, bearer: str | None = None) -> dict[str, Any]:
        """One request that must succeed. Raises UnreachableError, RefusedError."""
        status, answer = self.ask(method, path, document, bearer=bearer)
        if status != _OK:
            raise RefusedError(status, str(answer.get("detail") or answer.get("title") or f"status {status}"))
        return answer


def find(path: Path, environ: Mapping[str, str] = os.environ) -> Running:
    """The instance that runs with this configuration. Raises ConfigurationError, UnreachableError."""
    return Running(config_of(path, environ))


def config_of(path: Path, environ: Mapping[str, str] = os.environ) -> schema.Config:
    """The configuration; if it has mistakes, only its listeners. Raises ConfigurationError."""
    try:
        return load(path, environ).config
    except ConfigurationError as error:
        try:
            return _listeners_alone(path, environ)
        except (ConfigurationError, OSError, ValueError, yaml.YAMLError):
            raise error from None


def _listeners_alone(path: Path, environ: Mapping[str, str]) -> schema.Config:
    written = yaml.safe_load(path.read_text())
    if not isinstance(written, dict):
        raise ConfigurationError("no mapping")
    kept = {key: written[key] for key in ("admin", "health", "allowed_hosts") if key in written}
    kept["routes"] = [{"match": "/", "upstream": "https://upstream.invalid"}]  # there must be one; nobody looks at it
    text = yaml.safe_dump(kept)
    return load_text(text, name=str(path), directory=path.absolute().parent, environ=environ).config


def exchange(
    listen: str, method: str, path: str, headers: Mapping[str, str], body: bytes | None = None
) -> tuple[int, dict[str, Any]]:
    """One request to a listener of ours; its status and its document. Raises UnreachableError."""
    connection = _Connection(parse_address(listen))
    try:
        connection.request(method, path, body, dict(headers))
        answer = connection.getresponse()
        octets = answer.read()
    except (OSError, http.client.HTTPException) as error:
        reason = getattr(error, "strerror", None) or str(error) or type(error).__name__
        raise UnreachableError(f"no running instance answers on {listen}: {reason.lower()}") from None
    finally:
        connection.close()
    try:
        document = json.loads(octets)
    except ValueError:
        document = None
    if not isinstance(document, dict):
        raise UnreachableError(f"what answers on {listen} is not auth-sidecar")
    return answer.status, document


def secret_of(secret: schema.Secret) -> str:
    """The current value of a secret; runs its command if it has one. Raises ConfigurationError."""
    try:
        return asyncio.run(_read(secret))
    except CredentialError as error:
        raise ConfigurationError(error.detail) from None


async def _read(secret: schema.Secret) -> str:
    return await live_secret(secret, os.environ, SystemClock(), _nobody).read()


def _nobody(name: str) -> Tokens:
    raise ConfigurationError(f"the credential {name} is not here")


class _Connection(http.client.HTTPConnection):
    def __init__(self, address: Address) -> None:
        super().__init__(_EVERYWHERE.get(address.host, address.host) or "localhost", address.port, timeout=_PATIENCE)
        self._path = address.path

    def connect(self) -> None:
        """Connect, over a unix socket where there is one."""
        if self._path is None:
            super().connect()
            return
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(_PATIENCE)
        self.sock.connect(self._path)
