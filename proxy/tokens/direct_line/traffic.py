"""What a request is about, and what an answer teaches. Pure: octets in, structs out.

Paths and answers as in Microsoft's reference of the Direct Line API 3.0.
"""

from __future__ import annotations

import enum
import zlib
from typing import Any
from urllib.parse import unquote

import msgspec
from msgspec import Struct

from proxy.errors import CredentialError
from proxy.model import Request, Token
from proxy.tokens import reply
from proxy.tokens.lifetime import Asked, jwt_claims

_LONGEST_ID = 256
_LONGEST_ANSWER = 64 * 1024
_GZIP = b"\x1f\x8b"
_GZIP_WINDOW = 31
"""zlib's name for: a gzip header, the largest window."""
_OK, _CREATED = 200, 201


class Operation(enum.Enum):
    """What a request asks the service to do."""

    GENERATE = "POST tokens/generate: a token for a new conversation"
    REFRESH = "POST tokens/refresh: the successor of the token that asks"
    START = "POST conversations: start the conversation of the token that asks, or a new one"
    RECONNECT = "GET conversations/{id}: a new token and stream for a conversation"
    STREAM = "GET conversations/{id}/stream: opened by the token in its own query"
    CONVERSE = "conversations/{id}/…: anything else within a conversation"
    OTHER = "any other path"


_TEACH = {Operation.GENERATE, Operation.REFRESH, Operation.START, Operation.RECONNECT}


class About(Struct, frozen=True):
    """A request's operation, and its conversation where the path names one."""

    operation: Operation
    conversation: str | None = None

    @property
    def teaches(self) -> bool:
        """Whether the answer may hold a token."""
        return self.operation in _TEACH


class LearnedToken(Struct, frozen=True):
    """A token, and the conversation that it opens."""

    conversation: str
    token: Token


_OTHER = About(Operation.OTHER)
_NAMED = {
    (b"POST", "tokens", "generate"): Operation.GENERATE,
    (b"POST", "tokens", "refresh"): Operation.REFRESH,
    (b"POST", "conversations"): Operation.START,
}


def about(request: Request, base: bytes) -> About:
    """Read a request. `base` is the path of the service's URL (`/v3/directline`), in lower case as its paths may be."""
    path = request.target.partition(b"?")[0]
    if not path.lower().startswith(base + b"/"):
        return _OTHER
    parts = [unquote(part.decode("latin-1")) for part in path[len(base) + 1 :].split(b"/")]
    if len(parts) > 1 and not parts[-1]:
        parts.pop()
    named = _NAMED.get((request.method, *(part.lower() for part in parts)))
    if named is not None:
        return About(named)
    if len(parts) < 2 or parts[0].lower() != "conversations" or not all(map(_is_segment, parts[1:])):  # noqa: PLR2004
        return _OTHER
    return About(_within(request.method, parts[2:]), parts[1])


def lesson(status: int, body: bytes, asked: Asked, assumed: float) -> LearnedToken | None:
    """What an answer teaches; None for nothing, and for a token that names another conversation itself.

    `assumed`: the lifetime where neither answer nor token states one, in seconds.
    """
    said = _members(body) if status in {_OK, _CREATED} else {}
    conversation = said.get("conversationId")
    if said.get("error") or not isinstance(conversation, str) or not _is_segment(conversation):
        return None
    members = {name: said.get(name) for name in ("token", "expires_in")}
    try:
        token = reply.token(members, asked, reply.Expected(assumed=assumed)).token
    except CredentialError:
        return None
    return LearnedToken(conversation, token) if claimed_by(token.access_token) in {None, conversation} else None


def claimed_by(token: str) -> str | None:
    """The conversation that a token claims to be for. Unverified: good for finding what the service told us itself."""
    conversation = jwt_claims(token).get("conv")
    return conversation if isinstance(conversation, str) and _is_segment(conversation) else None


def bearer(authorization: bytes | None) -> str | None:
    """The token that the app itself sends, whatever it is worth (RFC 6750 §2.1)."""
    scheme, _, token = (authorization or b"").strip().partition(b" ")
    token = token.strip()
    return token.decode("latin-1") if scheme.lower() == b"bearer" and token else None


def _within(method: bytes, rest: list[str]) -> Operation:
    if method == b"GET" and not rest:
        return Operation.RECONNECT
    return Operation.STREAM if [part.lower() for part in rest] == ["stream"] else Operation.CONVERSE


def _is_segment(part: str) -> bool:
    """Whether a decoded path segment is one for the service too, and of a length that we care to remember."""
    return 0 < len(part) <= _LONGEST_ID and part not in {".", ".."} and part.isprintable()


def _members(body: bytes) -> dict[str, Any]:
    """The members of a JSON object, gzipped or not; none for anything else."""
    try:
        if body.startswith(_GZIP):
            body = zlib.decompressobj(_GZIP_WINDOW).decompress(body, _LONGEST_ANSWER)
        said = msgspec.json.decode(body)
    except (ValueError, RecursionError, zlib.error):
        return {}
    return said if isinstance(said, dict) else {}
