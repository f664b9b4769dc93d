"""The CORS protocol, spoken for the upstream."""

from __future__ import annotations

from typing import Any

import pytest
from support.front import Answer, Gate, request
from support.recording_upstream import ECHO

from proxy.config import schema
from proxy.forward.caller_guard import CallerGuard

CORS: dict[str, Any] = {"cors": schema.Cors(allow_origins=("https://app.example",))}
PAGE = ("Origin: https://app.example", "Sec-Fetch-Site: cross-site")
ASKS = ("Access-Control-Request-Method: PUT", "Access-Control-Request-Headers: x-a, content-type")


def cors(*origins: str, **more: Any) -> dict[str, Any]:
    return {"cors": schema.Cors(allow_origins=origins or ("https://app.example",), **more)}


def said(answer: Answer) -> dict[bytes, bytes]:
    """Every Access-Control field, each of which stands once."""
    lines = [line.partition(b": ") for line in answer.head.split(b"\r\n")]
    found = [
        (name.lower().removeprefix(b"access-control-"), value)
        for name, _, value in lines
        if b"access-control" in name.lower()
    ]
    assert len(dict(found)) == len(found)
    return dict(found)


@pytest.mark.parametrize(
    "fields", [("Origin: https://evil.example",), ("Sec-Fetch-Site: cross-site",), ("Origin: null",)]
)
async def test_without_cors_a_cross_site_request_is_refused(upstream, fields):
    async with Gate(upstream.url) as gate:
        answer = await gate.ask(request("GET", "/crm", *fields))
    assert answer.status == 403
    assert answer.field(b"proxy-status") == b"auth-sidecar; error=http_request_denied"
    assert upstream.requests == []


async def test_an_allowed_page_is_served_and_the_upstreams_own_word_does_not_count(upstream):
    upstream.answer = (
        b"HTTP/1.1 200 OK\r\nAccess-Control-Allow-Origin: *\r\nAccess-Control-Allow-Credentials: true\r\n"
        b"Content-Length: 2\r\n\r\nok"
    )
    async with Gate(upstream.url, route=CORS) as gate:
        answer = await gate.ask(request("GET", "/crm", *PAGE))
        other = await gate.ask(request("GET", "/crm", "Origin: https://evil.example"))
    assert answer.field(b"access-control-allow-origin") == b"https://app.example"
    assert answer.field(b"access-control-allow-credentials") is None
    assert answer.field(b"vary") == b"Origin"
    assert other.status == 403
    assert len(upstream.requests) == 1


async def test_a_preflight_is_answered_here(upstream):
    asks = ("Access-Control-Request-Method: PUT", "Access-Control-Request-Headers: x-a, content-type")
    async with Gate(upstream.url, route=CORS) as gate, gate.client() as client:
        answer = await client.ask(request("OPTIONS", "/crm/x", *PAGE, *asks))
        assert (answer.status, answer.body) == (204, b"")
        assert answer.field(b"access-control-allow-origin") == b"https://app.example"
        assert answer.field(b"access-control-allow-methods") == b"PUT"
        assert answer.field(b"access-control-allow-headers") == b"x-a, content-type"
        refused = await client.ask(request("OPTIONS", "/crm/x", "Origin: https://evil.example", *asks))
        assert refused.status == 403
    assert upstream.requests == []


async def test_a_preflight_is_judged_by_the_method_it_asks_for(upstream):
    route = {"match": schema.Match(path="/crm", methods=("PUT",)), **CORS}
    async with Gate(upstream.url, route=route) as gate:
        for method, status in (("PUT", 204), ("DELETE", 405)):
            answer = await gate.ask(request("OPTIONS", "/crm", *PAGE, f"Access-Control-Request-Method: {method}"))
            assert answer.status == status


async def test_every_answer_of_a_shared_route_says_that_it_depends_on_the_origin(upstream):
    """Whoever keeps an answer to one page must not give it to another (Fetch, "CORS protocol and HTTP caches")."""
    async with Gate(upstream.url, route=CORS) as gate, gate.client() as client:
        assert (await client.ask(request("GET", "/crm"))).field(b"vary") == b"Origin"
        assert (await client.ask(request("GET", "/crm", *PAGE))).field(b"vary") == b"Origin"


async def test_an_allowed_page_may_read_why_the_sidecar_refused_or_failed(upstream):
    """Without the field the page sees a failed network, and neither the status nor Retry-After."""
    upstream.answer = b"HTTP/9.9 nonsense\r\n\r\n"
    route = {"max_request_body": 1, **CORS}
    async with Gate(upstream.url, route=route) as gate:
        failed = await gate.ask(request("GET", "/crm", *PAGE))
        refused = await gate.ask(request("POST", "/crm", *PAGE, body=b"too long"))
        plain = await gate.ask(request("GET", "/crm"))
        other = await gate.ask(request("GET", "/crm", "Origin: https://evil.example"))
    assert [one.status for one in (failed, refused, plain, other)] == [502, 413, 502, 403]
    assert failed.field(b"access-control-allow-origin") == b"https://app.example"
    assert refused.field(b"access-control-allow-origin") == b"https://app.example"
    assert [one.field(b"vary") for one in (failed, refused, plain)] == [b"Origin"] * 3
    assert plain.field(b"access-control-allow-origin") is None
    assert other.field(b"access-control-allow-origin") is None


@pytest.mark.parametrize(
    ("more", "asked", "answered"),
    [
        ({}, ASKS, {b"allow-methods": b"PUT", b"allow-headers": b"x-a, content-type", b"max-age": b"600"}),
        ({}, ASKS[:1], {b"allow-methods": b"PUT", b"max-age": b"600"}),
        (
            {},
            (*ASKS, "Access-Control-Request-Headers: x-b"),
            {b"allow-methods": b"PUT", b"allow-headers": b"x-a, content-type, x-b", b"max-age": b"600"},
        ),
        (
            {"allow_credentials": True},
            ASKS,
            {
                b"allow-methods": b"PUT",
                b"allow-headers": b"x-a, content-type",
                b"max-age": b"600",
                b"allow-credentials": b"true",
            },
        ),
        (
            {"allow_headers": ("X-A", "X-B")},
            ASKS,
            {b"allow-methods": b"PUT", b"allow-headers": b"X-A, X-B", b"max-age": b"600"},
        ),
        ({"allow_headers": ()}, ASKS, {b"allow-methods": b"PUT", b"max-age": b"600"}),
        ({"max_age": schema.Duration(0)}, ASKS[:1], {b"allow-methods": b"PUT", b"max-age": b"0"}),
        (
            {"max_age": schema.Duration(86400.5), "expose_headers": ("X-Id",)},
            ASKS[:1],
            {b"allow-methods": b"PUT", b"max-age": b"86400"},
        ),
    ],
)
async def test_a_preflight_is_told_what_the_route_says(upstream, more, asked, answered):
    async with Gate(upstream.url, route=cors(**more)) as gate:
        answer = await gate.ask(request("OPTIONS", "/crm", *PAGE, *asked))
    assert answer.status == 204
    assert said(answer) == {b"allow-origin": b"https://app.example", **answered}
    assert answer.all(b"vary") == [b"Origin, Access-Control-Request-Method, Access-Control-Request-Headers"]
    assert upstream.requests == []


@pytest.mark.parametrize(
    ("more", "told"),
    [
        ({}, {}),
        ({"allow_credentials": True}, {b"allow-credentials": b"true"}),
        ({"expose_headers": ("X-Id", "Retry-After")}, {b"expose-headers": b"X-Id, Retry-After"}),
        ({"expose_headers": ("*",)}, {b"expose-headers": b"*"}),
        ({"allow_headers": ("X-A",), "max_age": schema.Duration(1)}, {}),
    ],
)
@pytest.mark.parametrize("failure", ["none", "upstream", "body"])
async def test_a_page_is_told_the_same_by_the_answer_and_by_our_own(upstream, more, told, failure):
    """The upstream's own word does not count, whichever field it says it in."""
    upstream.answer = (
        b"HTTP/1.1 200 OK\r\naccess-control-allow-origin: *\r\nACCESS-CONTROL-ALLOW-CREDENTIALS: true\r\nX-Id: 1\r\n"
        b"Access-Control-Expose-Headers: X-Secret\r\nAccess-Control-Allow-Headers: x\r\nAccess-Control-Max-Age: 9\r\n"
        b"Access-Control-Allow-Private-Network: true\r\nAccess-Control-New: 1\r\nVary: Accept\r\n"
        b"Content-Length: 2\r\n\r\nok"
    )
    if failure == "upstream":
        upstream.answer = b"nonsense\r\n\r\n"
    async with Gate(upstream.url, route={"max_request_body": 4, **cors(**more)}) as gate:
        answer = await gate.ask(request("POST", "/crm", *PAGE, body=b"long" * (2 if failure == "body" else 1)))
    assert answer.status == {"none": 200, "upstream": 502, "body": 413}[failure]
    assert said(answer) == {b"allow-origin": b"https://app.example", **told}
    assert b"Origin" in answer.all(b"vary")
    assert (answer.field(b"x-id") == b"1") is (failure == "none")


async def test_to_who_is_no_page_the_upstreams_own_word_passes(upstream):
    upstream.answer = b"HTTP/1.1 200 OK\r\nAccess-Control-Allow-Origin: *\r\nContent-Length: 0\r\n\r\n"
    async with Gate(upstream.url, route=CORS) as gate:
        answer = await gate.ask(request("GET", "/crm"))
    assert said(answer) == {b"allow-origin": b"*"}
    assert answer.field(b"vary") == b"Origin"


@pytest.mark.parametrize(
    ("allowed", "origin", "served"),
    [
        ("null", "null", True),
        ("https://app.example", "null", False),
        ("chrome-extension://abc", "chrome-extension://abc", True),
        ("chrome-extension://abc", "chrome-extension://abd", False),
        ("https://*.app.example", "https://a.b.app.example", True),
        ("https://*.app.example", "https://app.example", False),
        ("https://*.app.example", "https://evil.example/.app.example", False),
        ("https://app.example:443", "https://app.example", True),
        ("*", "null", True),
        ("*", "https://any.example", True),
    ],
)
@pytest.mark.parametrize("method", ["GET", "OPTIONS"])
async def test_the_page_that_asked_is_named_and_no_other(upstream, allowed, origin, served, method):
    asks = ASKS if method == "OPTIONS" else ()
    async with Gate(upstream.url, route=cors(allowed)) as gate:
        answer = await gate.ask(request(method, "/crm", f"Origin: {origin}", *asks))
    assert answer.status == ((204 if asks else 200) if served else 403)
    assert answer.field(b"access-control-allow-origin") == (origin.encode() if served else None)
    assert any(b"Origin" in one for one in answer.all(b"vary"))
    assert len(upstream.requests) == (served and not asks)


@pytest.mark.parametrize(
    "fields",
    [
        ("Sec-Fetch-Site: cross-site",),
        ("Sec-Fetch-Site: cross-site", *["Origin: https://app.example"] * 2),
        ("Sec-Fetch-Site: cross-site", "Origin: https://app.example, https://app.example"),
        ("Origin: ",),
    ],
)
async def test_a_page_that_does_not_say_who_it_is_may_not(upstream, fields):
    async with Gate(upstream.url, route=CORS) as gate:
        answer = await gate.ask(request("GET", "/crm", *fields))
    assert (answer.status, said(answer), answer.field(b"vary")) == (403, {}, b"Origin")
    assert upstream.requests == []


async def test_an_allowed_page_learns_that_it_must_say_who_it_is_and_any_other_does_not(upstream):
    gate = Gate(
        upstream.url,
        route=cors(allow_credentials=True),
        more_routes=({"match": schema.Match(path="/closed")},),
        callers=CallerGuard(lambda: "phantom", frozenset()),
    )
    async with gate:
        page = await gate.ask(request("GET", "/crm", *PAGE))
        other = await gate.ask(request("GET", "/crm", "Origin: https://evil.example"))
        plain = await gate.ask(request("GET", "/crm"))
        closed = await gate.ask(request("GET", "/closed", *PAGE))
        served = await gate.ask(request("GET", "/crm", *PAGE, "Authorization: Bearer phantom"))
    assert [one.status for one in (page, other, plain, closed, served)] == [401, 401, 401, 401, 200]
    named = {b"allow-origin": b"https://app.example", b"allow-credentials": b"true"}
    assert [said(one) for one in (page, other, plain, closed, served)] == [named, {}, {}, {}, named]
    assert [one.field(b"vary") for one in (page, other, plain, closed)] == [b"Origin", b"Origin", b"Origin", None]


async def test_a_method_that_no_route_takes_is_refused_readably(upstream):
    route = {"match": schema.Match(path="/crm", methods=("GET",)), **CORS}
    async with Gate(upstream.url, route=route) as gate:
        answer = await gate.ask(request("POST", "/crm", *PAGE))
        evil = await gate.ask(request("POST", "/crm", "Origin: https://evil.example"))
        host = await gate.ask(request("GET", "/crm", *PAGE).replace(b"localhost", b"evil.example"))
    assert (answer.status, answer.field(b"allow")) == (405, b"GET, HEAD")
    assert said(answer) == {b"allow-origin": b"https://app.example"}
    assert (evil.status, said(evil)) == (405, {})
    assert (host.status, said(host)) == (403, {})


async def test_a_preflight_keeps_the_connection_where_the_app_does(upstream):
    asked = request("OPTIONS", "/crm", *PAGE, *ASKS)
    async with Gate(upstream.url, route=CORS) as gate:
        async with gate.client() as client:
            assert (await client.ask(asked)).field(b"connection") is None
            assert (await client.ask(asked.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n"))).field(
                b"connection"
            ) == b"close"
            assert await client.ended() == b""
        async with gate.client() as client:
            old = asked.replace(b"HTTP/1.1", b"HTTP/1.0").replace(b"\r\n\r\n", b"\r\nConnection: keep-alive\r\n\r\n")
            for _ in range(2):
                assert (await client.ask(old)).field(b"connection") == b"keep-alive"
        async with gate.client() as client:
            body = request("OPTIONS", "/crm", *PAGE, *ASKS, body=b"GET /crm HTTP/1.1\r\nHost: localhost\r\n\r\n")
            assert (await client.ask(body)).field(b"connection") == b"close"
    assert upstream.requests == []


@pytest.mark.parametrize(("access", "lines"), [("all", 1), ("errors", 0), (None, 0)])
async def test_a_preflight_is_a_request_to_counters_and_to_the_access_log(upstream, caplog, access, lines):
    caplog.set_level("INFO", "auth_sidecar.access")
    async with Gate(upstream.url, route=CORS, access=access) as gate:
        await gate.ask(request("OPTIONS", "/crm/x?q=1", *PAGE, *ASKS))
        assert gate.live_routes[0].stats.counts == {("OPTIONS", 204): 1}
        assert gate.live_routes[0].stats.in_flight == 0
    assert [one.message.startswith("OPTIONS /crm/x 204 route=crm ") for one in caplog.records] == [True] * lines


@pytest.mark.parametrize("line", ["101 Switching Protocols", "200 OK"])
async def test_the_answer_before_a_tunnel_says_the_same(upstream, line):
    """A 200 begins one too, where a container engine gives it (`docker exec`)."""
    upstream.script(
        f"HTTP/1.1 {line}\r\nAccess-Control-Allow-Origin: *\r\nUpgrade: tcp\r\nConnection: Upgrade\r\n".encode()
        + b"Content-Type: application/vnd.docker.raw-stream\r\n\r\n",
        ECHO,
    )
    octets = request("GET", "/crm", *PAGE, "Connection: Upgrade", "Upgrade: tcp")
    async with Gate(upstream.url, route={"upgrades": ("tcp",), **CORS}) as gate, gate.client() as client:
        await client.send(octets)
        head = await client.reader.readuntil(b"\r\n\r\n")
    assert said(Answer(head, b"", head)) == {b"allow-origin": b"https://app.example"}
