"""What one configuration says about requests, and what each is asked first: may it come in, and where to."""

from __future__ import annotations

import asyncio
import socket
from dataclasses import dataclass

from msgspec import Struct

from proxy.config import schema
from proxy.errors import ProxyError, RequestDenied
from proxy.forward.caller_guard import CallerGuard
from proxy.forward.cors import NO_PAGE, Readers
from proxy.forward.live_route import LiveRoute
from proxy.http1.cross_site import is_cross_site, wanted_method
from proxy.http1.host import HostGuard
from proxy.http1.request import RequestHead
from proxy.http1.target import Form, form_of, split_absolute
from proxy.peer import peer_uid
from proxy.routes import Routes

_SLASH = 0x2F


@dataclass(frozen=True, slots=True)
class Peer:
    """What is known of a connection.

    `scheme`: http or https; `unix`: over a unix socket; `uid`: of the user at the other end of it.
    """

    scheme: bytes = b"http"
    unix: bool = False
    uid: int | None = None


PLAIN = Peer()
_TLS = Peer(b"https")


def peer_of(transport: asyncio.BaseTransport) -> Peer:
    """Who is at the other end."""
    tls = transport.get_extra_info("ssl_object") is not None
    handle = transport.get_extra_info("socket")
    if handle is not None and handle.family == socket.AF_UNIX:
        return Peer(b"https" if tls else b"http", unix=True, uid=_uid(handle))
    return _TLS if tls else PLAIN


def _uid(handle: socket.socket) -> int | None:
    try:
        return peer_uid(handle)
    except OSError:  # nobody tells, and so nobody is let in for who it is
        return None


class RouteMatch(Struct, gc=False):
    """A request that may come in.

    `head`: without what was for us; `target` in origin-form (or `*`); `host`: what the app calls us, if it is a host;
    `readers`: who may read the answer, where the route says so; `preflight`: the answer to a preflight, which is
    answered here and by nobody else.
    """

    route: LiveRoute
    head: RequestHead
    target: bytes
    host: bytes | None
    readers: Readers | None = None
    preflight: bytes | None = None


class Router:
    """Frozen: a reload makes a new one, and requests in flight finish with the old."""

    def __init__(
        self, limits: schema.Limits, hosts: HostGuard, routes: Routes[LiveRoute], callers: CallerGuard | None = None
    ) -> None:
        self.limits = limits
        self.hosts = hosts
        self.routes = routes
        self.callers = callers

    def with_routes(self, routes: Routes[LiveRoute]) -> Router:
        """The same, but for where requests go."""
        return Router(self.limits, self.hosts, routes, self.callers)

    def admit(self, head: RequestHead, peer: Peer) -> RouteMatch:
        """A preflight is answered here, or the request is an ordinary one, which always passes `callers`.

        Raises MalformedRequest, RequestDenied, CallerUnknown, NoRoute, RouteMethodRefused.
        """
        fields, target, method = head.fields, head.target, head.method
        found = fields.found
        host = None if fields.odd_host else fields.host
        if target[0] != _SLASH and form_of(method, target) is Form.ABSOLUTE:
            _, host, target = split_absolute(target, method=method)
        if host is not None and not peer.unix and not self.hosts.allows(host):  # who reaches a file cannot be rebound
            raise RequestDenied("This Host is not allowed here")
        path = b"/" if target == b"*" else target.partition(b"?")[0]
        if b"origin" in found or b"sec-fetch-site" in found:
            return self._admit_from_browser(head, peer, host, target, path)
        if self.callers is not None:
            head = self._checked(head, peer, self.callers)
        route = self.routes.find(path, host, method)
        return RouteMatch(route, head, target, host, route.readers)

    def _admit_from_browser(
        self, head: RequestHead, peer: Peer, host: bytes | None, target: bytes, path: bytes
    ) -> RouteMatch:
        found = head.fields.found
        cross_site = is_cross_site(found, _origin(peer, host))
        if cross_site and (wanted := wanted_method(head)) is not None:
            route = self.routes.get(path, host, wanted)
            origin = route.cors.allows(found) if route is not None and route.cors is not None else None
            if route is not None and route.cors is not None and origin is not None:
                answer = route.cors.preflight_answer(found, origin, wanted)  # it brings no credential (Fetch §4.8)
                return RouteMatch(route, head, target, host, route.readers, answer)
        if self.callers is not None:
            head = self._checked(head, peer, self.callers)
        route = self.routes.find(path, host, head.method)
        readers = route.readers
        if cross_site:
            origin = route.cors.allows(found) if route.cors is not None else None
            if route.cors is None or origin is None:
                raise RequestDenied("Cross-site browser requests are not allowed on this route")
            readers = route.cors.readers(origin)
        return RouteMatch(route, head, target, host, readers)

    @staticmethod
    def _checked(head: RequestHead, peer: Peer, callers: CallerGuard) -> RequestHead:
        fields = callers.check(head.fields, peer.uid)
        return head if fields is head.fields else RequestHead(head.method, head.target, fields, head.size)

    def readers(self, head: RequestHead, peer: Peer) -> Readers | None:
        """Who may read why a request was refused that was not admitted: a page that may use the route, at most."""
        found, target = head.fields.found, head.target
        host = None if head.fields.odd_host else head.fields.host
        try:
            if form_of(head.method, target) is Form.ABSOLUTE:
                _, host, target = split_absolute(target, method=head.method)
            if host is not None and not peer.unix and not self.hosts.allows(host):
                return None
            path = b"/" if target == b"*" else target.partition(b"?")[0]
            route = self.routes.get(path, host, head.method)
            live_routes = [route] if route is not None else self.routes.at(path, host)
        except ProxyError:
            return None
        shared = [route.cors for route in live_routes if route.cors is not None]
        if is_cross_site(found, _origin(peer, host)):
            for cors in shared:
                if (origin := cors.allows(found)) is not None:
                    return cors.readers(origin)
        return NO_PAGE if shared else None


def _origin(peer: Peer, host: bytes | None) -> bytes:
    """Ours, as the app calls us."""
    return peer.scheme + b"://" + (host or b"")
