"""The endpoints under `/control`: settings, faults, clients, counters, as JSON. Unknown members are refused.

Only `application/json` is read: browsers do not send it cross-site without a preflight.
"""

from __future__ import annotations

from typing import Any

import msgspec
from aiohttp import web

from proxy.sandbox.clients import Client
from proxy.sandbox.counters import Counters
from proxy.sandbox.ledger import Family
from proxy.sandbox.state import SandboxState


class MintedGrant(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The body of `POST /control/refresh-token`: the owner and the scope of the new grant.

    `refresh_token`: its value, if a test has to know it beforehand. `jkt`: the DPoP key that it is bound to.
    """

    client_id: str = "sandbox"
    subject: str = "sandbox-user"
    scope: str = ""
    refresh_token: str | None = None
    jkt: str | None = None

    def __repr__(self) -> str:
        """Without the token."""
        return f"MintedGrant({self.client_id!r})"


class Control:
    """The handlers under `/control`."""

    def __init__(self, state: SandboxState) -> None:
        self._state = state

    async def show(self, _request: web.Request) -> web.StreamResponse:
        """`GET /control`: the settings in force."""
        return self._settings_answer()

    async def change(self, request: web.Request) -> web.StreamResponse:
        """`POST /control`: members of Settings to set; `revoke`: access_tokens or everything; `reset`: true."""
        members = await _document(request)
        reset, revoke = members.pop("reset", False), members.pop("revoke", None)
        if revoke not in (None, "access_tokens", "everything") or reset not in (True, False):
            raise _bad("`revoke` is access_tokens or everything; `reset` is true or false")
        if reset:
            self._state.script.reset()
        try:
            self._state.script.change(**members)
        except msgspec.ValidationError as error:
            raise _bad(str(error)) from None
        if revoke == "access_tokens":
            self._state.ledger.revoke_access_tokens()
        elif revoke == "everything":
            self._state.ledger.revoke_everything()
        return self._settings_answer()

    async def stats(self, _request: web.Request) -> web.StreamResponse:
        """`GET /control/stats`: the counters."""
        return web.json_response(msgspec.to_builtins(self._state.counters))

    async def forget_stats(self, _request: web.Request) -> web.StreamResponse:
        """`DELETE /control/stats`: set the counters to zero."""
        self._state.counters = Counters()
        return web.json_response(msgspec.to_builtins(self._state.counters))

    async def register(self, request: web.Request) -> web.StreamResponse:
        """`POST /control/clients`: a client in the words of RFC 7591; one with the same identifier is replaced."""
        try:
            client = msgspec.convert(await _document(request), Client)
        except msgspec.ValidationError as error:
            raise _bad(str(error)) from None
        self._state.clients.register(client)
        return web.json_response({"clients": self._state.clients.names()}, status=201)

    async def mint(self, request: web.Request) -> web.StreamResponse:
        """`POST /control/refresh-token`: a refresh token without a browser."""
        try:
            wanted = msgspec.convert(await _document(request), MintedGrant)
        except msgspec.ValidationError as error:
            raise _bad(str(error)) from None
        family = Family(wanted.client_id, wanted.subject, wanted.scope, jkt=wanted.jkt)
        return web.json_response(
            {"refresh_token": self._state.ledger.mint_refresh(family, wanted.refresh_token)}, status=201
        )

    def _settings_answer(self) -> web.Response:
        return web.json_response(msgspec.to_builtins(self._state.script.settings))


async def _document(request: web.Request) -> dict[str, Any]:
    if request.content_type != "application/json":
        raise _bad("send application/json")
    try:
        document = msgspec.json.decode(await request.read() or b"{}")
    except msgspec.DecodeError as error:
        raise _bad(str(error)) from None
    if not isinstance(document, dict):
        raise _bad("send a JSON object")
    return document


def _bad(reason: str) -> web.HTTPBadRequest:
    return web.HTTPBadRequest(text=msgspec.json.encode({"error": reason}).decode(), content_type="application/json")
