"""The echo API: answers with the request as received; under `/api` only if its token is valid.

`/api/…`, `/open/…`   JSON: method, target, header fields as received, the body's length and SHA-256
`…/events`            Server-Sent Events: `?count=` of them, `?interval=` seconds apart
`…/socket`            a WebSocket that echoes its messages
"""

from __future__ import annotations

import hashlib
import logging
import weakref
from typing import Any

from aiohttp import WSMsgType, web

from proxy.sandbox.proofs import ALGORITHMS, ProofRefused
from proxy.sandbox.scripted_faults import enact
from proxy.sandbox.state import SandboxState

_LOG = logging.getLogger("auth_sidecar.sandbox")
_MOST_EVENTS = 10_000


class EchoApi:
    """The handlers of the echo API."""

    def __init__(self, state: SandboxState) -> None:
        self._state = state
        self.open_sockets: weakref.WeakSet[web.WebSocketResponse] = weakref.WeakSet()

    async def guarded(self, request: web.Request) -> web.StreamResponse:
        """Anything under `/api`: 401 unless the token is valid (RFC 6750 §3, RFC 9449 §7)."""
        state = self._state
        with state.counters.api_requests.one():
            fault = state.script.api_fault()
            scripted = await enact(fault, request, state.clock) if fault else None
            if scripted is not None:
                return scripted
            challenge = self._challenge(request)
            if challenge is not None:
                state.counters.api_unauthorized += 1
                _LOG.info("API request refused: %s", challenge)
                refusal = web.json_response({"error": "unauthorized"}, status=401)
                refusal.headers["WWW-Authenticate"] = challenge
                return _with(refusal, self._nonce_to_hand_out())
            state.counters.api_accepted += 1
            return await self._serve(request, self._nonce_to_hand_out())

    async def open(self, request: web.Request) -> web.StreamResponse:
        """Anything under `/open`: no token is needed."""
        with self._state.counters.api_requests.one():
            fault = self._state.script.api_fault()
            scripted = await enact(fault, request, self._state.clock) if fault else None
            return scripted if scripted is not None else await self._serve(request, None)

    # ---- who may ----

    def _challenge(self, request: web.Request) -> str | None:
        """None for a valid token, else the value of WWW-Authenticate."""
        fields = request.headers.getall("Authorization", [])
        if not fields:
            return f'Bearer realm="sandbox", DPoP algs="{" ".join(ALGORITHMS)}"'
        scheme, _, value = fields[0].partition(" ")
        scheme = scheme.lower()
        if len(fields) > 1 or scheme not in ("bearer", "dpop"):
            return 'Bearer realm="sandbox", error="invalid_request"'
        token = self._state.ledger.access(value.strip())
        if token is None or (token.jkt is not None) != (scheme == "dpop"):
            name = "DPoP" if scheme == "dpop" else "Bearer"
            return f'{name} realm="sandbox", error="invalid_token"'
        if token.jkt is None:
            return None
        return self._proof_challenge(request, token.value, token.jkt)

    def _proof_challenge(self, request: web.Request, token: str, jkt: str) -> str | None:
        state = self._state
        settings = state.script.settings
        proofs = request.headers.getall("DPoP", [])
        if len(proofs) != 1:
            return 'DPoP error="invalid_dpop_proof", error_description="exactly one proof is wanted"'
        try:
            thumbprint = state.api_proofs.check(
                proofs[0],
                method=request.method,
                url=f"{request.scheme}://{request.host}{request.raw_path.partition('?')[0]}",
                nonce_window=None if settings.dpop_nonces == "off" else settings.dpop_nonce_window,
                access_token=token,
            )
        except ProofRefused as refused:
            if refused.error == "use_dpop_nonce":
                state.counters.nonce_challenges += 1
            return f'DPoP error="{refused.error}", error_description="{refused}"'
        return None if thumbprint == jkt else 'DPoP error="invalid_token", error_description="bound to another key"'

    def _nonce_to_hand_out(self) -> str | None:
        wanted = self._state.script.settings.dpop_nonces
        nonces = self._state.api_proofs.nonces
        if wanted == "off":
            return None
        return nonces.renew() if wanted == "every_request" else nonces.newest()

    # ---- what it says ----

    async def _serve(self, request: web.Request, nonce: str | None) -> web.StreamResponse:
        last = request.raw_path.partition("?")[0].rpartition("/")[2]
        if last == "events":
            return await self._events(request, nonce)
        if last == "socket" and request.headers.get("Upgrade", "").lower() == "websocket":
            return await self._socket(request)
        return _with(web.json_response(await _echo(request)), nonce)

    async def _events(self, request: web.Request, nonce: str | None) -> web.StreamResponse:
        try:
            count = min(int(request.query.get("count", "3")), _MOST_EVENTS)
            interval = float(request.query.get("interval", "0"))
        except ValueError:
            return web.json_response({"error": "count and interval are numbers"}, status=400)
        answer = web.StreamResponse(headers={"Content-Type": "text/event-stream", "Cache-Control": "no-store"})
        _with(answer, nonce)
        await answer.prepare(request)
        for number in range(1, count + 1):
            if number > 1:
                await self._state.clock.sleep(interval)
            await answer.write(b"id: %d\ndata: event %d\n\n" % (number, number))
        await answer.write_eof()
        return answer

    async def _socket(self, request: web.Request) -> web.StreamResponse:
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        self.open_sockets.add(socket)
        async for message in socket:
            if message.type is WSMsgType.TEXT:
                await socket.send_str(message.data)
            elif message.type is WSMsgType.BINARY:
                await socket.send_bytes(message.data)
        return socket


async def _echo(request: web.Request) -> dict[str, Any]:
    digest, length = hashlib.sha256(), 0
    async for piece in request.content.iter_any():
        digest.update(piece)
        length += len(piece)
    return {
        "method": request.method,
        "target": request.raw_path,
        "version": f"{request.version.major}.{request.version.minor}",
        "headers": [[name.decode("latin-1"), value.decode("latin-1")] for name, value in request.raw_headers],
        "body_length": length,
        "body_sha256": digest.hexdigest(),
    }


def _with(answer: web.StreamResponse, nonce: str | None) -> web.StreamResponse:
    if nonce is not None:
        answer.headers["DPoP-Nonce"] = nonce
    return answer
