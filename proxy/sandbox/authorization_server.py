"""The authorization server's handlers: token endpoint, metadata, keys, introspection, revocation."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from typing import Any
from urllib.parse import parse_qsl

from aiohttp import web
from jwt.algorithms import ECAlgorithm

from proxy.sandbox.clients import METHODS, Client, Credentials
from proxy.sandbox.grant_types import GRANTS, JWT_BEARER, Ask
from proxy.sandbox.proofs import ALGORITHMS, ProofRefused
from proxy.sandbox.refusal import Refusal
from proxy.sandbox.scripted_faults import enact
from proxy.sandbox.state import KEY_ID, SandboxState

_LOG = logging.getLogger("auth_sidecar.sandbox")
_UNCACHED = {"Cache-Control": "no-store"}
_MAY_REPEAT = frozenset({"resource", "audience"})


class AuthorizationServer:
    """The handlers of RFC 6749 and related RFCs. Each takes an aiohttp request and answers JSON."""

    def __init__(self, state: SandboxState) -> None:
        self._state = state

    async def token(self, request: web.Request) -> web.StreamResponse:
        """`POST /oauth2/token`."""
        with self._state.counters.token_requests.one():
            fault = self._state.script.token_fault()
            scripted = await enact(fault, request, self._state.clock) if fault else None
            if scripted is not None:
                return scripted
            try:
                answer = await self._grant(request)
            except Refusal as refusal:
                self._state.counters.refused(refusal.error)
                _LOG.info("token request refused: %s (%s)", refusal.error, refusal)
                return self._with_nonce(_refusal_answer(refusal))
            return self._with_nonce(web.json_response(answer, headers=_UNCACHED))

    async def _grant(self, request: web.Request) -> dict[str, Any]:
        state = self._state
        form, audience = await _form(request)
        grant_type = form.get("grant_type", "")
        jkt = self._proof(request)
        client = self._client(request, form)
        grant = GRANTS.get(grant_type)
        if grant is None:
            raise Refusal("unsupported_grant_type", "this grant type is not built in")
        answer = grant(state, Ask(client, form, audience, jkt))
        state.counters.granted(grant_type)
        return answer

    def _client(self, request: web.Request, form: Mapping[str, str]) -> Client:
        """The client; a JWT bearer assertion may authenticate it, too (RFC 7521 §4.1)."""
        given = Credentials(request.headers.get("Authorization"), form)
        nobody = given.authorization is None and not {"client_id", "client_assertion"}.intersection(form)
        if nobody and form.get("grant_type") == JWT_BEARER:
            return Client(client_id="")
        return self._state.clients.authenticate(given, self._audiences())

    def _proof(self, request: web.Request) -> str | None:
        """The thumbprint of the key of the request's DPoP proof, if it has one (RFC 9449 §5)."""
        state = self._state
        settings = state.script.settings
        proofs = request.headers.getall("DPoP", [])
        if not proofs:
            if settings.dpop_required:
                raise Refusal("invalid_dpop_proof", "a DPoP proof is wanted")
            return None
        if len(proofs) > 1:
            raise Refusal("invalid_dpop_proof", "more than one DPoP field")
        window = None if settings.dpop_nonces == "off" else settings.dpop_nonce_window
        try:
            return state.token_proofs.check(proofs[0], method=request.method, url=_url_of(request), nonce_window=window)
        except ProofRefused as refused:
            if refused.error == "use_dpop_nonce":
                state.counters.nonce_challenges += 1
            raise Refusal(refused.error, str(refused)) from None

    def _with_nonce(self, answer: web.Response) -> web.Response:
        """Add a nonce to the answer while nonces are required (RFC 9449 §8.2)."""
        wanted = self._state.script.settings.dpop_nonces
        nonces = self._state.token_proofs.nonces
        if wanted != "off":
            answer.headers["DPoP-Nonce"] = nonces.renew() if wanted == "every_request" else nonces.newest()
        return answer

    def _audiences(self) -> tuple[str, str]:
        return self._state.issuer, f"{self._state.issuer}/oauth2/token"

    async def introspect(self, request: web.Request) -> web.StreamResponse:
        """`POST /oauth2/introspect`, RFC 7662."""
        state = self._state
        state.counters.introspections += 1
        try:
            form, _ = await _form(request)
            state.clients.authenticate(Credentials(request.headers.get("Authorization"), form), self._audiences())
        except Refusal as refusal:
            return _refusal_answer(refusal)
        return web.json_response(self._active(form.get("token", "")), headers=_UNCACHED)

    def _active(self, value: str) -> dict[str, Any]:
        access = self._state.ledger.access(value)
        if access is None:
            refresh = self._state.ledger.refresh(value)
            return {"active": False} if refresh is None else {"active": True, "client_id": refresh.family.client_id}
        members: dict[str, Any] = {
            "active": True,
            "client_id": access.family.client_id,
            "sub": access.family.subject,
            "scope": access.family.scope,
            "token_type": "Bearer" if access.jkt is None else "DPoP",
            "iat": int(access.issued_wall),
            "exp": int(access.expires_wall),
            "iss": self._state.issuer,
        }
        if access.family.audience:
            members["aud"] = list(access.family.audience)
        if access.jkt is not None:
            members["cnf"] = {"jkt": access.jkt}
        return members

    async def revoke(self, request: web.Request) -> web.StreamResponse:
        """`POST /oauth2/revoke`, RFC 7009."""
        state = self._state
        state.counters.revocations += 1
        try:
            form, _ = await _form(request)
            given = Credentials(request.headers.get("Authorization"), form)
            client = state.clients.authenticate(given, self._audiences())
        except Refusal as refusal:
            return _refusal_answer(refusal)
        state.ledger.revoke(form.get("token", ""), client.client_id)
        return web.Response()

    async def keys(self, _request: web.Request) -> web.StreamResponse:
        """`GET /oauth2/jwks`, RFC 7517: the key that signs JWT access tokens."""
        public = ECAlgorithm.to_jwk(self._state.signing_key.public_key(), as_dict=True)
        return web.json_response({"keys": [{**public, "kid": KEY_ID, "use": "sig", "alg": "ES256"}]})

    async def metadata(self, _request: web.Request) -> web.StreamResponse:
        """The discovery documents of RFC 8414 and of OpenID Connect."""
        issuer = self._state.issuer
        return web.json_response(
            {
                "issuer": issuer,
                "token_endpoint": f"{issuer}/oauth2/token",
                "introspection_endpoint": f"{issuer}/oauth2/introspect",
                "revocation_endpoint": f"{issuer}/oauth2/revoke",
                "jwks_uri": f"{issuer}/oauth2/jwks",
                "response_types_supported": [],
                "grant_types_supported": list(GRANTS),
                "token_endpoint_auth_methods_supported": list(METHODS),
                "token_endpoint_auth_signing_alg_values_supported": ["RS256", "PS256", "ES256", "EdDSA", "HS256"],
                "dpop_signing_alg_values_supported": list(ALGORITHMS),
            }
        )


async def _form(request: web.Request) -> tuple[dict[str, str], tuple[str, ...]]:
    """The request's form, each member once (RFC 6749 §3.2), and its resources and audiences, which may repeat."""
    if request.content_type != "application/x-www-form-urlencoded":
        raise Refusal("invalid_request", "a form is wanted")
    form: dict[str, str] = {}
    several: list[str] = []
    for name, value in parse_qsl((await request.read()).decode("utf-8", "replace"), keep_blank_values=True):
        if name in _MAY_REPEAT:
            several.append(value)
        elif name in form:
            raise Refusal("invalid_request", "a member is there twice")
        form[name] = value
    return form, tuple(several)


def _url_of(request: web.Request) -> str:
    """The request's URL without its query, octet for octet as it was sent."""
    return f"{request.scheme}://{request.host}{request.raw_path.partition('?')[0]}"


def _refusal_answer(refusal: Refusal) -> web.Response:
    body = json.dumps({"error": refusal.error, "error_description": str(refusal)})
    return web.Response(
        text=body, status=refusal.status, content_type="application/json", headers=_UNCACHED | dict(refusal.headers)
    )
