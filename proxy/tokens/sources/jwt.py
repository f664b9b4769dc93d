"""Tokens that we sign ourselves (RFC 7519): a GitHub App's, an API's that trusts our key.

`iat`, `exp` and `jti` are set here. `iat` lies a little in the past, or a server whose clock is behind ours would
refuse a token from the future; `exp` counts from there, so that no server sees a longer life than was configured. A
server whose clock is far from ours is followed, once one of its refusals has told what time it thinks it is.
"""

from __future__ import annotations

import base64
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from proxy.auth.skew import ServerTime
from proxy.clock import Clock
from proxy.model import Token
from proxy.tokens import client_auth
from proxy.tokens.lifetime import Asked, Life, dated
from proxy.tokens.template import fill
from proxy.tokens.token_response import TokenPair, TokenResponse

_BACKDATED = 10.0
_BACKDATED_SHARE = 0.1
_JTI_OCTETS = 18


class JwtSource:
    """Signs each token anew, with the key as it is then."""

    def __init__(
        self,
        key: Callable[[], Awaitable[str]],
        clock: Clock,
        *,
        alg: str = "RS256",
        kid: str | None = None,
        claims: Mapping[str, Any] | None = None,
        lifetime: float = 540.0,
        per: str | None = None,
        time: ServerTime | None = None,
    ) -> None:
        """`key` gives a private key in PEM or, for HS…, a secret; `lifetime` in seconds; `per` is for the claims.

        `time`: that of the server which judges these tokens, as far as it is known.
        """
        self.time = time or ServerTime()
        self._key = key
        self._clock = clock
        self._alg = alg
        self._kid = kid
        self._claims = fill(dict(claims or {}), {"per": per} if per is not None else {})
        self._lifetime = lifetime

    async def fetch(self, previous: TokenPair) -> TokenResponse:  # noqa: ARG002 - each token stands for itself
        """Sign a token. Raises CredentialRefused where the key does not go with the algorithm; what `key` raises."""
        key = await self._key()
        asked = Asked(self._clock.wall(), self._clock.elapsed())
        issued = int(self.time.stamp(asked.wall) - min(_BACKDATED, _BACKDATED_SHARE * self._lifetime))
        expires = issued + int(self._lifetime)
        ends = expires - self.time.offset  # on our clock
        jti = base64.urlsafe_b64encode(self._clock.octets(_JTI_OCTETS)).decode()
        claims = self._claims | {"iat": issued, "exp": expires, "jti": jti}
        token = Token(access_token=client_auth.sign(claims, key, self._alg, self._kid))
        return TokenResponse(dated(token, asked, Life(ends - asked.wall, stated=True)))
