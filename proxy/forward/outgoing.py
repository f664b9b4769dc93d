"""What is known of one request between its two connections."""

from __future__ import annotations

import asyncio
from typing import Any

from proxy.forward.app_connection import AppConnection
from proxy.forward.context import Context
from proxy.forward.held_response import HeldResponse
from proxy.forward.live_route import AuthorizationAction
from proxy.forward.outbound import NOTHING_SENT, as_request, upgraded
from proxy.forward.request_body import RequestBody
from proxy.forward.response_rewriter import ResponseRewriter
from proxy.forward.response_tap import ResponseTap
from proxy.forward.router import RouteMatch
from proxy.forward.upstream import Upstream
from proxy.http1.request import RequestHead
from proxy.model import Request, Token
from proxy.tokens.credential import Tokens

_NEVER = float("inf")


class Outgoing:
    """An app connection (`app`) and, while there is one, an upstream connection (`up`).

    `deadline_at`: when `timeouts.total` ends; `relaying`: the answer is on its way to the app; `over`: nothing more is
    to be done. `truncated`: the answer has broken off, and its end would look like that of a whole one. `held`: a
    refused answer while its credential is mended. `_outbound`: the attempt that was sent last. `_resigned`, `_renewed`:
    favours granted; `_young`: the token that was refused before its predecessor was sent. `upgrade`: the protocols that
    the upstream is asked to change to.
    """

    # What most requests never change stands on the class: setting it anew for each would cost half a microsecond.
    up: Upstream | None = None
    token: Token | None = None
    _young: Token | None = None
    held: HeldResponse | None = None
    over = relaying = truncated = False
    _tokens: Tokens | None = None
    _outbound = NOTHING_SENT
    _tap: ResponseTap | None = None
    _rewriter: ResponseRewriter | None = None
    _task: asyncio.Task[Any] | None = None
    _sends = _status = _unread = 0
    _action = AuthorizationAction.REPLACE
    _resigned = _renewed = _chunks = _until_close = False
    _gathers = _withheld = _awaits_continue = _continued = False
    deadline_at = _NEVER
    upgrade = b""

    def __init__(
        self,
        app: AppConnection,
        context: Context,
        head: RequestHead,
        admitted: RouteMatch,
        upload: RequestBody | None,
        target: bytes,
    ) -> None:
        self.app = app
        self.context = context
        self.head = head
        route = self.route = admitted.route
        self.host = admitted.host
        self.readers = admitted.readers
        if head.fields.upgrade is not None:
            route, self.upgrade = upgraded(route, head)
            self.route = route
        self.upload = upload
        self._target = target
        self.started = context.now()
        total = route.config.timeouts.total
        if total is not None:
            self.deadline_at = self.started + total

    def _asked(self) -> Request:
        """What the upstream was asked, as the credential sees it: as it was signed, if it has been."""
        return self._outbound.request or as_request(self.route, self.head, self._target, self.upload)
