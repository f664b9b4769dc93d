"""One request as it goes out: what may cross, then the credential, last, over exactly the octets that are sent.

No connection and no exchange is known here: `auth-sidecar explain` shows what the same function makes of a request.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Protocol

from msgspec import Struct

from proxy.errors import RequestDenied
from proxy.forward.egress import absolute
from proxy.forward.lane import Fate, Lane, without_copies
from proxy.forward.lesson import readable
from proxy.forward.private import authenticates
from proxy.forward.upgrade import asked
from proxy.forward.upload import Upload
from proxy.http1.request import RequestFields, RequestHead
from proxy.model import Field, Moment, Request, Token

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

    `octets`: the head, its empty line included. `signed`: the fields that the credential added, and `request` what they
    were made for; both are left out where the fields of the attempt before are good for any request. `hidden`: names of
    fields of the answer that the app does not get. `learned_from`: the request, where the credential wants its answer.
    """

    octets: bytes
    request: Request | None = None
    signed: Sequence[Field] = ()
    hidden: frozenset[bytes] = _NOTHING_HIDDEN
    learned_from: Request | None = None


NOTHING_SENT = Outbound(b"")


def upgraded(lane: Lane, head: RequestHead) -> tuple[Lane, bytes]:
    """The route as it takes this request, and the protocols that its connection may change to."""
    upgrade = asked(head, lane.upgrades)
    return (lane.upgraded if upgrade and lane.upgraded is not None else lane), upgrade


def fate_of_authorization(lane: Lane, fields: RequestFields) -> Fate:
    """What becomes of the app's own Authorization. Raises RequestDenied where the route takes none."""
    wish = lane.route.on_client_authorization
    if wish == "reject" and b"authorization" in fields.found:
        raise RequestDenied("This route takes no Authorization from the app")
    return Fate.KEPT if wish == "keep" and lane.brings_own_credential(fields) else Fate.REPLACED


def as_request(lane: Lane, head: RequestHead, target: bytes, upload: Upload | None) -> Request:
    """The request as schemes and credentials see it."""
    body: bytes | None = b""
    if upload is not None:
        body = upload.body() if upload.complete and upload.whole else None
    return Request(
        head.method, lane.origin.scheme, lane.authority, target, lane.content_type(head.fields), body, lane.base
    )


def field_lines(fields: Iterable[Field]) -> bytes:
    """Fields as they stand in a head."""
    return b"".join([name + b": " + value + b"\r\n" for name, value in fields])


def render(
    lane: Lane,
    head: RequestHead,
    target: bytes,
    fate: Fate,
    token: Token | None,
    clock: SigningClock,
    upgrade: bytes = b"",
    upload: Upload | None = None,
) -> Outbound:
    """The head of one attempt. `target`: the upstream's; `token`: None where the request goes without a credential.

    `upload`: the body, which is whole where it is signed. Raises CredentialRefused where a field cannot be sent.
    """
    section = lane.section(head.fields, fate)
    credential = b""
    request: Request | None = None
    signed: Sequence[Field] = ()
    if token is not None:
        if token is lane.signed_token:
            credential = lane.credential_octets
        elif lane.scheme is not None:
            target = lane.scheme.place(target, token)
            request = as_request(lane, head, target, upload)
            signed = lane.scheme.sign(request, token, Moment(clock.wall(), clock.octets))
            credential = _remembered(lane, token, signed)
            if token.fields:
                section = without_copies(section, token.fields)
    learned_from: Request | None = None
    if lane.learner is not None:
        asking = as_request(lane, head, target, upload)
        if lane.learner.wants_answer(asking):
            learned_from = asking
            section = readable(section)
    if lane.forwards is not None:
        target = absolute(lane.authority, target)
        section += lane.forwards.authorization()
    if upgrade:
        credential = b"Connection: Upgrade\r\nUpgrade: %b\r\n%b" % (upgrade, credential)
    octets = b"%b %b HTTP/1.1%b%b\r\n" % (head.method, target, section, credential)
    hidden = _HIDDEN if lane.learns and token is not None else _NOTHING_HIDDEN
    return Outbound(octets, request, signed, hidden, learned_from)


def _remembered(lane: Lane, token: Token, signed: Sequence[Field]) -> bytes:
    """The credential's field lines, kept where the same token's are the same for every request."""
    credential = field_lines(signed)
    if not lane.identifies:
        lane.identifies = authenticates(b"\r\n" + credential)
    scheme = lane.scheme
    if scheme is not None and scheme.constant and scheme.parameter is None and not token.fields:
        lane.signed_token, lane.credential_octets = token, credential
    return credential
