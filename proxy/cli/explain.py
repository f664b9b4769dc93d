"""`auth-sidecar explain`: what becomes of one request, found out with the program's own parts.

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
from collections.abc import Iterator

from msgspec.structs import replace

from proxy.assembly.faults import UnusableError
from proxy.assembly.workshop import Workshop
from proxy.auth.describe import describe
from proxy.cli.codes import FAILED, GOOD, NO_MATCH
from proxy.cli.routes import matched
from proxy.clock import SystemClock
from proxy.config import schema
from proxy.config.load import Loaded, load, located
from proxy.config.secrets import is_local
from proxy.errors import ClientFault, NoRoute, ProxyError, RequestDenied, RouteMethodRefused
from proxy.forward.callers import Callers
from proxy.forward.egress import absolute
from proxy.forward.faults import DirectoryFault
from proxy.forward.lane import Fate, Lane
from proxy.forward.lesson import readable
from proxy.forward.signpost import Signpost
from proxy.forward.site import Peer, Site
from proxy.forward.upgrade import asked
from proxy.http1.fields import value_of
from proxy.http1.request import RequestHead, read_request
from proxy.model import Moment, Request, Token
from proxy.tokens.callers import PerCaller

_PLACEHOLDER = Token(access_token="placeholder")  # noqa: S106 - stands for a token
_ABSOLUTE = re.compile(r"[A-Za-z]+://([^/?]*)(.*)", re.DOTALL)
_NOTES = ("OAuth 1 base string: ", "DPoP key: ", "DPoP claims: ")


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
        raise located(arguments.config, os.environ, error.faults) from None
    return GOOD


def request_of(method: str, url: str, fields: list[str], config: schema.Config) -> bytes:
    """The request as the app would send it. `url`: a path, or the sidecar's own URL of which the host becomes Host."""
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
    masked = dataclasses.replace(loaded, config=_masked(loaded.config))
    workshop = Workshop(masked, os.environ, clock)
    world = workshop.build(masked, None)
    unix = loaded.config.listen[0].address.startswith("unix:")
    head = read_request(octets, 0, limits.max_header_size, limits.max_headers, unix=unix)
    if head is None:
        raise ClientFault("This is no whole request")
    site = Site(limits, world.site.hosts, world.site.routes)  # callers are not asked who they are
    admitted = site.admit(_cleared(head, world.site.callers, loaded.config), Peer(unix=unix))
    lane, head = admitted.lane, admitted.head
    if admitted.preflight is not None:
        return [*_where(lane), "", "A preflight of a page that may use the route: it is answered here."]
    if lane.upgraded is not None and asked(head, lane.upgrades):
        lane = lane.upgraded
    where = []
    if (post := world.signposts.get(lane.name)) is not None:
        where = [f"directory   {post.directory}{await _looked(post)}"]
        world.follow()
        lane = world.lanes[lane.name]
        await workshop.close()
    sent = _sent(lane, head, lane.target(admitted.target), Moment(clock.wall(), clock.octets))
    return [*_where(lane), *where, "", *sent]


def _cleared(head: RequestHead, callers: Callers | None, config: schema.Config) -> RequestHead:
    """The request without a bearer that is for us, as far as no command must be run to know it."""
    bearer = config.callers.bearer if isinstance(config.callers, schema.Callers) else None
    if callers is None or bearer is None or not is_local(bearer):
        return head
    return RequestHead(head.method, head.target, callers.cleared(head.fields), head.size)


async def _looked(post: Signpost) -> str:
    """Why the upstream is not known, if so; then its place is taken by a name that is nobody's."""
    try:
        await post.look()
    except DirectoryFault as fault:
        return f" ({fault.detail}; the upstream's host and path are not known)"
    return ""


def _masked(config: schema.Config) -> schema.Config:
    """A configuration whose routes set fields to a word instead of a secret."""
    routes = []
    for route in config.routes:
        edits = replace(route.headers, set=dict.fromkeys(route.headers.set, "REDACTED"))
        routes.append(replace(route, headers=edits))
    return replace(config, routes=tuple(routes))


def _host(config: schema.Config) -> str:
    """What an app writes that was given the first listener's address."""
    address = config.listen[0].address
    return "localhost" if address.startswith("unix:") else address


def _where(lane: Lane) -> list[str]:
    credential = f"{lane.credential.name} ({lane.credential.type})" if lane.credential is not None else "none"
    return [
        f"route       {lane.name}: {matched(lane.route.match)}",
        f"upstream    {lane.origin.url}",
        *_through(lane),
        f"credential  {credential}",
    ]


def _through(lane: Lane) -> Iterator[str]:
    if lane.origin.via is not None and lane.origin.behind_proxy:
        how = "CONNECT" if lane.forwards is None else "in absolute form"
        yield f"via proxy   {lane.origin.via.url} ({how})"


def _forwarded(line: str, lane: Lane) -> str:
    """A request line as it goes to the egress proxy, where it is the proxy that reads it."""
    if lane.forwards is None:
        return line
    method, target, version = line.split(" ")
    return f"{method} {_text(absolute(lane.authority, target.encode()))} {version}"


def _login(lane: Lane) -> Iterator[str]:
    if lane.forwards is not None and lane.origin.via is not None and lane.origin.via.username is not None:
        yield "Proxy-Authorization: Basic REDACTED"


def _fate(lane: Lane, head: RequestHead) -> Fate:
    if lane.credential is None or not lane.brings_own_credential(head.fields):
        return Fate.REPLACED
    if lane.route.on_client_authorization == "reject":
        raise RequestDenied("This route takes no Authorization from the app (on_client_authorization: reject)")
    return Fate.KEPT if lane.route.on_client_authorization == "keep" else Fate.REPLACED


def _sent(lane: Lane, head: RequestHead, target: bytes, moment: Moment) -> Iterator[str]:
    """The head of the request as the upstream gets it, then what a signature covers."""
    fate = _fate(lane, head)
    described: list[str] = []
    content_type = lane.content_type(head.fields)
    request = Request(head.method, lane.origin.scheme, lane.authority, target, content_type, b"", lane.base)
    if lane.scheme is not None and fate is Fate.REPLACED:
        picker = lane.credential.picker if lane.credential is not None else None
        if isinstance(picker, PerCaller):  # a request that does not say whom it is for is refused
            picker.pick(request, lambda name: value_of(head.fields.lines, name))
        described = describe(lane.scheme, request, _PLACEHOLDER, moment)
    line = described[0] if described else f"{_text(head.method)} {_text(target)} HTTP/1.1"
    yield _forwarded(line, lane)
    section = lane.section(head.fields, fate)
    if lane.learner is not None and lane.learner.wants_answer(request):
        section = readable(section)
    yield from _text(section).strip("\r\n").split("\r\n")
    yield from _login(lane)
    if upgrade := asked(head, lane.upgrades):
        yield from ("Connection: Upgrade", f"Upgrade: {_text(upgrade)}")
    credential = described[2:]  # without request line and Host
    yield from (line for line in credential if not line.startswith(_NOTES))
    notes = [line for line in credential if line.startswith(_NOTES)]
    if any(note.startswith(_NOTES[-1]) for note in notes):
        notes.append("No token was asked for: `ath` is a placeholder's.")
    if lane.varies:
        notes.append("Which token it is depends on the request; here a placeholder stands for all.")
    if fate is Fate.KEPT:
        notes.append("The app's own Authorization is kept (on_client_authorization: keep).")
    if notes:
        yield ""
        yield from notes


def _text(octets: bytes) -> str:
    return octets.decode("utf-8", "backslashreplace")
