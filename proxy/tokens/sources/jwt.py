"""Tokens that we sign ourselves (RFC 7519): a GitHub App's, an API's that trusts our key.

`iat`, `exp` and `jti` are set here. `iat` lies a little in the past, or a server whose clock is behind ours would
refuse a token from the future; `exp` counts from there, so that no server sees a longer life than was configured. A
server whose clock is far from ours is followed, once one of its refusals has told what time it thinks it is.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping
from typing import Any

from proxy.auth.skew import ServerTime
from proxy.clock import Clock
from proxy.config.schema import Secret
from proxy.model import Token
from proxy.tokens import client_auth
from proxy.tokens.client_auth import SigningKey
from proxy.tokens.lifetime import Asked, Life, dated
from proxy.tokens.parts import Parts, Read, unfilled
from proxy.tokens.template import MissingPartError, fill
from proxy.tokens.token_response import TokenPair, TokenResponse

_BACKDATED = 10.0
_BACKDATED_SHARE = 0.1
_JTI_OCTETS = 18


class JwtSource:
    """Signs each token anew, with the key as it is then."""

    def __init__(
        self,
        key: Read,
        clock: Clock,
        *,
        alg: str = "RS256",
        kid: str | None = None,
        password: Read | None = None,
        encoding: str | None = None,
        claims: Mapping[str, Any] | None = None,
        headers: Mapping[str, Any] | None = None,
        references: Mapping[Secret, Read] | None = None,
        lifetime: float = 540.0,
        per: str | None = None,
        time: ServerTime | None = None,
    ) -> None:
        """`key` gives a private key or, for HS…, a secret; `password` and `encoding` say how to read it.

        `references`: how to read the secrets in `claims` and `headers`. `lifetime` in seconds; `per` is for the claims.
        `time`: that of the server which judges these tokens, as far as it is known.
        """
        self.time = time or ServerTime()
        self._key = key
        self._clock = clock
        self._alg = alg
        self._kid = kid
        self._password = password
        self._encoding = encoding
        self._templates = (dict(claims or {}), dict(headers or {}))
        self._parts = Parts(clock, references=references, per=per)
        self._lifetime = lifetime

    async def fetch(self, previous: TokenPair) -> TokenResponse:  # noqa: ARG002 - each token stands for itself
        """Sign a token. Raises CredentialRefused where the key does not go with the algorithm; what `key` raises."""
        templates = await self._parts.resolved(self._templates)
        try:
            claims, headers = fill(templates, await self._parts.of(templates))
        except MissingPartError as error:
            raise unfilled(error) from None
        key = SigningKey(
            await self._key(),
            self._alg,
            password=await self._password() if self._password is not None else None,
            encoding=self._encoding,
            key_id=self._kid,
            headers=headers,
        )
        asked = Asked(self._clock.wall(), self._clock.elapsed())
        issued = int(self.time.stamp(asked.wall) - min(_BACKDATED, _BACKDATED_SHARE * self._lifetime))
        expires = issued + int(self._lifetime)
        ends = expires - self.time.offset  # on our clock
        jti = base64.urlsafe_b64encode(self._clock.octets(_JTI_OCTETS)).decode()
        claims |= {"iat": issued, "exp": expires, "jti": jti}
        token = Token(access_token=client_auth.sign(claims, key))
        return TokenResponse(dated(token, asked, Life(ends - asked.wall, stated=True)))
