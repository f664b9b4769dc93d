"""Routes and requests as the data path sees them, without any connection."""

from __future__ import annotations

from proxy.assembly.live_routes import origins_of
from proxy.clock import SystemClock
from proxy.config import schema
from proxy.forward.dial import Dialler
from proxy.forward.live_route import LiveRoute
from proxy.forward.outgoing_request import OutgoingRequest
from proxy.forward.pool import Pool
from proxy.forward.router import RouteMatch
from proxy.http1.answer import read_answer
from proxy.http1.request import read_request
from proxy.stats import RouteStats
from proxy.tokens.credential import Credential
from support.front import ScriptedTokens, request


def pool_of(origin):
    return Pool(Dialler(origin), 1000, 10, SystemClock())


def live_route_of(scheme=None, *, observer=None, tokens=None, **route):
    """A route of `/crm` to http://a.example/v1."""
    given = {"match": schema.Match(path="/crm"), "upstream": "http://a.example/v1", **route}
    made = schema.Route(**given)
    origin, tunnels = origins_of(made)
    credential = None
    if scheme is not None:
        credential = Credential("c", "oauth2", scheme, tokens or ScriptedTokens("t"), observer=observer)
    live_route = LiveRoute(made, "crm", pool_of(origin), RouteStats(), credential, [])
    if tunnels is not None:
        live_route.connecting(pool_of(tunnels))
    return live_route


def head_of(*fields, method="GET", target="/crm/x", body=b"", version=b"1.1"):
    octets = request(method, target, *fields, body=body).replace(b"HTTP/1.1", b"HTTP/" + version, 1)
    head = read_request(octets, 0, 32768, 200)
    assert head is not None
    return head


def outgoing(live_route, head, body=None, *, readers=None, host=b"localhost"):
    """A request on its way out over that route."""
    admitted = RouteMatch(live_route, head, head.target, host, readers)
    return OutgoingRequest(admitted, head, live_route, body, live_route.target(head.target))


def answer_of(*fields, status="200 OK", version="1.1"):
    head = read_answer("\r\n".join([f"HTTP/{version} {status}", *fields, "", ""]).encode(), 0, 32768, 200)
    assert head is not None
    return head
