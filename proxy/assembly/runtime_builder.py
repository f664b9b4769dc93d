"""Builds runtimes. Owns what outlives reloads: the store, the cache, the scheduler, the HTTP clients."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from proxy.assembly.build_context import BuildContext
from proxy.assembly.credential_builders import build_credentials
from proxy.assembly.credential_runtime import CredentialRuntime
from proxy.assembly.live_routes import make_live_route, table
from proxy.assembly.printed_secret import PrintedSecret
from proxy.assembly.runtime import Runtime
from proxy.assembly.stores import make_store, read_envelope, seal_with
from proxy.assembly.unusable import ErrorCollector
from proxy.assembly.upstream_ways import UpstreamWays
from proxy.clock import Clock
from proxy.config import schema
from proxy.config.load import Loaded
from proxy.errors import CredentialRefused
from proxy.forward.caller_guard import CallerGuard
from proxy.forward.live_route import LiveRoute
from proxy.forward.router import Router
from proxy.http1.host import HostGuard
from proxy.model import Moment, Request, Token
from proxy.stats import RouteStats
from proxy.tokens.cache import TokenCache
from proxy.tokens.credential import Credential, Tokens
from proxy.tokens.joined_secret import password_of
from proxy.tokens.refresh_scheduler import RefreshScheduler
from proxy.tokens.secret import Signer
from proxy.tokens.store.token_store import TokenStore

_ANY_REQUEST, _ANY_MOMENT = Request(b"GET", "https", b"", b"/"), Moment(0.0, bytes)
"""For schemes whose fields depend on neither."""


class RuntimeBuilder:
    """One per program. `moved`: called when a discovery has found another upstream (`Runtime.follow`).

    Raises ConfigurationError for an encryption key that cannot be used.
    """

    def __init__(
        self, loaded: Loaded, environ: Mapping[str, str], clock: Clock, moved: Callable[[], None] = lambda: None
    ) -> None:
        self._current: Mapping[str, CredentialRuntime] = {}
        self._moved = moved
        self._context = BuildContext(
            environ,
            clock,
            loaded.directory,
            make_store(loaded.config.store, environ, clock),
            TokenCache(clock),
            RefreshScheduler(clock),
            self._tokens_of,
            self._signer_of,
            self._credential_of,
            self._spoken,
            self._authorizing,
        )

    @property
    def store(self) -> TokenStore:
        """The token store."""
        return self._context.store

    async def start(self) -> None:
        """Start to watch the store and the clock."""
        await self._context.store.start()
        self._context.scheduler.start()

    async def rest(self) -> None:
        """Stop renewals ahead of expiry; requests still cause some."""
        await self._context.scheduler.stop()

    async def close(self) -> None:
        """Close files and connections."""
        await self._context.scheduler.stop()
        await self._context.clients.close()
        await self._context.store.close()

    def use(self, runtime: Runtime) -> None:
        """Make this the runtime in which credentials find each other, and use its keys for the store."""
        self._current = runtime.credentials
        seal_with(self._context.store, runtime.envelope)

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

    def _credential_of(self, name: str) -> Credential:
        built = self._current.get(name)
        if built is None:
            raise CredentialRefused(f"The credential {name} is no longer configured")
        return built.credential

    def _spoken(self, name: str, token: Token) -> str:
        """Of a login, the password is the secret."""
        built = self._current.get(name)
        login = built is not None and isinstance(built.config, schema.Basic)
        return password_of(token.access_token) if login else token.access_token

    def _authorizing(self, name: str, token: Token) -> str:
        """As the credential itself writes `Authorization`; `Bearer token` where it writes another field, or more."""
        built = self._current.get(name)
        scheme = built.credential.scheme if built is not None else None
        if scheme is not None and scheme.constant and b"authorization" in scheme.writes:
            fields = scheme.sign(_ANY_REQUEST, token, _ANY_MOMENT)
            return next(value for field, value in fields if field.lower() == b"authorization").decode()
        return f"Bearer {token.access_token}"

    def build(self, loaded: Loaded, old: Runtime | None) -> Runtime:
        """Build a runtime, which is not in use yet. Raises UnusableError, and changes nothing then."""
        config = loaded.config
        context = self._context
        errors = ErrorCollector()
        credentials = build_credentials(config.credentials, context, old.credentials if old is not None else {}, errors)
        printed: list[PrintedSecret] = []

        def watched(secret: schema.Secret, where: str) -> Callable[[], str]:
            found = context.watched(secret, where)
            if isinstance(found, PrintedSecret):
                printed.append(found)
            return found.current

        ways = UpstreamWays(config, context, self._moved, old)
        live_routes: dict[str, LiveRoute] = {}
        for index, route in enumerate(config.routes):
            name = str(route.name)
            with errors.collect("routes", index):
                connections, upgraded = ways.of(route)
                stats = old.stats[name] if old is not None and name in old.stats else RouteStats()
                built = credentials.get(route.credential or "")
                live_routes[name] = live_route = make_live_route(
                    route, name, connections, stats, built.credential if built else None, watched
                )
                live_route.by_token = ways.token_upstreams_by_route.get(name)
                if upgraded is not None:
                    live_route.connecting(upgraded)
        with errors.collect("store", "encryption_key"):
            envelope = read_envelope(config.store, context.environ)
        errors.raise_collected()
        bearer = config.admin.bearer
        return Runtime(
            loaded=loaded,
            credentials=credentials,
            live_routes=live_routes,
            ways=ways,
            site=Router(config.limits, _hosts(config), table(live_routes.values()), _callers(config.callers, watched)),
            admin_bearer=watched(bearer, "admin.bearer") if bearer is not None else None,
            printed=printed,
            envelope=envelope,
            clock=context.clock,
        )


def _callers(
    callers: schema.Callers | str | None, watched: Callable[[schema.Secret, str], Callable[[], str]]
) -> CallerGuard | None:
    if not isinstance(callers, schema.Callers):
        return None
    bearer = watched(callers.bearer, "callers.bearer") if callers.bearer is not None else None
    return CallerGuard(bearer, frozenset(callers.unix_uids))


def _hosts(config: schema.Config) -> HostGuard:
    """`allowed_hosts`, and every host that a route matches; an empty list allows any."""
    if not config.allowed_hosts:
        return HostGuard(())
    return HostGuard(
        {*config.allowed_hosts, *(route.match.host for route in config.routes if route.match.host is not None)}
    )
