"""The table of the sidecar's own answers: status, Proxy-Status and a problem document, and never a secret."""

from __future__ import annotations

import json

import pytest
from support.front import Gate, ScriptedTokens, request

from proxy.config import schema
from proxy.errors import CredentialRefused, CredentialUnavailable
from proxy.forward.own_answers import as_answer
from proxy.http1.grammar import GrammarError

LIMIT = b'proxy_internal_response; details="limit_reached"'
CASES = [
    ("no route", request("GET", "/nowhere"), {}, 404, b"destination_not_found"),
    ("not for this method", request("PUT", "/crm"), {"methods": ("GET",)}, 405, b"http_request_denied"),
    (
        "host not allowed",
        request("GET", "/crm").replace(b"localhost", b"evil.example"),
        {},
        403,
        b"http_request_denied",
    ),
    ("cross-site", request("GET", "/crm", "Sec-Fetch-Site: cross-site"), {}, 403, b"http_request_denied"),
    ("malformed", request("GET", "/crm", "Bad Name: x"), {}, 400, b"http_request_error"),
    ("climbs", request("GET", "/crm/%2e%2e/x"), {}, 400, b"http_request_error"),
    ("too many fields", request("GET", "/crm", *(["A: b"] * 300)), {}, 431, b"http_request_error"),
    ("too long a head", request("GET", "/crm", "A: " + "b" * 40_000), {}, 431, b"http_request_error"),
    ("too long a target", request("GET", "/crm/" + "b" * 40_000), {}, 414, b"http_request_error"),
    ("connect", b"CONNECT a:1 HTTP/1.1\r\nHost: a:1\r\n\r\n", {}, 405, b"http_request_error"),
    ("trace", request("TRACE", "/crm"), {}, 405, b"http_request_error"),
    ("coding", request("POST", "/crm", "Transfer-Encoding: gzip, chunked"), {}, 501, b"proxy_internal_response"),
    ("version", request().replace(b"HTTP/1.1", b"HTTP/2.0"), {}, 505, b"http_request_error"),
    ("body", request("POST", "/crm", "Content-Length: 99"), {"max_request_body": 9}, 413, b"http_request_error"),
]


@pytest.mark.parametrize(
    ("octets", "route", "status", "error"), [case[1:] for case in CASES], ids=[case[0] for case in CASES]
)
async def test_each_case_has_its_status_and_its_name(upstream, octets, route, status, error):
    route = dict(route)
    if "methods" in route:
        route["match"] = schema.Match(path="/crm", methods=route.pop("methods"))
    async with Gate(upstream.url, route=route) as gate:
        answer = await gate.ask(octets)
    assert answer.status == status
    assert answer.field(b"proxy-status") == b"auth-sidecar; error=" + error
    assert answer.field(b"content-type") == b"application/problem+json"
    assert answer.field(b"cache-control") == b"no-store"
    assert (answer.field(b"allow") is not None) is (status == 405)
    document = json.loads(answer.body)
    assert set(document) == {"type", "title", "status", "detail", "instance", "route", "credential"}
    assert document["status"] == status
    assert upstream.requests == []


@pytest.mark.parametrize(
    ("error", "status", "details", "retry"),
    [
        (CredentialUnavailable("issuer says: s3cret", retry_after=2.2), 503, b"credential_unavailable", b"3"),
        (CredentialRefused("The client was refused"), 502, b"credential_refused", None),
    ],
)
async def test_without_a_usable_token_the_answer_says_whether_to_come_again(upstream, error, status, details, retry):
    async with Gate(upstream.url, tokens=ScriptedTokens(None, error)) as gate:
        answer = await gate.ask(request("GET", "/crm/x?token=s3cret"))
    assert answer.status == status
    assert answer.field(b"proxy-status") == b'auth-sidecar; error=proxy_internal_response; details="' + details + b'"'
    assert answer.field(b"retry-after") == retry
    document = json.loads(answer.body)
    assert (document["route"], document["credential"], document["instance"]) == ("crm", "crm", "/crm/x")


async def test_a_head_request_gets_the_fields_alone(upstream):
    async with Gate(upstream.url) as gate, gate.client() as client:
        answer = await client.ask(request("HEAD", "/nowhere"))
        assert int(answer.field(b"content-length") or 0) > 0
        assert (await client.ask(request())).status == 200, "and the connection goes on"


async def test_no_answer_of_ours_repeats_what_was_sent(upstream):
    """Row 13."""
    async with Gate(upstream.url) as gate:
        for fields in (("Authorization: Bearer s3cret\x01",), ("Authorization: Bearer s3cret" + "x" * 40_000,)):
            answer = await gate.ask(request("GET", "/crm?key=s3cret", *fields))
            assert b"s3cret" not in answer.raw
            assert b"Server" not in answer.head


async def test_a_rate_that_is_reached_says_when_to_come_again(upstream):
    limits = schema.RouteLimits(rate=schema.Rate(1.0))
    async with Gate(upstream.url, route={"limits": limits}) as gate:
        assert (await gate.ask(request())).status == 200
        answer = await gate.ask(request())
    assert answer.status == 503
    assert answer.field(b"proxy-status") == b"auth-sidecar; error=" + LIMIT
    assert answer.field(b"retry-after") == b"1"


def test_a_grammar_error_is_a_bad_request():
    refused = CredentialRefused("no")
    assert as_answer(refused) is refused
    assert (as_answer(GrammarError("A rule")).status, as_answer(GrammarError("A rule")).detail) == (400, "A rule")
