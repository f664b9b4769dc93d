"""The device authorization grant (RFC 8628): a person enters a short code on another device. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from msgspec import Struct

from proxy.errors import CredentialRefused
from proxy.tokens.grants import Parameters
from proxy.tokens.spelled_time import number

DEVICE_CODE = "urn:ietf:params:oauth:grant-type:device_code"
SLOWER_BY = 5.0
"""Seconds, added to the interval each time the server asks for that (§3.5)."""
_INTERVAL, _LIFETIME = 5.0, 300.0


class DeviceAuthorization(Struct, frozen=True):
    """What a server hands out. `interval`: seconds between two questions; `lifetime`: seconds of the codes.

    `complete_uri`: the address with the code in it, where the server gives one.
    """

    device_code: str
    user_code: str
    verification_uri: str
    complete_uri: str | None
    interval: float
    lifetime: float

    def __repr__(self) -> str:
        """Whoever has the device code gets the token."""
        return "DeviceAuthorization()"

    @property
    def parameters(self) -> Parameters:
        """What the token endpoint is asked with, until the person has decided."""
        return [("grant_type", DEVICE_CODE), ("device_code", self.device_code)]


def device_authorization(said: Mapping[str, Any]) -> DeviceAuthorization:
    """Read the members of an answer (§3.2; some servers say `verification_url`). Raises CredentialRefused."""
    uri = said.get("verification_uri") or said.get("verification_url")
    complete = said.get("verification_uri_complete")
    texts = [said.get("device_code"), said.get("user_code"), uri]
    if not all(isinstance(text, str) and text and text.isprintable() for text in texts):
        raise CredentialRefused("The device authorization endpoint's answer holds no codes")
    if not str(uri).startswith(("https://", "http://")):
        raise CredentialRefused("The device authorization endpoint's answer names no page to open")
    device_code, user_code, verification_uri = map(str, texts)
    return DeviceAuthorization(
        device_code,
        user_code,
        verification_uri,
        complete if isinstance(complete, str) and complete.isprintable() else None,
        max(1.0, number(said.get("interval")) or _INTERVAL),
        number(said.get("expires_in")) or _LIFETIME,
    )
