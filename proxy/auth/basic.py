"""User name and password (RFC 7617), in UTF-8. The token is the password."""

from __future__ import annotations

import base64
import re
from collections.abc import Sequence

from proxy.auth.header import HeaderScheme
from proxy.errors import ConfigurationError
from proxy.model import Field, Token

_CONTROLS = re.compile(r"[\x00-\x1f\x7f]")


class BasicScheme(HeaderScheme):
    """`Authorization: Basic …`. Raises ConfigurationError for a user name that it cannot carry (RFC 7617 §2)."""

    def __init__(self, username: str) -> None:
        super().__init__("Authorization", "Basic ")
        if ":" in username:
            raise ConfigurationError("a user name for basic authentication cannot contain a colon (RFC 7617 §2)")
        if _CONTROLS.search(username):
            raise ConfigurationError("a user name for basic authentication cannot contain control characters")
        self._username = username

    def _ready(self, token: Token) -> Sequence[Field]:
        pair = f"{self._username}:{token.access_token}".encode()
        return ((self._name, self._prefix + base64.b64encode(pair)),)
