"""Where a route leads whose upstream the token names: the answer that brought the token said where its API is.

Nobody is asked and nothing is waited for but the token: each value is judged once, as that of a directory is, and has
its connections until another takes its place.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import NamedTuple, Protocol, cast

from proxy.default_ports import DEFAULT_PORTS
from proxy.errors import CredentialRefused, ProxyError
from proxy.forward.dial import Origin
from proxy.forward.directory import NOWHERE, BaseUrl, Rule
from proxy.forward.directory_errors import DirectoryRefused
from proxy.forward.egress import Egress
from proxy.forward.pool import Pool, Waiter
from proxy.model import Token

_log = logging.getLogger("auth_sidecar.forward")


class HasToken(Protocol):
    """A request that has chosen its token."""

    token: Token | None


class TokenWaiter(Waiter, Protocol):
    """An exchange whose request has its token."""

    request: HasToken


class TokenDestination(NamedTuple):
    """Where one value leads: `base` is the path before every target."""

    found: BaseUrl
    pool: Pool
    base: bytes


class TokenUpstream:
    """What a route has for a pool whose upstream its tokens name under `name`; `path` goes behind what they name.

    `most`: how many values there may be at a time, one where all requests share a token: another value takes the place
    of the one that was used longest ago, whose connections finish what they have. `found`: what was named last;
    `last_error`: why the last value cannot be used, None if it can.
    """

    forwards: Egress | None = None

    def __init__(
        self, rule: Rule, name: str, path: str, make_pool: Callable[[BaseUrl], Pool], *, most: int = 1
    ) -> None:
        self.origin = Origin(rule.discover.scheme, NOWHERE, DEFAULT_PORTS[rule.discover.scheme], 0.0)
        self.found: BaseUrl | None = None
        self.last_error: ProxyError | None = None
        self.shared = most == 1
        self._rule = rule
        self._name = name
        self._path = path.rstrip("/").encode("ascii")
        self._make_pool = make_pool
        self._most = most
        self._known: dict[str, TokenDestination] = {}

    @property
    def pools(self) -> list[Pool]:
        """Each once."""
        return list(dict.fromkeys(one.pool for one in self._known.values()))

    # ---- in the place of a pool --------------------------------------------------------------------------------------

    def take(self, now: float) -> None:
        """There are no connections before the token has said where to."""

    def wait(self, waiter: Waiter) -> None:
        """Lead this one where its token says."""
        token = cast("TokenWaiter", waiter).request.token
        try:
            led = self.of(token)
        except ProxyError as error:
            waiter.not_connected(error)
            return
        waiter.upstream_resolved(led.pool, led.base)

    def forget(self, waiter: Waiter) -> None:
        """Nobody waits here."""

    # ---- what tokens name --------------------------------------------------------------------------------------------

    def of(self, token: Token | None) -> TokenDestination:
        """Where a token leads. Raises DirectoryRefused for a place that may not be used, CredentialRefused for none."""
        value = dict(token.kept).get(self._name) if token is not None else None
        if value is None:
            raise CredentialRefused("The token's answer did not say where its API is")
        led = self._known.pop(value, None)
        if led is None:
            led = self._judged(value)
        self._known[value] = led
        self.found, self.last_error = led.found, None
        while len(self._known) > self._most:
            gone = self._known.pop(next(iter(self._known)))
            if gone.pool not in self.pools:
                gone.pool.retire()
        return led

    def retire(self) -> None:
        """Nobody new comes."""
        for pool in self.pools:
            pool.retire()

    def _judged(self, value: str) -> TokenDestination:
        try:
            found = self._rule.judge(value)
        except DirectoryRefused as error:
            if self.last_error is None or self.last_error.detail != error.detail:
                _log.warning(
                    "an upstream that a token names: %s%s", error.detail, f" ({error.named})" * bool(error.named)
                )
            self.last_error = error
            raise
        same = (
            one.pool for one in self._known.values() if one.found.host == found.host and one.found.port == found.port
        )
        pool = next((one for one in same if one.origin.scheme == found.scheme), None) or self._make_pool(found)
        if self.shared:
            _log.info("the token names its upstream: %s", found.url)
        return TokenDestination(found, pool, found.base.encode("ascii") + self._path)
