"""May it come in, and where to?"""

from __future__ import annotations

import itertools
import os
import random
import socket
from typing import Any

import pytest
from support.front import Gate, request
from support.tls import Authority

from proxy.config import schema
from proxy.forward import router as proxy_router
from proxy.forward.caller_guard import CallerGuard
from proxy.http1.request import RequestFields
from proxy.routes import Routes


@pytest.mark.parametrize(
    ("target", "host", "status"),
    [
        ("/crm", "localhost", 200),
        ("/crm", "LOCALHOST:9", 200),
        ("/crm", "127.0.0.1:8080", 200),
        ("/crm", "evil.example", 403),
        ("/crm", "localhost.evil.example", 403),
        ("/crm", "a/b@localhost", 400),
        ("/crm", "localhost,evil.example", 400),
        ("/crm", "", 400),
        ("http://localhost/crm", "evil.example", 200),
        ("http://evil.example/crm", "localhost", 403),
        ("http://localhost@evil.example/crm", "localhost", 400),
        ("ftp://localhost/crm", "localhost", 400),
        ("crm", "localhost", 400),
        ("/crm#x", "localhost", 400),
        ("*", "localhost", 400),
    ],
)
async def test_only_allowed_hosts_come_in_whatever_form_the_target_has(upstream, target, host, status):
    """Rows 9, 10 and 11."""
    octets = f"GET {target} HTTP/1.1\r\nHost: {host}\r\n\r\n".encode()
    async with Gate(upstream.url) as gate:
        assert (await gate.ask(octets)).status == status
    assert len(upstream.requests) == (status == 200)
    for one in upstream.requests:
        assert one.field(b"host") == upstream.authority.encode()


async def test_hosts_tell_routes_apart(upstream):
    one = {"match": schema.Match(path="/crm", host="one.example"), "tokens": None}
    async with Gate(upstream.url, hosts=("localhost", "one.example"), more_routes=(one,)) as gate:
        await gate.ask(request())
        await gate.ask(request().replace(b"localhost", b"one.example"))
        await gate.ask(b"GET http://one.example/crm HTTP/1.1\r\nHost: localhost\r\n\r\n")
    assert [one.field(b"authorization") is None for one in upstream.requests] == [False, True, True]


async def test_without_names_any_host_may_come(upstream):
    async with Gate(upstream.url, hosts=()) as gate:
        assert (await gate.ask(request().replace(b"localhost", b"any.example"))).status == 200


async def test_a_site_with_other_routes_is_the_same_in_all_else(upstream):
    async with Gate(upstream.url) as gate:
        site = gate.front.site
        other = site.with_routes(Routes([]))
        assert (other.limits, other.hosts, other.callers) == (site.limits, site.hosts, site.callers)
        assert other.routes is not site.routes
        gate.front.swap(other, gate.pools.values())
        assert (await gate.ask(request())).status == 404


HOSTS_OF_SOCKETS = ["docker", "sidecar", "", "/run/side.sock", "%2Frun%2Fside.sock", "a b", "evil.example:99999", "a,b"]


@pytest.mark.parametrize("host", HOSTS_OF_SOCKETS)
async def test_over_a_unix_socket_host_may_say_anything_and_over_tcp_it_may_not(upstream, tmp_path, host):
    """Nobody can be rebound to a file. The fields are the same octets, and remembered by them."""
    octets = f"GET /crm HTTP/1.1\r\nHost: {host}\r\n\r\n".encode()
    async with Gate(upstream.url, address=f"unix:{tmp_path}/s") as unix, Gate(upstream.url) as tcp:
        for _ in range(3):
            assert (await unix.ask(octets)).status == 200
            assert (await tcp.ask(octets)).status in (400, 403)
        absolute = f"GET http://docker/crm HTTP/1.1\r\nHost: {host}\r\n\r\n".encode()
        assert (await unix.ask(absolute)).status == 200
        assert (await tcp.ask(absolute)).status in (400, 403)
        assert (await tcp.ask(absolute.replace(b"docker/", b"localhost/"))).status == (
            200 if host in ("docker", "sidecar", "%2Frun%2Fside.sock") else 400
        )
        assert (await unix.ask(b"GET /crm HTTP/1.1\r\n\r\n")).status == 400
        assert (await unix.ask(octets.replace(b"\r\n\r\n", b"\r\nHost: a\r\n\r\n"))).status == 400
    assert {one.field(b"host") for one in upstream.requests} == {upstream.authority.encode()}


async def test_over_a_unix_socket_a_host_that_is_none_matches_no_route_that_names_one(upstream, tmp_path):
    one = {"match": schema.Match(path="/crm", host="one.example"), "tokens": None}
    async with Gate(upstream.url, address=f"unix:{tmp_path}/s", more_routes=(one,)) as gate:
        for host in (b"one.example", b"", b"/run/s"):
            assert (await gate.ask(b"GET /crm HTTP/1.1\r\nHost: " + host + b"\r\n\r\n")).status == 200
    assert [one.field(b"authorization") is None for one in upstream.requests] == [True, False, False]


@pytest.mark.parametrize("ours", [True, False])
async def test_tls_over_a_unix_socket_hides_nobody(upstream, tmp_path, ours):
    authority = Authority()
    callers = CallerGuard(None, frozenset({os.getuid() if ours else os.getuid() + 1}))
    gate = Gate(upstream.url, address=f"unix:{tmp_path}/s", tls=authority.server_context(), callers=callers)
    async with gate, gate.client(ssl=authority.client_context(), server_hostname="localhost") as client:
        assert (await client.ask(request().replace(b"localhost", b"sidecar"))).status == (200 if ours else 403)


async def test_where_the_system_does_not_say_who_a_user_is_nobody_is_let_in(upstream, tmp_path, monkeypatch):
    def silent(_: socket.socket) -> int:
        raise OSError

    monkeypatch.setattr(proxy_router, "peer_uid", silent)
    async with Gate(
        upstream.url, address=f"unix:{tmp_path}/s", callers=CallerGuard(None, frozenset({os.getuid()}))
    ) as gate:
        assert (await gate.ask(request())).status == 403


@pytest.mark.parametrize("method", ["HEAD", "GET"])
async def test_a_route_for_get_answers_head(upstream, method):
    async with Gate(upstream.url, route={"match": schema.Match(path="/crm", methods=("GET",))}) as gate:
        assert (await gate.ask(request(method, "/crm"))).status == 200
        assert (await gate.ask(request("OPTIONS", "/crm"))).status == 405
    assert [one.line.split()[0] for one in upstream.requests] == [method.encode()]


# ---- nothing passes before its caller did ----------------------------------------------------------------------------

PAGE = "https://app.example"
SHARED = schema.Cors(allow_origins=(PAGE,))
PLACES: dict[str, tuple[bool, tuple[str, ...] | None]] = {
    "/open": (False, None),
    "/cors": (True, None),
    "/get": (False, ("GET",)),
    "/corsget": (True, ("GET",)),
    "/corsopt": (True, ("OPTIONS", "PUT")),
}
"""By path: whether pages of another site may use it, and the methods that it takes."""

SHOWN = [
    ((), False),
    (("Authorization: Bearer phantom",), True),
    (("Proxy-Authorization: bearer phantom",), True),
    (("Authorization: Bearer wrong",), False),
    (("Authorization: Bearer phantom", "Authorization: Bearer wrong"), False),
    (("Authorization: Basic phantom",), False),
    (("Proxy_Authorization: Bearer phantom",), False),
    (("X-Authorization: Bearer phantom",), False),
]
LISTENERS = ["tcp", "ours", "theirs", "cannot ask"]
ORIGINS = [(), ("http://localhost",), (PAGE,), ("https://evil.example",), ("null",), (PAGE, PAGE)]
SITES = [(), ("none",), ("same-origin",), ("same-site",), ("cross-site",), ("none", "cross-site"), ("",)]
WANTED = [(), ("GET",), ("PUT",), ("DELETE",), ("",), ("GET", "PUT")]
METHODS = ["GET", "HEAD", "POST", "PUT", "OPTIONS", "DELETE"]
TARGETS = ["{}", "{}/x", "{}?a=b", "http://localhost{}/x", "http://evil.example{}"]


class Watched(CallerGuard):
    """Counts whom it let in."""

    let_in = 0

    def check(self, fields: RequestFields, uid: int | None) -> RequestFields:
        cleared = super().check(fields, uid)
        self.let_in += 1
        return cleared


def takes(path: str, method: str) -> bool:
    methods = PLACES[path][1] if path in PLACES else ()
    return methods is None or method in methods or (method == "HEAD" and "GET" in methods)


def expected(listener: str, path: str, target: str, method: str, origin, fetch_site, wanted, shown) -> str:
    """What becomes of a request, from the contract."""
    if "evil" in target and listener in ("tcp", "cannot ask"):
        return "refused"
    own = "http://evil.example" if "evil" in target else "http://localhost"
    cross = not set(fetch_site) <= {"none", "same-origin"} if fetch_site else origin not in ((), (own,))
    shared = path in PLACES and PLACES[path][0] and origin == (PAGE,)
    asks = method == "OPTIONS" and len(origin) == 1 and len(wanted) == 1 and wanted != ("",)
    if cross and asks and shared and takes(path, wanted[0]):
        return "answered"
    allowed = {"tcp": shown, "ours": True, "theirs": False, "cannot ask": False}[listener]
    return "sent" if allowed and takes(path, method) and (shared or not cross) else "refused"


@pytest.mark.parametrize("listener", LISTENERS)
async def test_no_octet_reaches_an_upstream_before_its_caller_was_let_in(upstream, tmp_path, listener):
    uids = {"tcp": {os.getuid()}, "ours": {os.getuid()}, "theirs": {os.getuid() + 1}, "cannot ask": {os.getuid()}}[
        listener
    ]
    callers = Watched(None if listener == "cannot ask" else (lambda: "phantom"), frozenset(uids))
    early: list[int] = []

    def answer(_: Any) -> tuple[bytes]:
        if len(upstream.requests) > callers.let_in:
            early.append(len(upstream.requests))
        return (b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",)

    upstream.answer = answer
    routes = [
        {"match": schema.Match(path=path, methods=methods), **({"cors": SHARED} if shared else {})}
        for path, (shared, methods) in PLACES.items()
    ]
    address = "127.0.0.1:0" if listener in ("tcp", "cannot ask") else f"unix:{tmp_path}/s"
    gate = Gate(upstream.url, route=routes[0], more_routes=tuple(routes[1:]), address=address, callers=callers)
    every = list(itertools.product([*PLACES, "/nowhere"], TARGETS, METHODS, ORIGINS, SITES, WANTED, SHOWN))
    seen = dict.fromkeys(("answered", "sent", "refused"), 0)
    async with gate, gate.client() as client:
        for path, target, method, origin, fetch_site, wanted, (lines, shown) in random.Random(listener).sample(
            every, 4000
        ):
            fields = [f"Origin: {one}" for one in origin] + [f"Sec-Fetch-Site: {one}" for one in fetch_site]
            fields += [f"Access-Control-Request-Method: {one}" for one in wanted] + [*lines]
            before = len(upstream.requests)
            told = await client.ask(request(method, target.format(path), *fields))
            became = "sent" if len(upstream.requests) > before else "answered" if told.status == 204 else "refused"
            case = (listener, path, target, method, origin, fetch_site, wanted, shown)
            assert became == expected(*case), (case, told.status)
            assert (told.status < 300) is (became != "refused")
            seen[became] += 1
            if became == "sent":
                assert upstream.requests[-1].line.split()[0] == method.encode()
                assert b"phantom" not in upstream.requests[-1].head
    assert early == []
    assert seen["answered"] > 0
    assert (seen["sent"] > 0) is (listener in ("tcp", "ours"))
