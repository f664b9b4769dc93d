"""One request as it goes out: what may cross, then the credential, last, over exactly the octets that are sent.

No connection and no exchange is known here: `auth-sidecar explain` shows what the same function makes of a request.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from functools import lru_cache
from typing import Protocol

from msgspec import Struct

from proxy.auth.header import checked
from proxy.auth.scheme import Scheme
from proxy.errors import CredentialRefused, CredentialUnavailable, ProxyError, RequestDenied
from proxy.forward.egress import absolute
from proxy.forward.live_route import AuthorizationAction, LiveRoute
from proxy.forward.private import authenticates
from proxy.forward.request_body import RequestBody
from proxy.forward.response_tap import readable
from proxy.forward.upgrade import asked
from proxy.http1.fields import lines_named, value_of
from proxy.http1.request import RequestFields, RequestHead
from proxy.model import Field, Moment, Request, Token
from proxy.tokens.credential import Tokens

IDEMPOTENT = frozenset({b"GET", b"HEAD", b"OPTIONS", b"PUT", b"DELETE", b"TRACE"})
"""RFC 9110 §9.2.2; an unknown method is not assumed to be."""

_IDEMPOTENCY_KEY = re.compile(rb"\r\nidempotency-key:[ \t]*+[^ \t\r]", re.IGNORECASE)
_NOTHING_HIDDEN: frozenset[bytes] = frozenset()
_HIDDEN = frozenset({b"dpop-nonce"})
"""What an answer says to us and not to the app, where the credential learns from it (RFC 9449 §8)."""


class SigningClock(Protocol):
    """What a signature asks of a clock, and of chance."""

    def wall(self) -> float:
        """Seconds since the epoch."""

    def octets(self, count: int) -> bytes:
        """That many unpredictable octets."""


class Outbound(Struct, frozen=True, gc=False):
    """One attempt, ready to be sent.

    `octets`: the head, its empty line included. `body`: the whole of it, where the credential stands within; None where
    the app's goes out as it comes. `signed`: the fields that the credential added, and `request` what they were made
    for; both are left out where the fields of the attempt before are good for any request. `hidden`: names of fields of
    the answer that the app does not get. `learned_from`: the request, where the credential wants its answer.
    `identifies`: it says to the connection who it is (`private.py`).
    """

    octets: bytes
    body: bytes | None = None
    request: Request | None = None
    signed: Sequence[Field] = ()
    hidden: frozenset[bytes] = _NOTHING_HIDDEN
    learned_from: Request | None = None
    identifies: bool = False

    def __repr__(self) -> str:
        """There is a credential in it."""
        return f"Outbound({len(self.octets)} octets)"


NOTHING_SENT = Outbound(b"")


class _Applied(Struct, frozen=True, gc=False):
    """The request that a credential stands in, its body where the credential changed that, and the fields besides."""

    request: Request
    body: bytes | None = None
    signed: Sequence[Field] = ()


_NOT_APPLIED = _Applied(Request(b"", "", b"", b""))


def upgraded(route: LiveRoute, head: RequestHead) -> tuple[LiveRoute, bytes]:
    """The route as it takes this request, and the protocols that its connection may change to."""
    upgrade = asked(head, route.upgrades)
    return (route.upgraded if upgrade and route.upgraded is not None else route), upgrade


def fate_of_authorization(route: LiveRoute, fields: RequestFields) -> AuthorizationAction:
    """What becomes of the app's own Authorization. Raises RequestDenied where the route takes none."""
    wish = route.config.on_client_authorization
    if wish == "reject" and b"authorization" in fields.found:
        raise RequestDenied("This route takes no Authorization from the app")
    return (
        AuthorizationAction.KEEP
        if wish == "keep" and route.brings_own_credential(fields)
        else AuthorizationAction.REPLACE
    )


def is_idempotent(route: LiveRoute, head: RequestHead, action: AuthorizationAction) -> bool:
    """By its method, or by a key as the upstream gets it, under which it does what was asked once."""
    if head.method in IDEMPOTENT:
        return True
    try:
        section = route.section(head.fields, action)
    except ProxyError:  # a field that we set cannot be sent any more: nor can the request
        return False
    return _IDEMPOTENCY_KEY.search(section) is not None


def tokens_of(route: LiveRoute, head: RequestHead, target: bytes, body: RequestBody | None) -> Tokens | None:
    """Where the request's token comes from, on a route with a credential. Raises CallerUnknown."""
    credential = route.credential
    if credential is None or credential.picker is None:
        return None if credential is None else credential.tokens
    return credential.picker.pick(as_request(route, head, target, body), lambda name: value_of(head.fields.lines, name))


def as_request(
    route: LiveRoute, head: RequestHead, target: bytes, body: RequestBody | None, section: bytes = b""
) -> Request:
    """The request as schemes and credentials see it. `section`: its header lines, where it is to be signed."""
    octets: bytes | None = b""
    if body is not None:
        octets = body.body() if body.complete and body.whole else None
    return Request(
        head.method, route.origin.scheme, route.authority, target, route.content_type(head.fields), octets, route.base,
        section, head.fields.section, head.target,
    )  # fmt: skip


def field_lines(fields: Iterable[Field]) -> bytes:
    """Fields as they stand in a head."""
    return b"".join([name + b": " + value + b"\r\n" for name, value in fields])


def render(
    route: LiveRoute,
    head: RequestHead,
    target: bytes,
    action: AuthorizationAction,
    token: Token | None,
    clock: SigningClock,
    upgrade: bytes = b"",
    body: RequestBody | None = None,
) -> Outbound:
    """The head of one attempt. `target`: the upstream's; `token`: None where the request goes without a credential.

    `body`: the request's, whole where it is signed. Raises CredentialRefused where a field cannot be sent.
    """
    section = route.section(head.fields, action)
    credential = b""
    applied = _NOT_APPLIED
    if token is not None:
        if token is route.signed_token:
            credential = route.credential_octets
        elif route.scheme is not None:
            _check_destination(route, token)
            asked = as_request(route, head, target, body, section)
            applied = _apply(route.scheme, asked, token, Moment(clock.wall(), clock.octets))
            target, section = applied.request.target, applied.request.section
            credential = _remembered(route, token, applied.signed)
            if token.fields:
                section = without_copies(section, token.fields)
    learned_from: Request | None = None
    if route.observer is not None:
        asking = as_request(route, head, target, body)
        if route.observer.wants_answer(asking):
            learned_from = asking
            section = readable(section)
    if route.forwards is not None:
        target = absolute(route.authority, target)
        section += route.forwards.authorization()
    if upgrade:
        credential = b"Connection: Upgrade\r\nUpgrade: %b\r\n%b" % (upgrade, credential)
    octets = b"%b %b HTTP/1.1%b%b\r\n" % (head.method, target, section, credential)
    hidden = _HIDDEN if route.learns and token is not None else _NOTHING_HIDDEN
    request = applied.request if applied is not _NOT_APPLIED else None
    identifies = (
        route.identifies or (route.passes_authorization and b"authorization" in head.fields.found)
    ) and authenticates(octets)
    return Outbound(octets, applied.body, request, applied.signed, hidden, learned_from, identifies)


def _check_destination(route: LiveRoute, token: Token) -> None:
    """A renewed token may name another upstream than the one that this request was on its way to.

    Raises CredentialUnavailable: the next request takes the new way.
    """
    if route.by_token is not None:
        led = route.by_token.of(token)
        if (led.pool, led.base) != (route.pool, route.base):
            raise CredentialUnavailable("The token names another upstream by now", retry_after=1.0)


def _apply(scheme: Scheme, asked: Request, token: Token, moment: Moment) -> _Applied:
    """The credential in its place, and over what goes out then."""
    request = scheme.place(asked, token, moment) if scheme.places else asked
    body = request.body if request.body is not asked.body else None
    return _Applied(request, body, scheme.sign(request, token, moment))


def _kept(names: Sequence[tuple[bytes, str]], token: Token) -> list[Field]:
    """The fields that hold what the token's answer said besides. Raises CredentialRefused for what it did not say."""
    said = dict(token.kept) if names else {}
    if missing := [name for _, name in names if name not in said]:
        raise CredentialRefused(f"The token's answer did not say what {missing[0]} is")
    return [checked((field, said[name].encode())) for field, name in names]


def without_copies(section: bytes, fields: Sequence[Field]) -> bytes:
    """The section without the app's copies of ready-made fields (`Token.fields`)."""
    return _copies_of(frozenset(name.lower() for name, _ in fields)).sub(b"", section)


@lru_cache(maxsize=64)
def _copies_of(names: frozenset[bytes]) -> re.Pattern[bytes]:
    return lines_named(names, aliases=True)


def _remembered(route: LiveRoute, token: Token, signed: Sequence[Field]) -> bytes:
    """The credential's field lines, kept where the same token's are the same for every request."""
    credential = field_lines([*_kept(route.kept_fields, token), *signed])
    if not route.identifies:
        route.identifies = authenticates(b"\r\n" + credential)
    scheme = route.scheme
    if scheme is not None and scheme.constant and not (scheme.places or token.fields):
        route.signed_token, route.credential_octets = token, credential
    return credential
