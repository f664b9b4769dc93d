"""What app connections and their exchanges ask of whom they run under (`proxy_server.py`), and what it asks of them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, Protocol

from proxy.clock import Clock
from proxy.errors import ProxyError
from proxy.forward.live_route import LiveRoute
from proxy.forward.malloc_tuning import Returned
from proxy.forward.request_body import RequestBody
from proxy.forward.router import Router
from proxy.http1.request import RequestFields, RequestHead
from proxy.model import Token


class EndsWithToken(Protocol):
    """A connection that may end when a token does."""

    def token_expired(self) -> None:
        """It has expired."""


class Connection(EndsWithToken, Protocol):
    """An app's connection, whatever it speaks. `deadline`: when `expire` is called."""

    transport: asyncio.Transport
    deadline: float

    def expire(self) -> None:
        """The deadline has passed."""

    def drain(self) -> None:
        """The program is stopping."""


class Context(Protocol):
    """For an exchange. `draining`: answers end their connections; `expiring`: who ends with which token.

    `now`: of the clock that deadlines are kept in, in seconds (`Clock.monotonic`). `in_flight` counts requests;
    `access`: which of them are logged.
    """

    site: Router
    clock: Clock
    now: Callable[[], float]
    expiring: dict[EndsWithToken, Token]
    draining: bool
    in_flight: int
    access: str | None

    def wait_for(
        self, token: Coroutine[Any, Any, Token], came: Callable[[Token], None], failed: Callable[[BaseException], None]
    ) -> asyncio.Task[Token]:
        """In a task: `came` is told of the token, or `failed` why there is none."""

    def log_access(
        self,
        route: LiveRoute | None,
        head: RequestHead | None,
        status: int,
        seconds: float,
        error: ProxyError | None = None,
    ) -> None:
        """One line per request; `head`: None where it was malformed or did not come."""


class ServerContext(Context, Protocol):
    """For an app connection, beyond that."""

    connections: set[Connection]
    memory: Returned

    def admit(self, route: LiveRoute, fields: RequestFields) -> RequestBody | None:
        """Room for one more request, and for its body. Raises LimitReached, RequestDenied, RequestBodyTooLarge."""

    def forget(self, connection: Connection) -> None:
        """It has ended."""
