"""An API that trusts oidc-provider: it asks by introspection, and verifies DPoP proofs with joserfc.

    async with ResourceServer(provider, dpop=True) as api:
        …                                         # api.url
        assert api.statuses == [200, 200]

With `dpop` a nonce is wanted, and each answer brings a new one: only the newest is good.
"""

from __future__ import annotations

import base64
import hashlib
import os
from types import TracebackType
from typing import Self

from aiohttp import web
from joserfc.errors import JoseError

from support.dpop import verified
from support.oidc_provider.provider import OidcProvider


class Refused(Exception):
    """`str()` is the error code."""


class ResourceServer:
    """Answers JSON about each request that it accepts; `statuses`, `tokens`, `challenges` remember all of them."""

    def __init__(self, provider: OidcProvider, *, dpop: bool = False) -> None:
        self.url = ""
        self.statuses: list[int] = []
        self.tokens: list[str] = []
        self.challenges: list[str] = []
        self._provider = provider
        self._dpop = dpop
        self._nonce = self._new_nonce()
        self._jtis: set[str] = set()
        self._runner: web.AppRunner | None = None

    async def __aenter__(self) -> Self:
        app = web.Application(client_max_size=64 * 1024 * 1024)
        app.add_routes([web.route("*", "/{rest:.*}", self._answer)])
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=1)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0).start()
        self.url = f"http://127.0.0.1:{self._runner.addresses[0][1]}"
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._runner is not None
        await self._runner.cleanup()

    async def _answer(self, request: web.Request) -> web.Response:
        body = await request.read()
        try:
            token = await self._authorize(request)
        except Refused as refused:
            self.statuses.append(401)
            self.challenges.append(str(refused))
            scheme = "DPoP" if self._dpop else "Bearer"
            answer = web.json_response({"error": str(refused)}, status=401)
            answer.headers["WWW-Authenticate"] = f'{scheme} error="{refused}"'
        else:
            self.statuses.append(200)
            self.tokens.append(token)
            answer = web.json_response(
                {"method": request.method, "target": request.raw_path, "sha256": hashlib.sha256(body).hexdigest()}
            )
        if self._dpop:
            answer.headers["DPoP-Nonce"] = self._nonce = self._new_nonce()
        return answer

    async def _authorize(self, request: web.Request) -> str:
        """The token of an acceptable request. Raises Refused."""
        scheme, _, token = request.headers.get("Authorization", "").partition(" ")
        if scheme != ("DPoP" if self._dpop else "Bearer"):
            raise Refused("invalid_request")
        known = await self._provider.introspect(token)
        if not known["active"] or known["token_type"] != scheme:
            raise Refused("invalid_token")
        if self._dpop and self._prove(request, token) != known["cnf"]["jkt"]:
            raise Refused("invalid_token")
        return token

    def _prove(self, request: web.Request, token: str) -> str:
        """RFC 9449 §4.3: the thumbprint of the key that signed a proof for exactly this request."""
        proofs = request.headers.getall("DPoP", [])
        if len(proofs) != 1:
            raise Refused("invalid_dpop_proof")
        try:
            claims = verified(proofs[0])
        except (JoseError, KeyError, ValueError, AssertionError):
            raise Refused("invalid_dpop_proof") from None
        ath = base64.urlsafe_b64encode(hashlib.sha256(token.encode()).digest()).rstrip(b"=").decode()
        if (claims.get("htm"), claims.get("htu"), claims.get("ath")) != (
            request.method,
            self.url + request.raw_path.partition("?")[0],
            ath,
        ):
            raise Refused("invalid_dpop_proof")
        if claims.get("nonce") != self._nonce:
            raise Refused("use_dpop_nonce")
        if claims["jti"] in self._jtis:
            raise Refused("invalid_dpop_proof")
        self._jtis.add(claims["jti"])
        return str(claims["jkt"])

    @staticmethod
    def _new_nonce() -> str:
        return os.urandom(12).hex()
