"""What one configuration says about requests, and what each is asked first: may it come in, and where to."""

from __future__ import annotations

import asyncio
import socket
from dataclasses import dataclass

from msgspec import Struct

from proxy.config import schema
from proxy.errors import RequestDenied
from proxy.forward.callers import Callers
from proxy.forward.cross_site import allowed_origin, is_cross_site, is_preflight
from proxy.forward.lane import Lane
from proxy.http1.host import HostGuard
from proxy.http1.request import RequestHead
from proxy.http1.target import Form, form_of, split_absolute
from proxy.peer import peer_uid
from proxy.routes import Routes

_SLASH = 0x2F


@dataclass(frozen=True, slots=True)
class Peer:
    """What is known of a connection. `scheme`: http or https; `uid`: of the user at the other end of a unix socket."""

    scheme: bytes = b"http"
    uid: int | None = None


PLAIN = Peer()
_TLS = Peer(b"https")


def peer_of(transport: asyncio.BaseTransport) -> Peer:
    """Who is at the other end."""
    if transport.get_extra_info("ssl_object") is not None:
        return _TLS
    handle = transport.get_extra_info("socket")
    if handle is not None and handle.family == socket.AF_UNIX:
        return Peer(b"http", peer_uid(handle))
    return PLAIN


class Admitted(Struct, gc=False):
    """A request that may come in.

    `target` in origin-form (or `*`); `origin`: of the page that it is made for, where that is another site's; `spent`:
    its Authorization was for us.
    """

    lane: Lane
    target: bytes
    origin: bytes | None = None
    spent: bool = False


class Site:
    """Frozen: a reload makes a new one, and requests in flight finish with the old."""

    def __init__(
        self, limits: schema.Limits, hosts: HostGuard, routes: Routes[Lane], callers: Callers | None = None
    ) -> None:
        self.limits = limits
        self.hosts = hosts
        self.routes = routes
        self.callers = callers

    def with_routes(self, routes: Routes[Lane]) -> Site:
        """The same, but for where requests go."""
        return Site(self.limits, self.hosts, routes, self.callers)

    def admit(self, head: RequestHead, peer: Peer) -> Admitted:
        """Raises MalformedRequest, RequestDenied, CallerUnknown, NoRoute, RouteMethodRefused."""
        fields, target, method = head.fields, head.target, head.method
        found = fields.found
        host = fields.host
        if target[0] != _SLASH and form_of(method, target) is Form.ABSOLUTE:
            _, host, target = split_absolute(target, method=method)
        if host is not None and not self.hosts.allows(host):
            raise RequestDenied("This Host is not allowed here")
        if b"origin" in found or b"sec-fetch-site" in found:
            return self._admit_from_browser(head, peer, host, target)
        spent = self.callers is not None and self.callers.check(found, peer.uid)
        path = b"/" if target == b"*" else target.partition(b"?")[0]
        return Admitted(self.routes.find(path, host, method), target, None, spent)

    def _admit_from_browser(self, head: RequestHead, peer: Peer, host: bytes | None, target: bytes) -> Admitted:
        found, method, spent = head.fields.found, head.method, False
        if is_preflight(head):
            method = found[b"access-control-request-method"][0]
        elif self.callers is not None:  # browsers send no credential with a preflight (Fetch §4.8)
            spent = self.callers.check(found, peer.uid)
        lane = self.routes.find(b"/" if target == b"*" else target.partition(b"?")[0], host, method)
        origin = None
        if is_cross_site(found, peer.scheme + b"://" + (host or b"")):
            origin = allowed_origin(found, lane.origins)
        return Admitted(lane, target, origin, spent)
