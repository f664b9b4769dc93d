"""What a route does to a request's head, octet for octet."""

from __future__ import annotations

import pytest
from support.front import Gate, request

from proxy.auth.dpop import DpopScheme
from proxy.auth.dpop_key import DpopKey, DpopKeys
from proxy.auth.query import QueryScheme
from proxy.clock import SystemClock
from proxy.config import schema
from proxy.forward.dial import Dialler, Origin
from proxy.forward.pool import Pool
from proxy.model import Token


async def head_of(upstream, octets: bytes, **gate) -> bytes:
    async with Gate(upstream.url, **{"credential": False, **gate}) as running:
        answer = await running.ask(octets)
    assert answer.status == 200, answer.raw
    return upstream.requests[-1].head


@pytest.mark.parametrize(
    ("base", "strip", "target", "sent"),
    [
        ("/v2", True, "/crm", "/v2"),
        ("/v2", True, "/crm/", "/v2/"),
        ("/v2/", True, "/crm/x", "/v2/x"),
        ("/v2", True, "/crm?x", "/v2?x"),
        ("", True, "/crm", "/"),
        ("", True, "/crm?x", "/?x"),
        ("", True, "/crm//x", "//x"),
        ("/v2", False, "/crm/x", "/v2/crm/x"),
        ("", True, "/crm/a?", "/a?"),
        ("", True, '/crm/a%2Fb/%2e%2e/c?x=%41|"&&=&x=%41', '/a%2Fb/%2e%2e/c?x=%41|"&&=&x=%41'),
        ("", True, "/crm/\xff\xfe?\xe9", "/\xff\xfe?\xe9"),
        ("", True, "/crm/..a/.b./%2Fetc", "/..a/.b./%2Fetc"),
        ("", True, "http://localhost/crm/x?y", "/x?y"),
        ("/v2", True, "/crm//evil.example/x", "/v2//evil.example/x"),
        ("", True, "/crm@evil.example", None),
        ("", True, "/crmx", None),
    ],
)
async def test_the_target_after_the_prefix_goes_out_as_it_came(upstream, base, strip, target, sent):
    """Rows 11, 12, 16, 17 and 18."""
    async with Gate(upstream.url + base, route={"strip_prefix": strip}, credential=False) as gate:
        answer = await gate.ask(request("GET", target))
    if sent is None:
        assert answer.status == 404
        assert upstream.requests == []
    else:
        assert upstream.requests[0].target == sent.encode("latin-1")
        assert upstream.requests[0].field(b"host") == upstream.authority.encode()


@pytest.mark.parametrize(
    "path",
    [
        "/../x",
        "/%2e%2e/x",
        "/.%2E/x",
        "/a/../../x",
        "/%252e%252e/x",
        "/..;a/x",
        "/..%2fx",
        "/..%5cx",
        "/..\\x",
        "/a%2f..%2f../x",
    ],
)
async def test_a_path_that_would_leave_its_prefix_reaches_no_upstream(upstream, path):
    """Row 19."""
    async with Gate(upstream.url) as gate:
        assert (await gate.ask(request("GET", "/crm" + path))).status == 400
    assert upstream.requests == []


async def test_options_for_the_server_as_a_whole_goes_on_as_such(upstream):
    """Row 11."""
    route = {"match": schema.Match(path="/")}
    head = await head_of(upstream, b"OPTIONS * HTTP/1.1\r\nHost: localhost\r\n\r\n", route=route)
    assert head.startswith(b"OPTIONS * HTTP/1.1\r\n")


async def test_order_spelling_octets_and_duplicates_of_fields_stay(upstream):
    """Rows 20, 21, 22, 24 and 27."""
    lines = (
        b"accept-LANGUAGE: de\r\nX-B: caf\xe9-\xff end\r\nCookie: a=1\r\ncookie: b=2\r\nX-Empty:\r\nX-B:\ttwo \t\r\n"
        b"Accept-Encoding: br, gzip\r\nX-Forwarded-For: 1.2.3.4\r\ntraceparent: 00-a-b-01\r\n"
        b"Max-Forwards: 0\r\nVia: 1.0 x\r\n"
    )
    head = await head_of(upstream, b"FOO-bar /crm HTTP/1.1\r\n" + lines + b"Host: localhost\r\nZ: z\r\n\r\n")
    host = b"Host: " + upstream.authority.encode() + b"\r\n"
    assert head == b"FOO-bar / HTTP/1.1\r\n" + lines + host + b"Z: z\r\n\r\n"


async def test_hop_by_hop_fields_and_what_connection_nominates_are_dropped(upstream):
    """Row 25."""
    fields = [
        "Connection: keep-alive, X-Gone", "connection: x-gone-too", "X-Gone: 1", "X-GONE-TOO: 2", "Keep-Alive: 5",
        "Proxy-Connection: x", "Proxy-Authenticate: x", "Proxy-Authorization: x", "TE: trailers", "Upgrade: h2c",
        "X: 1",
    ]  # fmt: skip
    head = await head_of(upstream, request("GET", "/crm", *fields))
    assert [line.split(b":")[0] for line in head.split(b"\r\n")[1:-2]] == [b"Host", b"X"]


@pytest.mark.parametrize("name", ["Host", "Content-Length", "Authorization", "Cookie"])
async def test_connection_cannot_nominate_what_is_not_its_own(upstream, name):
    """Row 25."""
    async with Gate(upstream.url) as gate:
        assert (await gate.ask(request("GET", "/crm", f"Connection: {name}"))).status == 400
    assert upstream.requests == []


async def test_copies_of_injected_fields_and_their_aliases_are_dropped_before(upstream):
    """Rows 15 and 25."""
    fields = ("authorization: a", "AUTHORIZATION: b", "X_key: c", "x-Key: d", "Connection: X-Key", "X-Keys: kept")
    head = await head_of(upstream, request("GET", "/crm", *fields), credential=True, set_fields={"X-Key": "ours"})
    assert head.endswith(b"\r\nX-Keys: kept\r\nX-Key: ours\r\nAuthorization: Bearer t0ken\r\n\r\n")
    assert head.count(b"\r\n") == 6


async def test_fields_to_remove_are_removed_with_their_aliases(upstream):
    route = {"headers": schema.HeaderEdits(remove=("Cookie", "X-Trace-Id"))}
    head = await head_of(upstream, request("GET", "/crm", "Cookie: a", "x_trace_id: b", "X-Trace: c"), route=route)
    assert [line.split(b":")[0] for line in head.split(b"\r\n")[1:-2]] == [b"Host", b"X-Trace"]


async def test_a_set_value_that_would_bend_the_head_sends_nothing(upstream):
    async with Gate(upstream.url, set_fields={"X-Key": "a\r\nX-Evil: b"}) as gate:
        answer = await gate.ask(request())
    assert answer.status == 502
    assert upstream.requests == []


async def test_a_parameter_with_the_credential_replaces_the_apps_own(upstream):
    head = await head_of(
        upstream, request("GET", "/crm/x?key=mine&a=1&k%65y=too&keys=2"), credential=True, scheme=QueryScheme("key")
    )
    assert head.startswith(b"GET /x?a=1&keys=2&key=t0ken HTTP/1.1\r\n")


@pytest.mark.parametrize(
    ("choice", "status", "sent"), [("replace", 200, b"Bearer t0ken"), ("keep", 200, b"mine"), ("reject", 403, None)]
)
async def test_an_authorization_of_the_apps_own(upstream, choice, status, sent):
    async with Gate(upstream.url, route={"on_client_authorization": choice}) as gate:
        assert (await gate.ask(request("GET", "/crm", "Authorization: mine"))).status == status
        assert (await gate.ask(request("GET", "/crm"))).status == 200
    assert [one.field(b"authorization") for one in upstream.requests] == [one for one in (sent, b"Bearer t0ken") if one]


async def test_a_proof_of_the_apps_own_stays_beside_the_authorization_that_is_kept(upstream):
    """RFC 9449 §7.1: a bound token is worth nothing without its proof. Without a token of the app's, its proof goes."""
    scheme = DpopScheme(DpopKeys(DpopKey.generate()))
    async with Gate(upstream.url, scheme=scheme, route={"on_client_authorization": "keep"}) as gate:
        await gate.ask(request("GET", "/crm", "Authorization: DPoP mine", "DPoP: mine"))
        await gate.ask(request("GET", "/crm", "DPoP: mine"))
    kept, replaced = upstream.requests
    assert (kept.field(b"authorization"), kept.field(b"dpop")) == (b"DPoP mine", b"mine")
    assert replaced.field(b"authorization") == b"DPoP t0ken"
    assert replaced.head.count(b"DPoP: ") == 1
    assert replaced.field(b"dpop") != b"mine"


async def test_a_trailer_cannot_stand_for_what_is_injected(upstream):
    """Row 1."""
    octets = b"POST /crm HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n0\r\n"
    async with Gate(upstream.url, set_fields={"X-Key": "ours"}) as gate, gate.client() as client:
        await client.ask(octets + b"X_Key: evil\r\nAuthorization: evil\r\nContent-Length: 9\r\nX-Sum: 1\r\n\r\n")
        await client.ask(request())
    assert upstream.requests[0].raw_body == b"1\r\na\r\n0\r\nX-Sum: 1\r\n\r\n"
    assert upstream.requests[1].field(b"x-sum") is None


async def test_a_route_that_is_led_elsewhere_keeps_its_counters_and_nothing_of_the_upstream():
    async with Gate("http://127.0.0.1:1/v1", route={"limits": schema.RouteLimits(rate=schema.Rate(5))}) as gate:
        live_route = gate.live_route
        live_route.signed_token, live_route.credential_octets = Token(access_token="x"), b"Authorization: x\r\n"
        elsewhere = live_route.towards(
            Pool(Dialler(Origin("https", "b.example", 443, 1.0)), 1000, 10, SystemClock()), b"/v2"
        )
    assert (live_route.authority, live_route.target(b"/crm/x")) == (b"127.0.0.1:1", b"/v1/x")
    assert (elsewhere.authority, elsewhere.target(b"/crm/x")) == (b"b.example", b"/v2/x")
    assert elsewhere.origin.scheme == "https"
    assert (elsewhere.signed_token, elsewhere.credential_octets) == (None, b"")
    assert elsewhere.stats is live_route.stats
    assert elsewhere.rate is live_route.rate
    assert elsewhere.renewal_hold is live_route.renewal_hold
