"""A page that the user has open must not spend our credentials."""

from __future__ import annotations

import pytest
from support.front import Gate, request

from proxy.config import schema
from proxy.forward.cross_site import is_cross_site

CORS = {"cors": schema.Cors(allow_origins=("https://app.example",))}
PAGE = ("Origin: https://app.example", "Sec-Fetch-Site: cross-site")


@pytest.mark.parametrize(
    ("found", "cross"),
    [
        ({}, False),
        ({b"sec-fetch-site": [b"same-origin"]}, False),
        ({b"sec-fetch-site": [b"none"]}, False),
        ({b"sec-fetch-site": [b"same-site"]}, True),
        ({b"sec-fetch-site": [b"cross-site"]}, True),
        ({b"sec-fetch-site": [b"none", b"cross-site"]}, True),
        ({b"sec-fetch-site": [b""]}, True),
        ({b"origin": [b"http://localhost:8080"]}, False),
        ({b"origin": [b"https://localhost:8080"]}, True),
        ({b"origin": [b"http://localhost"]}, True),
        ({b"origin": [b"null"]}, True),
        ({b"origin": [b"http://localhost:8080", b"http://localhost:8080"]}, True),
    ],
)
def test_what_is_another_sites(found, cross):
    assert is_cross_site(found, b"http://localhost:8080") is cross


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


async def test_an_ordinary_options_request_goes_on(upstream):
    async with Gate(upstream.url, route=CORS) as gate:
        assert (await gate.ask(request("OPTIONS", "/crm"))).status == 200
    assert len(upstream.requests) == 1


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
