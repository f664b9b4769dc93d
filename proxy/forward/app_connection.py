"""What an exchange asks of the app connection that it answers on (`server.py`), and what that asks of it at the end."""

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


class Served(Protocol):
    """What is to be known of an exchange to count it. `truncated`: its answer has broken off, and looks whole."""

    route: LiveRoute
    head: RequestHead
    started: float
    over: bool
    truncated: bool


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

    def finished(self, exchange: Served, status: int, error: ProxyError | None = None) -> None:
        """The exchange is over, however it ended."""

    def refuse(
        self, error: ProxyError, head: RequestHead | None, route: LiveRoute | None, readers: Readers | None
    ) -> None:
        """Answer `error`."""

    def tunnel(self, exchange: Served, upstream: Upstream, status: int, octets: bytes) -> EndsWithToken:
        """From here on octets go both ways untouched, and no request comes any more."""
