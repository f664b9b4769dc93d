"""Whom a connection to an API belongs to, as far as the connection and its exchange know: a pool (`pool.py`)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol, TypeVar

from proxy.errors import ProxyError

Connection = TypeVar("Connection")
Connection_contra = TypeVar("Connection_contra", contravariant=True)


class Recipient(Protocol[Connection_contra]):
    """Who is to be given a connection."""

    def connected(self, upstream: Connection_contra) -> None:
        """Here is one."""

    def not_connected(self, error: ProxyError) -> None:
        """None can be had."""


class Owner(Protocol[Connection]):
    """`open`: all its connections; `now`: of the clock that deadlines are kept in; the others: limits of a head.

    `doubted_until`: they are looked at before use; `shunned_until`: what could not be sent again goes over new ones.
    """

    open: set[Connection]
    now: Callable[[], float]
    doubted_until: float
    shunned_until: float
    max_head: int
    max_fields: int

    def give_back(self, upstream: Connection, now: float) -> None:
        """It may serve the next."""

    def replace(self, upstream: Connection, waiter: Recipient[Connection], now: float, *, new: bool) -> None:
        """It cannot be trusted with the waiter's request: end it, and serve that with another, or a `new` one alone."""

    def shun(self, now: float) -> None:
        """It ended when nobody could know."""

    def wait_for_new(self, waiter: Recipient[Connection]) -> None:
        """Serve this one with a new connection alone."""
