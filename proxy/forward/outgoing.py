"""One request as it goes out: hygiene first, the credential last, over exactly the octets that are sent."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from typing import Any

from proxy.forward.app_connection import AppConnection
from proxy.forward.context import Context
from proxy.forward.egress import absolute
from proxy.forward.held import Held
from proxy.forward.lane import Fate, without_copies
from proxy.forward.lesson import Lesson, readable
from proxy.forward.private import authenticates
from proxy.forward.relink import Relink
from proxy.forward.site import Admitted
from proxy.forward.upgrade import asked
from proxy.forward.upload import Upload
from proxy.forward.upstream import Upstream
from proxy.http1.request import RequestHead
from proxy.model import Field, Moment, Request, Token
from proxy.tokens.credential import Tokens

_NOTHING_HIDDEN: frozenset[bytes] = frozenset()
_HIDDEN = frozenset({b"dpop-nonce"})
"""What an answer says to us and not to the app, where the credential learns from it (RFC 9449 §8)."""

_NEVER = float("inf")
_clock = time.monotonic


class Outgoing:
    """An app connection (`app`) and, while there is one, an upstream connection (`up`).

    `deadline_at`: when `timeouts.total` ends; `relaying`: the answer is on its way to the app; `over`: nothing more is
    to be done. `truncated`: the answer has broken off, and its end would look like that of a whole one. `held`: a
    refused answer while its credential is mended. `_resigned`, `_renewed`: favours granted;
    `_young`: the token that was refused before its predecessor was sent. `upgrade`: the protocols that the upstream is
    asked to change to.
    """

    # What most requests never change stands on the class: setting it anew for each would cost half a microsecond.
    up: Upstream | None = None
    token: Token | None = None
    _young: Token | None = None
    held: Held | None = None
    over = relaying = truncated = False
    _tokens: Tokens | None = None
    _request: Request | None = None
    _signed: Sequence[Field] = ()
    _lesson: Lesson | None = None
    _relink: Relink | None = None
    _task: asyncio.Task[Any] | None = None
    _sends = _status = _unread = 0
    _hidden = _NOTHING_HIDDEN
    _fate = Fate.REPLACED
    _resigned = _renewed = _chunks = _until_close = False
    _gathers = _withheld = _awaits_continue = _continued = False
    deadline_at = _NEVER
    upgrade = b""

    def __init__(
        self,
        app: AppConnection,
        context: Context,
        head: RequestHead,
        admitted: Admitted,
        upload: Upload | None,
        target: bytes,
    ) -> None:
        self.app = app
        self.context = context
        self.head = head
        lane = self.lane = admitted.lane
        self.host = admitted.host
        self.readers = admitted.readers
        if head.fields.upgrade is not None:
            self.upgrade = asked(head, lane.upgrades)
            if self.upgrade and lane.upgraded is not None:
                lane = self.lane = lane.upgraded
        self.upload = upload
        self._target = target
        self.started = _clock()
        total = lane.route.timeouts.total
        if total is not None:
            self.deadline_at = self.started + total

    def _octets(self) -> bytes:
        """The head as it goes out: what may cross, then the credential, last."""
        lane, head, token = self.lane, self.head, self.token
        target = self._target
        section = lane.section(head.fields, self._fate)
        credential = b""
        if token is not None:
            if token is lane.signed_token:
                credential = lane.credential_octets
            else:
                target, credential = self._sign(token)
                if token.fields:
                    section = without_copies(section, token.fields)
        if lane.learner is not None:
            request = self._as_request(target)
            self._lesson = Lesson(lane.learner, request) if lane.learner.wants_answer(request) else None
            if self._lesson is not None:
                section = readable(section)
        if lane.forwards is not None:
            target = absolute(lane.authority, target)
            section += lane.forwards.authorization()
        if self.upgrade:
            credential = b"Connection: Upgrade\r\nUpgrade: %b\r\n%b" % (self.upgrade, credential)
        return b"%b %b HTTP/1.1%b%b\r\n" % (head.method, target, section, credential)

    def _sign(self, token: Token) -> tuple[bytes, bytes]:
        """The target and the credential's field lines."""
        lane, scheme = self.lane, self.lane.scheme
        if scheme is None:
            return self._target, b""
        if scheme.learns:
            self._hidden = _HIDDEN
        target = scheme.place(self._target, token)
        self._request = self._as_request(target)
        clock = self.context.clock
        self._signed = scheme.sign(self._request, token, Moment(clock.wall(), clock.octets))
        credential = b"".join([name + b": " + value + b"\r\n" for name, value in self._signed])
        if not lane.identifies:
            lane.identifies = authenticates(b"\r\n" + credential)
        if scheme.constant and scheme.parameter is None and not token.fields:
            lane.signed_token, lane.credential_octets = token, credential
        return target, credential

    def _as_request(self, target: bytes | None = None) -> Request:
        lane, upload = self.lane, self.upload
        body: bytes | None = b""
        if upload is not None:
            body = upload.body() if upload.complete and upload.whole else None
        return Request(
            self.head.method,
            lane.origin.scheme,
            lane.authority,
            self._target if target is None else target,
            lane.content_type(self.head.fields),
            body,
            lane.base,
        )
