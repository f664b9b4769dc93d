"""Builds worlds. What outlives every reload stands here: the store, the cache, the keeper, the ways out."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

from proxy.assembly.built import Built
from proxy.assembly.credentials import build_credentials
from proxy.assembly.faults import Faults, under
from proxy.assembly.parts import Parts
from proxy.assembly.printed import PrintedSecret
from proxy.assembly.routes import keep_pool, make_lane, origins_of, table
from proxy.assembly.signposts import Way, keep_signpost, way_of
from proxy.assembly.world import World
from proxy.clock import Clock
from proxy.config import schema
from proxy.config.load import Loaded
from proxy.config.secrets import read_secret
from proxy.errors import CredentialRefused
from proxy.forward.callers import Callers
from proxy.forward.dial import Origin
from proxy.forward.lane import Lane
from proxy.forward.pool import Connections, Pool
from proxy.forward.signpost import Signpost
from proxy.forward.site import Site
from proxy.http1.host import HostGuard
from proxy.stats import RouteStats
from proxy.tokens.cache import TokenCache
from proxy.tokens.credential import Tokens
from proxy.tokens.keeper import Keeper
from proxy.tokens.secret import Signer
from proxy.tokens.store.envelope import Envelope
from proxy.tokens.store.file import FileStore
from proxy.tokens.store.memory import MemoryStore
from proxy.tokens.store.store import TokenStore


class Workshop:
    """One per program. `moved`: told that a route leads elsewhere than before (`World.follow`).

    Raises ConfigurationError for an encryption key that cannot be used.
    """

    def __init__(
        self, loaded: Loaded, environ: Mapping[str, str], clock: Clock, moved: Callable[[], None] = lambda: None
    ) -> None:
        self._current: Mapping[str, Built] = {}
        self._moved = moved
        self._parts = Parts(
            environ,
            clock,
            loaded.directory,
            make_store(loaded.config.store, environ, clock),
            TokenCache(clock),
            Keeper(clock),
            self._tokens_of,
            self._signer_of,
        )

    @property
    def store(self) -> TokenStore:
        """Where tokens outlive the process."""
        return self._parts.store

    async def start(self) -> None:
        """Begin watching the store and the clock."""
        await self._parts.store.start()
        self._parts.keeper.start()

    async def rest(self) -> None:
        """Start no more renewals but those that requests ask for."""
        await self._parts.keeper.stop()

    async def close(self) -> None:
        """Let go of files and connections."""
        await self._parts.keeper.stop()
        await self._parts.clients.close()
        await self._parts.store.close()

    def use(self, world: World) -> None:
        """From now on credentials find each other in this world, and the store seals with its keys."""
        self._current = world.credentials
        if isinstance(self._parts.store, FileStore):
            self._parts.store.seal_with(world.envelope)

    def _tokens_of(self, name: str) -> Tokens:
        built = self._current.get(name)
        if built is None:
            raise CredentialRefused(f"The credential {name} is no longer configured")
        if built.credential.tokens is None:
            raise CredentialRefused(f"The credential {name} has a token per request, and none that others can use")
        return built.credential.tokens

    def _signer_of(self, name: str) -> Signer | None:
        built = self._current.get(name)
        return built.signer if built is not None else None

    def build(self, loaded: Loaded, old: World | None) -> World:
        """A world, whole, that nothing uses yet. Raises UnusableError; nothing was changed then."""
        config = loaded.config
        parts = self._parts
        faults = Faults()
        credentials = build_credentials(config.credentials, parts, old.credentials if old is not None else {}, faults)
        printed: list[PrintedSecret] = []

        def watched(secret: schema.Secret, where: str) -> Callable[[], str]:
            found = parts.watched(secret, where)
            if isinstance(found, PrintedSecret):
                printed.append(found)
            return found.current

        pools: dict[Origin, Pool] = {}
        posts: dict[Way, Signpost] = {}
        signposts: dict[str, Signpost] = {}
        lanes: dict[str, Lane] = {}
        for index, route in enumerate(config.routes):
            name = str(route.name)
            with faults.noted("routes", index):
                way = way_of(route, config)
                connections: Connections
                if way is not None:
                    if way not in posts:
                        known_posts = old.posts if old is not None else {}
                        with under("tls"):
                            posts[way] = keep_signpost(way, config, parts, self._moved, known_posts)
                    connections = signposts[name] = posts[way]
                else:
                    origin, upgraded = origins_of(route)
                    for one in (origin, upgraded):
                        if one is not None and one not in pools:
                            known = old.pools_by_origin.get(one) if old is not None else None
                            with under("tls"):
                                pools[one] = keep_pool(one, config.limits, known, parts)
                    connections = pools[origin]
                stats = old.stats[name] if old is not None and name in old.stats else RouteStats()
                built = credentials.get(route.credential or "")
                lanes[name] = make_lane(route, name, connections, stats, built.credential if built else None, watched)
                if way is None and upgraded is not None:
                    lanes[name].connecting(pools[upgraded])
        with faults.noted("store", "encryption_key"):
            envelope = read_envelope(config.store, parts.environ)
        faults.tell()
        bearer = config.admin.bearer
        return World(
            loaded=loaded,
            credentials=credentials,
            lanes=lanes,
            pools_by_origin=pools,
            posts=posts,
            signposts=signposts,
            site=Site(config.limits, _hosts(config), table(lanes.values()), _callers(config.callers, watched)),
            admin_bearer=watched(bearer, "admin.bearer") if bearer is not None else None,
            printed=printed,
            envelope=envelope,
        )


def _callers(
    callers: schema.Callers | str | None, watched: Callable[[schema.Secret, str], Callable[[], str]]
) -> Callers | None:
    if not isinstance(callers, schema.Callers):
        return None
    bearer = watched(callers.bearer, "callers.bearer") if callers.bearer is not None else None
    return Callers(bearer, frozenset(callers.unix_uids))


def make_store(config: schema.Store, environ: Mapping[str, str], clock: Clock) -> TokenStore:
    """The configured store. Raises ConfigurationError for an encryption key that cannot be used."""
    if isinstance(config, schema.FileStore):
        return FileStore(Path(config.path), read_envelope(config, environ), clock)
    return MemoryStore()


def read_envelope(config: schema.Store, environ: Mapping[str, str]) -> Envelope:
    """The store's keys as they are now. Raises ConfigurationError where they cannot be used."""
    if isinstance(config, schema.MemoryStore) or config.encryption_key is None:
        return Envelope()
    return Envelope.from_lines(read_secret(config.encryption_key, environ))


def _hosts(config: schema.Config) -> HostGuard:
    """`allowed_hosts`, and every host that a route matches; an empty list allows any."""
    if not config.allowed_hosts:
        return HostGuard(())
    return HostGuard(
        {*config.allowed_hosts, *(route.match.host for route in config.routes if route.match.host is not None)}
    )
