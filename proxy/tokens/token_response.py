"""Access tokens together with their refresh tokens: as far as the token request, the record and the push go.

The data path only ever gets `model.Token`, which has no refresh token.
"""

from __future__ import annotations

from msgspec import Struct

from proxy.model import Token


class TokenResponse(Struct, frozen=True):
    """What a token request brought (RFC 6749 §5.1). `refresh_token`: None where the one that is held stays."""

    token: Token
    refresh_token: str | None = None

    def __repr__(self) -> str:
        """A refresh token cannot be printed."""
        return f"TokenResponse({self.token!r})"


class TokenPair(Struct, frozen=True):
    """What there is to go on from: in the record, or in the configuration. `access` may have expired."""

    access: Token | None = None
    refresh_token: str | None = None

    def __bool__(self) -> bool:
        """Whether there is either."""
        return self.access is not None or self.refresh_token is not None

    def __repr__(self) -> str:
        """A refresh token cannot be printed."""
        return f"TokenPair({self.access!r})"


NOTHING = TokenPair()
"""There is no token to go on from."""
