"""What the admin side may know of the running program, and the little it may do to it.

`Program` is implemented where everything is put together; `Tokens` by whatever manages one credential's token. The
admin side keeps nothing of the program: it asks anew for every request, so a reload needs no word to it. Moments are in
epoch seconds.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any, Literal, Protocol

from msgspec import Struct

from proxy.clock import Clock
from proxy.config.schema import Limits, UpdateGuard
from proxy.model import Token
from proxy.stats import Histogram, RouteStats
from proxy.tokens.http_client import HttpClient


class Report(Protocol):
    """What may be told of a token."""

    @property
    def state(self) -> str:
        """`empty`, `expired`, `failing`, `stale` or `fresh`: the first that applies."""

    @property
    def expires_at(self) -> float | None:
        """The end of the token; None where nobody stated one."""

    @property
    def refresh_at(self) -> float | None:
        """When the next renewal is due; None where none is planned."""

    @property
    def generation(self) -> int:
        """How many tokens this credential has had."""

    @property
    def last_refresh(self) -> float | None:
        """When the last renewal succeeded."""

    @property
    def last_error(self) -> str | None:
        """Why the last attempt failed, in our own words; None if it did not."""

    @property
    def fingerprint(self) -> str | None:
        """Eight hexadecimal digits of a keyed hash of the token."""

    @property
    def attempted(self) -> bool:
        """The first attempt to get a token has ended, either way, or there is none to make."""

    @property
    def refreshes(self) -> Mapping[str, int]:
        """How many attempts ended how."""

    @property
    def durations(self) -> Histogram:
        """How long the attempts took."""

    @property
    def history(self) -> Sequence[tuple[float, bool]]:
        """The last attempts, oldest first: when, and whether it succeeded."""


class Tokens(Protocol):
    """One credential's token and its life."""

    def report(self) -> Report:
        """Say how it stands, now."""

    def held(self) -> Token | None:
        """The last token known, usable or not."""

    async def current(self) -> Token:
        """A usable token, waiting for one if need be. Raises CredentialFault."""

    async def renew_now(self) -> Token:
        """A token newer than the one held. Raises CredentialFault."""

    async def look(self) -> None:
        """See now what another process has saved, so that `report` tells of it."""

    async def adopt(
        self, token: Token, if_match: int | None = None, refuse: Callable[[Token], None] | None = None
    ) -> Token:
        """Take in a token from outside, unless `refuse` raises something at the sight of what is held."""


class Entry(Struct, frozen=True, kw_only=True):
    """One configured credential.

    `tokens`: None where nothing is renewed or pushed (a key, a password, a signature), or where there are many tokens.
    `kind`: the type of token that its requests can carry. `default_expires_in`: seconds, for a token whose lifetime
    nobody states. `update`: its guard; None where nothing may be pushed. `update_secret`: the guard's secret as it is
    now; raises ConfigurationError if unreadable. `keys_client`: the way to the key set of its JWT guard, where that is
    through an egress proxy.
    """

    type: str
    tokens: Tokens | None = None
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


class Program(Protocol):
    """The running program."""

    @property
    def clock(self) -> Clock:
        """Its clock."""

    @property
    def version(self) -> str:
        """Its release."""

    @property
    def uptime(self) -> float:
        """Seconds since it started."""

    @property
    def draining(self) -> bool:
        """Whether it takes no more requests."""

    @property
    def reloaded(self) -> bool:
        """Whether the configuration that was last read is the one that runs."""

    @property
    def credentials(self) -> Mapping[str, Entry]:
        """All credentials by name."""

    @property
    def routes(self) -> Mapping[str, RouteStats]:
        """All routes by name."""

    @property
    def discovered(self) -> Mapping[str, Discovered]:
        """The routes, by name, whose upstream is looked up."""

    @property
    def allowed_hosts(self) -> Collection[str]:
        """The names that the admin listener answers to; empty for any."""

    @property
    def limits(self) -> Limits:
        """How long callers may take."""

    @property
    def unix_uids(self) -> Collection[int]:
        """The users of this machine who may be handed tokens over a unix socket."""

    def bearer(self) -> str | None:
        """The admin bearer as it is now, or None where none is configured. Raises ConfigurationError if unreadable."""

    def store(self) -> Mapping[str, Any]:
        """Where tokens outlive the process, as JSON: `type` and `errors` at least, no secret."""

    def config_shown(self) -> Any:
        """The effective configuration as JSON, redacted."""

    async def reload(self) -> None:
        """Read the configuration anew and run on it, all or nothing. Raises ConfigurationError."""

    def quit(self) -> None:
        """Begin to drain, and exit when drained."""
