"""What an exchange asks of the app connection that it answers on (`downstream.py`)."""

from __future__ import annotations

import asyncio
from typing import Protocol

from proxy.errors import ProxyError
from proxy.forward.context import EndsWithToken
from proxy.forward.cors import Readers
from proxy.forward.flow_control import FlowControl
from proxy.forward.live_route import LiveRoute
from proxy.forward.private import Own
from proxy.forward.router import Peer
from proxy.forward.splice import Source
from proxy.forward.upstream import Upstream
from proxy.http1.request import RequestHead


class AppConnection(EndsWithToken, Source, Protocol):
    """To be answered on. `deadline`: when the exchange is told to `expire`.

    `closing`: the connection ends behind the present answer; `full`: the app takes no more octets for now; `private`:
    upstream connections that serve nobody else.
    """

    transport: asyncio.Transport
    flow: FlowControl
    peer: Peer
    private: Own
    deadline: float
    closing: bool
    full: bool

    def reads(self) -> bool:
        """Whether the app, which is `full`, has taken something since this was last asked."""

    def paces(self, upstream: Upstream) -> None:
        """More of the answer comes over it: in pieces that suit the app's connection, and not while that is full."""

    def finished(self, *, truncated: bool) -> None:
        """The exchange is over, however it ended. `truncated`: its answer has broken off, and looks whole."""

    def refuse(
        self, error: ProxyError, head: RequestHead | None, route: LiveRoute | None, readers: Readers | None
    ) -> None:
        """Answer `error`."""

    def tunnel(self, upstream: Upstream, idle: float | None, octets: bytes) -> EndsWithToken:
        """From here on octets go both ways untouched, and no request comes any more. `octets`: the upstream's first."""
