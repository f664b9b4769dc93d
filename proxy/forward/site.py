"""What one configuration says about requests, and the first questions that each is asked: may it come in, and where to?"""

from __future__ import annotations

from proxy.config import schema
from proxy.errors import RequestDenied
from proxy.forward.lane import Lane
from proxy.http1.host import HostGuard
from proxy.http1.request import RequestHead
from proxy.http1.target import Form, form_of, split_absolute
from proxy.routes import Routes

_OWN_SITES = frozenset({b"same-origin", b"none"})
_SLASH = 0x2F


class Site:
    """Frozen: a reload makes a new one, and requests in flight finish with the old."""

    def __init__(self, limits: schema.Limits, hosts: HostGuard, routes: Routes[Lane], *, scheme: bytes = b"http") -> None:
        self.limits = limits
        self.hosts = hosts
        self.routes = routes
        self.scheme = scheme

    def admit(self, head: RequestHead) -> tuple[Lane, bytes]:
        """The request's lane, and its target in origin-form (or `*`).

        Raises MalformedRequest, RequestDenied, NoRoute, RouteMethodRefused.
        """
        fields, target = head.fields, head.target
        host = fields.host
        if target[0] != _SLASH:
            form = form_of(head.method, target)
            if form is Form.ABSOLUTE:
                _, host, target = split_absolute(target, method=head.method)
        if host is not None and not self.hosts.allows(host):
            raise RequestDenied("This Host is not allowed here")
        if b"sec-fetch-site" in fields.found or b"origin" in fields.found:
            self._refuse_cross_site(head, host)
        path = b"/" if target == b"*" else target.partition(b"?")[0]
        return self.routes.find(path, host, head.method), target

    def _refuse_cross_site(self, head: RequestHead, host: bytes | None) -> None:
        """A page that the user has open must not spend the sidecar's credentials (Fetch Metadata, RFC 6454)."""
        found = head.fields.found
        sites = found.get(b"sec-fetch-site")
        if sites is not None:
            if not set(sites) <= _OWN_SITES:
                raise RequestDenied("Cross-site browser requests are not allowed on this route")
        elif found[b"origin"] != [self.scheme + b"://" + (host or b"")]:
            raise RequestDenied("Cross-site browser requests are not allowed on this route")
