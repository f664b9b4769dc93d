"""All live objects of one configuration. Only the upstreams of routes with a discovery change later.

A reload makes another runtime (`runtime_builder.py`).
"""

from __future__ import annotations

import asyncio
import logging
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from graphlib import TopologicalSorter

from proxy.admin.ports import CredentialView, Discovered
from proxy.assembly.credential_runtime import CredentialRuntime, Entries
from proxy.assembly.discoveries import DiscoveryKey
from proxy.assembly.live_routes import table
from proxy.assembly.printed_secret import PrintedSecret
from proxy.assembly.token_upstreams import TokenUpstreamKey
from proxy.assembly.upstream_ways import UpstreamWays
from proxy.clock import Clock
from proxy.config import schema
from proxy.config.load import Loaded
from proxy.config.tree import every
from proxy.defects import tell
from proxy.forward.dial import Origin
from proxy.forward.live_route import LiveRoute
from proxy.forward.pool import Pool
from proxy.forward.router import Router
from proxy.forward.token_upstream import TokenUpstream
from proxy.forward.upstream_discovery import UpstreamDiscovery
from proxy.stats import RouteStats
from proxy.tokens.store.envelope import Envelope

_log = logging.getLogger("auth_sidecar.app")


@dataclass(eq=False)
class Runtime:
    """The objects that serve requests under one configuration.

    `discoveries_by_route`: of the routes, by name, whose upstream is looked up; `discoveries`: each of these once.
    `token_upstreams_by_route` and `token_upstreams`: the same where the token names it.
    `envelope`: the store's keys as they were when this was built.
    """

    loaded: Loaded
    credentials: dict[str, CredentialRuntime]
    live_routes: dict[str, LiveRoute]
    ways: UpstreamWays
    site: Router
    admin_bearer: Callable[[], str] | None
    printed: list[PrintedSecret]
    envelope: Envelope
    clock: Clock
    entries: Mapping[str, CredentialView] = field(init=False)
    stats: dict[str, RouteStats] = field(init=False)

    def __post_init__(self) -> None:
        """Make the admin side's views."""
        ways = self.ways
        self.pools_by_origin: dict[Origin, Pool] = ways.pools_by_origin
        self.discoveries: dict[DiscoveryKey, UpstreamDiscovery] = ways.discoveries
        self.discoveries_by_route: dict[str, UpstreamDiscovery] = ways.discoveries_by_route
        self.token_upstreams: dict[TokenUpstreamKey, TokenUpstream] = ways.token_upstreams
        self.token_upstreams_by_route: dict[str, TokenUpstream] = ways.token_upstreams_by_route
        self.entries = Entries(self.credentials)
        self.stats = {name: route.stats for name, route in self.live_routes.items()}
        self.follow()

    @property
    def pools(self) -> list[Pool]:
        """All pools of this runtime."""
        found = [discovery.pool for discovery in self.discoveries.values() if discovery.pool is not None]
        found += [pool for upstream in self.token_upstreams.values() for pool in upstream.pools]
        return list(self.pools_by_origin.values()) + found

    def follow(self) -> None:
        """Use the current upstreams of discoveries. Requests that have begun keep theirs."""
        moved = False
        for name, discovery in self.discoveries_by_route.items():
            route = self.live_routes[name]
            if discovery.pool is not None and (route.pool, route.base) != (discovery.pool, discovery.base):
                self.live_routes[name] = route.towards(discovery.pool, discovery.base)
                moved = True
        if moved:
            self.site = self.site.with_routes(table(self.live_routes.values()))

    def discovered(self, elapsed: float) -> dict[str, Discovered]:
        """The state of each upstream named elsewhere, by route. `elapsed`: the current time of the elapsed clock."""
        named = {
            name: Discovered(
                url=upstream.found.url if upstream.found is not None and upstream.shared else None,
                age=None,
                last_error=upstream.last_error.detail if upstream.last_error is not None else None,
            )
            for name, upstream in self.token_upstreams_by_route.items()
        }
        return named | {
            name: Discovered(
                url=discovery.found.url if discovery.found is not None else None,
                age=elapsed - discovery.found_at if discovery.found is not None else None,
                last_error=discovery.last_error.detail if discovery.last_error is not None else None,
            )
            for name, discovery in self.discoveries_by_route.items()
        }

    async def start(self, old: Runtime | None) -> None:
        """Start the credentials that `old` does not have already; whoever needs another's token after that one.

        Then the look-ups of upstreams begin; nobody waits for them here.

        Raises ConfigurationError where a command does not print the secret that it should.
        """
        running = old.lives() if old is not None else frozenset()
        known = old.all_printed() if old is not None else ()
        for printed in self.all_printed():
            if printed not in known:
                await printed.start()
        for name in in_order(self.loaded.config.credentials):
            if (built := self.credentials[name]).life not in running:
                await built.start()
        for discovery in self.discoveries.values():
            discovery.start()

    async def stop(self, new: Runtime | None, *, within: float | None = None) -> None:
        """Stop the credentials and look-ups that `new` does not take over, credentials in the opposite order.

        `within`: seconds for answers that must not be lost; None: as long as they may take.
        """
        until = math.inf if within is None else self.clock.monotonic() + within
        kept = new.lives() if new is not None else frozenset()
        for name in reversed(in_order(self.loaded.config.credentials)):
            if (built := self.credentials[name]).life not in kept:
                try:
                    await built.stop(within=max(0.0, until - self.clock.monotonic()))
                except Exception as error:  # noqa: BLE001 - the others are stopped all the same
                    tell(_log, f"while {name} was stopped", error)
        pointing = new.discoveries.values() if new is not None else ()
        await asyncio.gather(
            *(discovery.stop() for discovery in self.discoveries.values() if discovery not in pointing)
        )
        still_named = new.token_upstreams.values() if new is not None else ()
        for upstream in self.token_upstreams.values():
            if upstream not in still_named:
                upstream.retire()
        still_read = new.all_printed() if new is not None else ()
        for printed in self.all_printed():
            if printed not in still_read:
                await printed.stop()

    def all_printed(self) -> list[PrintedSecret]:
        """What commands print for routes, listeners and credentials."""
        guards = (built.update_secret for built in self.credentials.values())
        return self.printed + [secret for secret in guards if isinstance(secret, PrintedSecret)]

    def lives(self) -> frozenset[int]:
        """Identifies the credentials of this runtime (`CredentialRuntime.life`)."""
        return frozenset(built.life for built in self.credentials.values())


def in_order(credentials: Mapping[str, schema.Credential]) -> list[str]:
    """Names of credentials, each after those whose tokens it needs. The configuration has no circles."""
    needs = {
        name: {found for found in _named_in(config) if found in credentials} for name, config in credentials.items()
    }
    return list(TopologicalSorter(needs).static_order())


def _named_in(config: schema.Credential) -> list[str]:
    secrets = (found.value for found in every(config))
    return [
        secret.credential for secret in secrets if isinstance(secret, schema.Secret) and secret.credential is not None
    ]
