"""User name and password (RFC 7617), in UTF-8. The token is both, with a colon between them."""

from __future__ import annotations

import base64
from collections.abc import Sequence

from proxy.auth.header import HeaderScheme
from proxy.model import Field, Token


class BasicScheme(HeaderScheme):
    """`Authorization: Basic …`."""

    def __init__(self) -> None:
        super().__init__("Authorization", "Basic ")

    def _ready(self, token: Token) -> Sequence[Field]:
        return ((self._name, self._prefix + base64.b64encode(token.access_token.encode())),)
