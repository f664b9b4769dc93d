"""A double of the Bot Framework's Direct Line 3.0 service, as its reference documents it: real sockets, no network.

Rules kept (Microsoft's REST reference, "Authentication", "Start a conversation", "Reconnect", "Receive activities"):
a token opens one conversation and expires; only an unexpired token can be refreshed, any number of times; the secret
opens every conversation and never expires; an expired token is 403 `TokenExpired`, an unknown one 403 `BadArgument`,
none at all 401; with enhanced authentication the secret cannot reconnect (400 `MissingProperty`); a stream URL carries
its own token.
"""

from __future__ import annotations

import asyncio
import itertools
import secrets
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import jwt
from aiohttp import WSMsgType, web

BASE = "/v3/directline"
_SIGNING_KEY = secrets.token_bytes(32)
_BY: web.RequestKey[Any] = web.RequestKey("by", object)
"""Who asks: "secret", or the claims of a token."""


@dataclass
class Conversation:
    """One conversation; `started` once somebody posted to /conversations with its token or made it with the secret."""

    id: str
    user: str | None = None
    started: bool = False
    activities: list[dict[str, Any]] = field(default_factory=list)
    streams: set[asyncio.Queue[int]] = field(default_factory=set)
    revoked_before: int = 0
    """Tokens numbered below this one count as expired."""


@dataclass(frozen=True)
class Call:
    """One request that arrived. `by`: "secret", "nothing", "unknown", or the id of the token's conversation."""

    method: str
    path: str
    by: str
    token: str | None


class DirectLineService:
    """Serve it with `aiohttp_server(service.app)`; `url` then ends in /v3/directline.

    `now` gives epoch seconds (a fake clock's `wall`). `lifetime`: of tokens, seconds. `enhanced`: enhanced
    authentication. `states_lifetime`: whether GET /conversations/{id} says expires_in (the documentation's example does
    not). `outage`: answer everything with this status. `gate`: requests for tokens wait for it. `compress`: answers are
    gzipped for whoever accepts that.
    """

    def __init__(self, secret: str = "dl-secret.with-two-parts", *, now: Callable[[], float] = time.time) -> None:
        self.secret = secret
        self.now = now
        self.lifetime = 1800.0
        self.enhanced = False
        self.states_lifetime = True
        self.outage: int | None = None
        self.compress = False
        self.gate = asyncio.Event()
        self.gate.set()
        self.url = ""
        self.calls: list[Call] = []
        self.conversations: dict[str, Conversation] = {}
        self._numbers = itertools.count(1)
        self.app = web.Application(middlewares=[self._front])
        self.app.router.add_post(f"{BASE}/tokens/generate", self._generate)
        self.app.router.add_post(f"{BASE}/tokens/refresh", self._refresh)
        self.app.router.add_post(f"{BASE}/conversations", self._start)
        self.app.router.add_get(BASE + "/conversations/{id}", self._reconnect)
        self.app.router.add_get(BASE + "/conversations/{id}/activities", self._activities)
        self.app.router.add_post(BASE + "/conversations/{id}/activities", self._post)
        self.app.router.add_post(BASE + "/conversations/{id}/upload", self._post)
        self.app.router.add_get(BASE + "/conversations/{id}/stream", self._stream)

    # ---- what a test asks or does ----------------------------------------------------------------------------------

    def token(self, conversation: str, *, lifetime: float | None = None) -> str:
        """A token of the service's own making, as if handed out elsewhere."""
        now = self.now()
        claims = {
            "bot": "echo",
            "site": "s1",
            "conv": conversation,
            "nbf": int(now),
            "exp": now + (self.lifetime if lifetime is None else lifetime),
            "iss": "https://directline.botframework.com/",
            "aud": "https://directline.botframework.com/",
            "number": next(self._numbers),
        }
        return jwt.encode(claims, _SIGNING_KEY, algorithm="HS256")

    def expire(self, conversation: str) -> None:
        """Every token handed out so far for this conversation counts as expired, whatever the clock says."""
        self.conversations[conversation].revoked_before = next(self._numbers)

    def count(self) -> Counter[str]:
        """How often each "METHOD /path" below the base was called."""
        return Counter(f"{call.method} {call.path}" for call in self.calls)

    # ---- who is asking ---------------------------------------------------------------------------------------------

    @web.middleware
    async def _front(self, request: web.Request, handler: Any) -> web.StreamResponse:
        words = request.headers.get("Authorization", "").split()
        bearer = words[1] if len(words) == 2 and words[0].lower() == "bearer" else None
        if request.path.endswith("/stream"):
            bearer = request.query.get("t")
        path = request.path.removeprefix(BASE)
        self.calls.append(Call(request.method, path, self._name(bearer), bearer))
        if path.startswith("/tokens/") or request.method == "GET":
            await self.gate.wait()
        if self.outage is not None:
            return _refusal(self.outage, "ServiceError", "try later")
        if bearer is None:
            return _refusal(401, "BadArgument", "Missing token or secret")
        by: Any = "secret" if bearer == self.secret else self._claims(bearer)
        request[_BY] = by
        if by is None:
            return _refusal(403, "BadArgument", "Invalid token or secret")
        if by != "secret":
            known = self.conversations.get(by["conv"])
            if by["exp"] <= self.now() or (known is not None and by["number"] < known.revoked_before):
                return _refusal(403, "TokenExpired", "Token has expired")
        response: web.StreamResponse = await handler(request)
        if self.compress and not response.prepared:
            response.enable_compression()
        return response

    def _name(self, bearer: str | None) -> str:
        if bearer is None:
            return "nothing"
        claims = self._claims(bearer)
        return "secret" if bearer == self.secret else claims["conv"] if claims else "unknown"

    @staticmethod
    def _claims(bearer: str) -> dict[str, Any] | None:
        try:
            return jwt.decode(
                bearer,
                _SIGNING_KEY,
                algorithms=["HS256"],
                options={"verify_signature": True, "verify_exp": False, "verify_nbf": False, "verify_aud": False},
            )
        except jwt.InvalidTokenError:
            return None

    def _opened(self, request: web.Request) -> Conversation | web.Response:
        """The conversation of the path, if the caller may open it."""
        by = request[_BY]
        if by != "secret" and by["conv"] != request.match_info["id"]:
            return _refusal(403, "BadArgument", "Token is not valid for this conversation")
        known = self.conversations.get(request.match_info["id"])
        if known is None or not known.started:
            return _refusal(404, "BadArgument", "Conversation not found")
        return known

    # ---- the operations --------------------------------------------------------------------------------------------

    async def _generate(self, request: web.Request) -> web.Response:
        if request[_BY] != "secret":
            return _refusal(403, "BadArgument", "Invalid token or secret")
        body = await request.json() if request.can_read_body else {}
        made = self._new(((body or {}).get("user") or {}).get("id"))
        return web.json_response(self._described(made))

    async def _refresh(self, request: web.Request) -> web.Response:
        if request[_BY] == "secret":
            return _refusal(403, "BadArgument", "Invalid token or secret")
        return web.json_response(self._described(self.conversations[request[_BY]["conv"]]))

    async def _start(self, request: web.Request) -> web.Response:
        made = self._new() if request[_BY] == "secret" else self.conversations[request[_BY]["conv"]]
        status = 200 if made.started else 201
        made.started = True
        return web.json_response(self._described(made, stream=True) | {"referenceGrammarId": "g-1"}, status=status)

    async def _reconnect(self, request: web.Request) -> web.Response:
        found = self._opened(request)
        if isinstance(found, web.Response):
            return found
        if request[_BY] == "secret" and self.enhanced:
            return _refusal(400, "MissingProperty", "The token does not specify a user ID")
        described = self._described(found, stream=True)
        if not self.states_lifetime:
            del described["expires_in"]
        return web.json_response(described)

    async def _activities(self, request: web.Request) -> web.Response:
        found = self._opened(request)
        if isinstance(found, web.Response):
            return found
        seen = int(request.query.get("watermark") or 0)
        return web.json_response({"activities": found.activities[seen:], "watermark": str(len(found.activities))})

    async def _post(self, request: web.Request) -> web.Response:
        found = self._opened(request)
        if isinstance(found, web.Response):
            return found
        said = await request.json() if request.content_type == "application/json" else {"type": "message"}
        answer = {"type": "message", "from": {"id": "bot"}, "text": f"echo: {said.get('text')}"}
        for activity in (said, answer):
            number = len(found.activities)
            found.activities.append(activity | {"id": f"{found.id}|{number:07}", "conversation": {"id": found.id}})
            for queue in found.streams:
                queue.put_nowait(number)
        return web.json_response({"id": found.activities[-2]["id"]})

    async def _stream(self, request: web.Request) -> web.StreamResponse:
        found = self._opened(request)
        if isinstance(found, web.Response):
            return found
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        queue: asyncio.Queue[int] = asyncio.Queue()
        for number in range(int(request.query.get("watermark") or len(found.activities)), len(found.activities)):
            queue.put_nowait(number)
        found.streams.add(queue)
        sender = asyncio.create_task(self._send(socket, queue, found))
        try:
            async for message in socket:  # empty messages are the client's way of looking whether we are there
                if message.type is WSMsgType.ERROR:
                    break
        finally:
            found.streams.discard(queue)
            sender.cancel()
        return socket

    @staticmethod
    async def _send(socket: web.WebSocketResponse, queue: asyncio.Queue[int], found: Conversation) -> None:
        while True:
            number = await queue.get()
            await socket.send_json({"activities": [found.activities[number]], "watermark": str(number + 1)})

    def _new(self, user: str | None = None) -> Conversation:
        made = Conversation(f"{secrets.token_urlsafe(9)}-us", user)
        self.conversations[made.id] = made
        return made

    def _described(self, conversation: Conversation, *, stream: bool = False) -> dict[str, Any]:
        token = self.token(conversation.id)
        described: dict[str, Any] = {
            "conversationId": conversation.id,
            "token": token,
            "expires_in": int(self.lifetime),
        }
        if stream:
            base = self.url.replace("http", "ws", 1)
            described["streamUrl"] = f"{base}/conversations/{conversation.id}/stream?t={token}"
        return described


def _refusal(status: int, code: str, message: str) -> web.Response:
    return web.json_response({"error": {"code": code, "message": message}}, status=status)
