"""AWS keys that are at hand: configured as secrets, or in a shared credentials file."""

from __future__ import annotations

import configparser
from pathlib import Path
from typing import Any, Protocol

from msgspec import Struct

from proxy.auth.aws_keys import AwsKeys
from proxy.errors import ConfigurationError, CredentialRefused
from proxy.tokens.parts import Read


class GivenKeys(Struct, frozen=True):
    """`expires_at`: when temporary keys end, as their giver wrote it; None for keys without an end."""

    keys: AwsKeys
    expires_at: Any = None


class KeyGiver(Protocol):
    """Whoever has keys."""

    async def give(self) -> GivenKeys:
        """The keys of now. Raises CredentialUnavailable or CredentialRefused."""


class SecretKeys:
    """Keys that are configured as secrets; their files and commands are followed."""

    def __init__(self, access_key_id: Read, secret_access_key: Read, session_token: Read | None) -> None:
        self._id = access_key_id
        self._secret = secret_access_key
        self._session = session_token

    async def give(self) -> GivenKeys:
        """Raises CredentialError where a secret cannot be read."""
        session = await self._session() if self._session is not None else None
        return GivenKeys(
            AwsKeys(access_key_id=await self._id(), secret_access_key=await self._secret(), session_token=session)
        )


class ProfileKeys:
    """The keys of one profile in a shared credentials file, which is followed."""

    def __init__(self, read: Read, name: str) -> None:
        """`read`: what the file says now."""
        self._read = read
        self._name = name

    async def give(self) -> GivenKeys:
        """Raises CredentialRefused where the file has no such keys, CredentialError where it cannot be read."""
        try:
            return GivenKeys(profile_keys(await self._read(), self._name))
        except ConfigurationError as error:
            raise CredentialRefused(str(error)) from None


def profile_keys(text: str, name: str) -> AwsKeys:
    """The keys of one profile, in the text of a shared credentials file. Raises ConfigurationError, quoting nothing."""
    profiles = configparser.RawConfigParser(default_section="", interpolation=None, strict=False)
    try:
        profiles.read_string(text)
    except configparser.Error:
        raise ConfigurationError("the shared credentials file is malformed") from None
    section = next((one for one in (name, f"profile {name}") if profiles.has_section(one)), None)
    if section is None:
        raise ConfigurationError(f"the shared credentials file has no profile {name!r}")
    found = dict(profiles.items(section))
    access_key_id, secret = found.get("aws_access_key_id"), found.get("aws_secret_access_key")
    if not access_key_id or not secret:
        missing = f"the profile {name!r} has no aws_access_key_id and aws_secret_access_key"
        raise ConfigurationError(f"{missing}; roles are configured with assume_role")
    session = found.get("aws_session_token") or None
    return AwsKeys(access_key_id=access_key_id, secret_access_key=secret, session_token=session)


def text_of(file: str) -> str:
    """What a small local file says. Raises OSError, UnicodeDecodeError."""
    return Path(file).read_text(encoding="utf-8")
