"""All live objects of one configuration. Nothing here changes; a reload makes another world (`workshop.py`)."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from graphlib import TopologicalSorter

from proxy.admin.view import Entry
from proxy.assembly.parts import Built
from proxy.assembly.printed import PrintedSecret
from proxy.config import schema
from proxy.config.load import Loaded
from proxy.config.tree import every
from proxy.forward.dial import Origin
from proxy.forward.lane import Lane
from proxy.forward.pool import Pool
from proxy.forward.site import Site
from proxy.stats import RouteStats


@dataclass(eq=False)
class World:
    """What serves requests under one configuration."""

    loaded: Loaded
    credentials: dict[str, Built]
    lanes: dict[str, Lane]
    pools_by_origin: dict[Origin, Pool]
    site: Site
    admin_bearer: Callable[[], str] | None
    printed: list[PrintedSecret]
    entries: dict[str, Entry] = field(init=False)
    stats: dict[str, RouteStats] = field(init=False)

    def __post_init__(self) -> None:
        """The admin side's views."""
        self.entries = {name: built.entry for name, built in self.credentials.items()}
        self.stats = {name: lane.stats for name, lane in self.lanes.items()}

    @property
    def pools(self) -> list[Pool]:
        """All pools of this world."""
        return list(self.pools_by_origin.values())

    async def start(self, old: World | None) -> None:
        """Start the credentials that `old` does not have already; whoever needs another's token after that one.

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

    async def stop(self, new: World | None) -> None:
        """Stop the credentials that `new` does not take over, in the opposite order."""
        kept = new.lives() if new is not None else frozenset()
        for name in reversed(in_order(self.loaded.config.credentials)):
            if (built := self.credentials[name]).life not in kept:
                await built.stop()
        still_read = new.all_printed() if new is not None else ()
        for printed in self.all_printed():
            if printed not in still_read:
                await printed.stop()

    def all_printed(self) -> list[PrintedSecret]:
        """What commands print for routes, listeners and credentials."""
        return self.printed + [printed for built in self.credentials.values() for printed in built.printed]

    def lives(self) -> frozenset[int]:
        """Which credentials live here."""
        return frozenset(built.life for built in self.credentials.values())

    def lanes_without(self, new: World) -> Collection[Lane]:
        """The routes whose credential does not live in `new`."""
        kept = {id(built.credential) for built in new.credentials.values()}
        return {lane for lane in self.lanes.values() if lane.credential is not None and id(lane.credential) not in kept}


def in_order(credentials: Mapping[str, schema.Credential]) -> list[str]:
    """Names, whoever needs another one's token after that one. The configuration has no circles."""
    needs = {
        name: {found for found in _named_in(config) if found in credentials} for name, config in credentials.items()
    }
    return list(TopologicalSorter(needs).static_order())


def _named_in(config: schema.Credential) -> list[str]:
    secrets = (found.value for found in every(config))
    return [
        secret.credential for secret in secrets if isinstance(secret, schema.Secret) and secret.credential is not None
    ]
