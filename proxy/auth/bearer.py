"""A token in a header field (RFC 6750 §2.1): for OAuth 2 and all other tokens that are fetched or pushed."""

from __future__ import annotations

from collections.abc import Sequence

from proxy.auth.header import HeaderScheme
from proxy.model import Field, Token


class BearerScheme(HeaderScheme):
    """`Authorization: Bearer token`, or another field and word; ready-made `Token.fields` go out as they are."""

    __slots__ = ()

    def __init__(self, header: str = "Authorization", prefix: str = "Bearer ") -> None:
        super().__init__(header, prefix)

    def _ready(self, token: Token) -> Sequence[Field]:
        return token.fields or super()._ready(token)
