"""Interfaces: what the admin side may know of the running program, and what it may do to it.

`Program` is implemented by the program itself, `RuntimeView` where everything is put together. The admin side keeps
no reference to a runtime: it asks for the current one in every request, so nothing must be told of a reload.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Literal, Protocol

from msgspec import Struct

from proxy.clock import Clock
from proxy.config.load import Loaded
from proxy.config.schema import UpdateGuard
from proxy.stats import RouteStats
from proxy.tokens.http_client import HttpClient
from proxy.tokens.manager import TokenManager
from proxy.tokens.store.token_store import TokenStore


class CredentialView(Struct, frozen=True, kw_only=True):
    """One configured credential.

    `tokens`: None where nothing is renewed or pushed (a key, a password, a signature), or where there are many tokens.
    `kind`: the type of token that its requests can carry. `default_expires_in`: seconds, for a token whose lifetime
    nobody states. `update`: its guard; None where nothing may be pushed. `update_secret`: the guard's secret as it is
    now; raises ConfigurationError if unreadable. `keys_client`: the way to the key set of its JWT guard, where that is
    through an egress proxy.
    """

    type: str
    tokens: TokenManager | None = None
    eager: bool = False
    required: bool = False
    vend: bool = False
    kind: Literal["Bearer", "DPoP"] = "Bearer"
    default_expires_in: float = 300.0
    update: UpdateGuard | None = None
    update_secret: Callable[[], str] | None = None
    keys_client: HttpClient | None = None


class Discovered(Struct, frozen=True):
    """Where a route leads whose upstream is looked up.

    `url`: None while nothing was found; `age`: seconds since the directory last said so. `last_error`: why the last
    look-up failed; None if it did not.
    """

    url: str | None
    age: float | None
    last_error: str | None


class RuntimeView(Protocol):
    """What was built from one configuration; a reload replaces it."""

    @property
    def loaded(self) -> Loaded:
        """The configuration."""

    @property
    def entries(self) -> Mapping[str, CredentialView]:
        """All credentials by name."""

    @property
    def stats(self) -> Mapping[str, RouteStats]:
        """All routes by name."""

    @property
    def admin_bearer(self) -> Callable[[], str] | None:
        """Returns the current admin bearer, or raises ConfigurationError; None if none is configured."""

    def discovered(self, elapsed: float) -> Mapping[str, Discovered]:
        """The routes, by name, whose upstream is looked up. `elapsed`: of the clock, now."""


class Program(Protocol):
    """The running program.

    `started`: when, on the elapsed clock. `draining`: it takes no more requests. `reloaded`: the configuration that was
    last read is the one that runs. `store`: where tokens outlive the process.
    """

    version: str
    started: float
    draining: bool
    reloaded: bool
    store: TokenStore

    @property
    def clock(self) -> Clock:
        """Its clock."""

    @property
    def runtime(self) -> RuntimeView:
        """The current one."""

    async def reload(self) -> None:
        """Read the configuration anew and run on it, all or nothing. Raises ConfigurationError."""

    def quit(self) -> None:
        """Begin to drain, and exit when drained."""
