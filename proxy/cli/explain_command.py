"""`auth-sidecar explain`: what would be sent for one request, rendered by the data path's own code.

Nothing is asked for a token: a placeholder stands in its place, and no secret gets as far as the text. The only thing
that is asked is a directory, where the route's upstream is looked up: a signature covers what it names.
"""

from __future__ import annotations

import argparse
import asyncio
import dataclasses
import os
import re
import sys
from collections.abc import Iterator, Mapping

from msgspec.structs import replace

from proxy.assembly.runtime_builder import RuntimeBuilder
from proxy.assembly.unusable import UnusableError
from proxy.auth.body_value import BodyScheme
from proxy.auth.describe import REDACTED, covered, placeholder, redacted
from proxy.auth.oauth1 import OAuth1Scheme
from proxy.cli.codes import FAILED, GOOD, NO_MATCH
from proxy.cli.routes_command import matched
from proxy.clock import Clock, SystemClock
from proxy.config import schema
from proxy.config.load import Loaded, load, located
from proxy.config.parse_context import KeyPath
from proxy.config.secrets import is_local
from proxy.config.substitution import masked_path
from proxy.errors import ClientError, NoRoute, ProxyError, RouteMethodRefused
from proxy.forward.caller_guard import CallerGuard
from proxy.forward.directory_errors import DirectoryError
from proxy.forward.live_route import AuthorizationAction, LiveRoute
from proxy.forward.outbound import Outbound, fate_of_authorization, field_lines, render, tokens_of, upgraded
from proxy.forward.router import Peer, Router
from proxy.forward.upstream_discovery import UpstreamDiscovery
from proxy.http1.request import RequestHead, read_request
from proxy.model import Moment

_ABSOLUTE = re.compile(r"[A-Za-z]+://([^/?]*)(.*)", re.DOTALL)
_SECRETS_IN_QUERY = re.compile(rb"([?&]oauth_(?:token|signature)=)[^& ]*")
_MOST_OCTETS = 64
"""More octets than any scheme's nonce has."""


def run(arguments: argparse.Namespace) -> int:
    """Exit code 0; 4 where no route matches; 1 where the request is refused for another reason."""
    loaded = load(arguments.config, os.environ)
    try:
        octets = request_of(arguments.method, arguments.url, arguments.header, loaded.config)
        print("\n".join(asyncio.run(explained(loaded, octets))))
    except (NoRoute, RouteMethodRefused) as error:
        allowed = dict(error.headers).get("Allow")
        print(f"{error.status}: {error.detail}" + (f"; it takes {allowed}" if allowed else ""), file=sys.stderr)
        return NO_MATCH
    except ProxyError as error:
        print(f"refused with {error.status}: {error.detail}", file=sys.stderr)
        return FAILED
    except UnusableError as error:
        raise located(arguments.config, os.environ, error.errors) from None
    return GOOD


def request_of(method: str, url: str, fields: list[str], config: schema.Config) -> bytes:
    """The request as the app would send it. `url`: a path, or a URL of the sidecar, whose host becomes Host."""
    host, target = _host(config), url.partition("#")[0]
    if absolute := _ABSOLUTE.fullmatch(target):
        host, target = absolute.groups()
        target = target if target.startswith("/") else f"/{target}"
    lines = [f"{method} {target} HTTP/1.1"]
    if not any(field.partition(":")[0].lower() == "host" for field in fields):
        lines.append(f"Host: {host}")
    for field in fields:
        name, _, value = field.partition(":")
        lines.append(f"{name}: {value.strip()}")
    return ("\r\n".join(lines) + "\r\n\r\n").encode("utf-8", "surrogateescape")


async def explained(loaded: Loaded, octets: bytes) -> list[str]:
    """Lines of text for a request. Raises ProxyError where it would be refused, ConfigurationError."""
    clock = SystemClock()
    limits = loaded.config.limits
    masked = dataclasses.replace(loaded, config=_masked(loaded.config, loaded.written))
    builder = RuntimeBuilder(masked, os.environ, clock)
    runtime = builder.build(masked, None)
    unix = loaded.config.listen[0].address.startswith("unix:")
    head = read_request(octets, 0, limits.max_header_size, limits.max_headers, unix=unix)
    if head is None:
        raise ClientError("This is no whole request")
    site = Router(limits, runtime.site.hosts, runtime.site.routes)  # callers are not asked who they are
    admitted = site.admit(_cleared(head, runtime.site.callers, loaded.config), Peer(unix=unix))
    route, head = admitted.route, admitted.head
    if admitted.preflight is not None:
        return [*_where(route), "", "A preflight of a page that may use the route: it is answered here."]
    where = []
    if (discovery := runtime.discoveries_by_route.get(route.name)) is not None:
        where = [f"directory   {discovery.directory}{await _looked(discovery)}"]
        runtime.follow()
        route = runtime.live_routes[route.name]
        if route.forwards is not None:
            await route.forwards.prepare()  # with the password that the look-up has used
        await builder.close()
    if route.by_token is not None:
        where = ["named by    its token, which is not asked for: the upstream's host and path are not known"]
        route.by_token = None
    route, upgrade = upgraded(route, head)
    sent = _rendered(route, head, route.target(admitted.target), upgrade, _Instant(clock))
    return [*_where(route), *where, "", *sent]


def _cleared(head: RequestHead, callers: CallerGuard | None, config: schema.Config) -> RequestHead:
    """The request without the callers' bearer, unless a command would have to be run to know that bearer."""
    bearer = config.callers.bearer if isinstance(config.callers, schema.Callers) else None
    if callers is None or bearer is None or not is_local(bearer):
        return head
    return RequestHead(head.method, head.target, callers.cleared(head.fields), head.size)


async def _looked(discovery: UpstreamDiscovery) -> str:
    """Look the upstream up. If that fails: the reason, and a placeholder host is shown."""
    if (name := discovery.rule.discover.credential) is not None:
        return f" (asked with the token of {name}, and not here: the upstream's host and path are not known)"
    try:
        await discovery.look()
    except DirectoryError as error:
        return f" ({error.detail}; the upstream's host and path are not known)"
    return ""


def _masked(config: schema.Config, written: Mapping[KeyPath, str]) -> schema.Config:
    """The configuration with the values of `headers.set` masked, but for a plain Content-Type: that is signed.

    So is what `${NAME}` stands for in the path of an upstream. `written`: strings as the file has them, by path.
    """
    routes = (_masked_route(one, written.get(("routes", at, "upstream"))) for at, one in enumerate(config.routes))
    return replace(config, routes=tuple(routes))


def _masked_route(route: schema.Route, written: str | None) -> schema.Route:
    if written is not None and "${" in written and isinstance(route.upstream, str) and "://" in route.upstream:
        route = replace(route, upstream=masked_path(written, os.environ, REDACTED))
    fields = {name: value if _shows(name, value) else REDACTED for name, value in route.headers.set.items()}
    via = route.via_proxy
    if via is not None and via.password is not None and isinstance(route.upstream, str):  # else a look-up needs it
        via = replace(via, password=schema.Secret(value=REDACTED))
    query = replace(route.query, set=dict.fromkeys(route.query.set, REDACTED))
    return replace(route, headers=replace(route.headers, set=fields), query=query, via_proxy=via)


def _shows(name: str, value: str | schema.FieldValue) -> bool:
    """A plain Content-Type is no secret, and what a token's answer said is not known here."""
    return name.lower() == "content-type" if isinstance(value, str) else value.kept is not None


def _host(config: schema.Config) -> str:
    """The Host that an app sends if it is given the first listener's address."""
    address = config.listen[0].address
    return "localhost" if address.startswith("unix:") else address


def _where(route: LiveRoute) -> list[str]:
    credential = f"{route.credential.name} ({route.credential.type})" if route.credential is not None else "none"
    return [
        f"route       {route.name}: {matched(route.config.match)}",
        f"upstream    {route.origin.url}",
        *_through(route),
        f"credential  {credential}",
    ]


def _through(route: LiveRoute) -> Iterator[str]:
    if route.origin.via is not None and route.origin.behind_proxy:
        how = "CONNECT" if route.forwards is None else "in absolute form"
        yield f"via proxy   {route.origin.via.url} ({how})"


def _rendered(route: LiveRoute, head: RequestHead, target: bytes, upgrade: bytes, clock: _Instant) -> Iterator[str]:
    """The request's head as the upstream would get it, then what its signature covers."""
    action = fate_of_authorization(route, head.fields)
    token = (
        placeholder(route.scheme) if route.credential is not None and action is AuthorizationAction.REPLACE else None
    )
    if token is not None:
        token = replace(token, kept=tuple((name, REDACTED) for _, name in route.kept_fields))
        tokens_of(route, head, target, None)  # a request that does not say whom it is for is refused
    within = isinstance(route.scheme, BodyScheme)  # a command is given no body to look into
    sent = render(route, head, target, action, None if within else token, clock, upgrade)
    yield from _text(_shown(route, sent)).rstrip("\r\n").split("\r\n")
    notes = []
    if route.scheme is not None and sent.request is not None:
        notes = covered(route.scheme, sent.request, sent.signed, Moment(clock.wall(), clock.octets))
    if any(note.startswith("DPoP claims: ") for note in notes):
        notes.append("No token was asked for: `ath` is a placeholder's.")
    if within:
        notes.append("The credential goes into the body, and Content-Length becomes that of the body with it.")
    if route.varies:
        notes.append("Which token it is depends on the request; here a placeholder stands for all.")
    if action is AuthorizationAction.KEEP:
        notes.append("The app's own Authorization is kept (on_client_authorization: keep).")
    if notes:
        yield ""
        yield from notes


def _shown(route: LiveRoute, sent: Outbound) -> bytes:
    """The head with its secrets masked: the credential, which comes last, and the egress proxy's password."""
    octets = sent.octets
    if isinstance(route.scheme, OAuth1Scheme) and route.scheme.places:
        line, _, rest = octets.partition(b"\r\n")
        octets = _SECRETS_IN_QUERY.sub(rb"\1REDACTED", line) + b"\r\n" + rest
    if route.scheme is not None and sent.signed:
        before = len(octets) - len(field_lines(sent.signed) + b"\r\n")
        octets = octets[:before] + field_lines(redacted(route.scheme, sent.signed))
    if route.forwards is not None and (login := route.forwards.authorization()):
        octets = octets.replace(b"\r\n" + login, b"\r\nProxy-Authorization: Basic REDACTED\r\n")
    return octets


class _Instant:
    """A clock that stands still, so that the base string shown is the one that was signed."""

    def __init__(self, clock: Clock) -> None:
        self._wall = clock.wall()
        self._octets = clock.octets(_MOST_OCTETS)

    def wall(self) -> float:
        """Seconds since the epoch."""
        return self._wall

    def octets(self, count: int) -> bytes:
        """The same octets each time."""
        return self._octets[:count]


def _text(octets: bytes) -> str:
    return octets.decode("utf-8", "backslashreplace")
