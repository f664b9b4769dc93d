"""`rewrite_response`: what an API hands out leads back through here."""

from __future__ import annotations

import asyncio
import gzip
import json

import pytest
from support.front import Gate, request
from support.recording_upstream import CLOSE, RecordingUpstream

from proxy.config import schema
from proxy.forward.url_rewriter import MAX_BODY

RULES = schema.RewriteResponse(location=True, cookies=True, json_pointers=("/streamUrl",))


@pytest.fixture
async def upstream():
    async with RecordingUpstream() as running:
        yield running


@pytest.fixture
async def gate(upstream):
    async with Gate(upstream.url + "/v2", route={"rewrite_response": RULES}, hosts=("side.local",)) as running:
        yield running


def asked(method: str = "GET") -> bytes:
    return request(method).replace(b"Host: localhost", b"Host: side.local")


def answer(body: bytes, *fields: str, kind: str = "application/json") -> bytes:
    lines = ["HTTP/1.1 200 OK", f"Content-Type: {kind}", *fields, f"Content-Length: {len(body)}"]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


async def test_location_and_cookies_lead_here(gate, upstream):
    upstream.script(
        f"HTTP/1.1 302 Found\r\nLocation: {upstream.url}/v2/next?a=1\r\nSet-Cookie: s=1; Path=/v2; Domain=x\r\n"
        "Content-Length: 0\r\n\r\n".encode()
    )
    got = await gate.ask(asked())
    assert got.field(b"location") == b"http://side.local/crm/next?a=1"
    assert got.field(b"set-cookie") == b"s=1; Path=/crm"


async def test_a_named_value_leads_here_and_the_rest_of_the_body_stays(gate, upstream):
    body = b'{"streamUrl" :  "ws://' + upstream.authority.encode() + b'/v2/s?t=1", "n": 1.0}'
    upstream.script(answer(body, "ETag: x"))
    got = await gate.ask(asked())
    assert got.body == b'{"streamUrl" :  "ws://side.local/crm/s?t=1", "n": 1.0}'
    assert got.field(b"content-length") == b"%d" % len(got.body)
    assert got.field(b"etag") is None


async def test_a_body_that_comes_in_packed_pieces_is_put_together_first(gate, upstream):
    packed = gzip.compress(json.dumps({"streamUrl": upstream.url + "/v2/s"}).encode())
    head = (
        b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Encoding: gzip\r\n"
        b"Transfer-Encoding: chunked\r\n\r\n"
    )
    more = asyncio.Event()
    upstream.script(
        head + b"%x\r\n%b\r\n" % (5, packed[:5]), more, b"%x\r\n%b\r\n0\r\n\r\n" % (len(packed) - 5, packed[5:])
    )
    async with gate.client() as client:
        await client.send(asked())
        await upstream.received()
        more.set()
        got = await client.answer()
        assert json.loads(got.body) == {"streamUrl": "http://side.local/crm/s"}
        assert got.field(b"content-encoding") is None
        assert (await client.ask(asked())).status == 200


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        (b'{"streamUrl": "https://elsewhere.example/v2"}', "application/json"),
        (b"no json", "application/json"),
        (b'"' + b"x" * MAX_BODY + b'"', "application/json"),
        (b'{"streamUrl": 1}', "text/plain"),
    ],
)
async def test_everything_else_passes_untouched(gate, upstream, body, kind):
    upstream.script(answer(body, "ETag: x", kind=kind))
    got = await gate.ask(asked())
    assert got.body == body
    assert got.field(b"etag") == b"x"


async def test_a_body_too_large_and_of_unknown_length_streams_on(gate, upstream):
    body = b'{"streamUrl": "' + b"x" * MAX_BODY + b'"}'
    upstream.script(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n\r\n" + body, CLOSE)
    assert (await gate.ask(asked())).body == body


async def test_a_body_cut_short_is_an_error_of_the_upstream(gate, upstream):
    upstream.script(b'HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 99\r\n\r\n{"a":', CLOSE)
    got = await gate.ask(asked())
    assert got.status == 502
    assert b"connection_terminated" in (got.field(b"proxy-status") or b"")


async def test_head_requests_and_apps_without_a_host_are_left_alone(gate, upstream):
    upstream.script(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 99\r\n\r\n")
    assert (await gate.ask(asked("HEAD"))).field(b"content-length") == b"99"
    upstream.script(answer(json.dumps({"streamUrl": upstream.url + "/v2/s"}).encode()))
    assert upstream.url.encode() in (await gate.ask(b"GET /crm HTTP/1.0\r\n\r\n")).body


@pytest.mark.parametrize(("wanted", "sent"), [(b"br, gzip", b"gzip"), (b"br", b"identity"), (b"gzip;q=0", b"identity")])
async def test_an_answer_that_is_looked_into_is_asked_for_in_a_coding_that_can_be_read(gate, upstream, wanted, sent):
    upstream.script(answer(b"{}"))
    await gate.ask(asked().replace(b"\r\n\r\n", b"\r\nAccept-Encoding: %b\r\n\r\n" % wanted))
    assert (await upstream.received()).field(b"accept-encoding") == sent


@pytest.mark.parametrize("version", ["1.1", "1.0"])
async def test_an_absolute_target_says_what_we_are_called_and_not_host(upstream, version):
    """RFC 9112 §3.2.2: the target's host is the request's, whatever Host says, and though there be none."""
    upstream.answer = b"HTTP/1.1 302 F\r\nLocation: " + upstream.url.encode() + b"/v2/next\r\nContent-Length: 0\r\n\r\n"
    gate = Gate(upstream.url + "/v2", route={"rewrite_response": RULES}, hosts=("side.local", "other.local"))
    async with gate:
        for named in (b"Host: other.local\r\n", b"") if version == "1.0" else (b"Host: other.local\r\n",):
            head = b"GET http://side.local:81/crm/x HTTP/" + version.encode() + b"\r\n" + named + b"\r\n"
            assert (await gate.ask(head)).field(b"location") == b"http://side.local:81/crm/next"


async def test_an_app_that_does_not_name_us_gets_urls_as_they_are(upstream, tmp_path):
    """Over a unix socket Host may be empty, or the socket's path."""
    location = upstream.url.encode() + b"/v2/next"
    upstream.answer = b"HTTP/1.1 302 F\r\nLocation: " + location + b"\r\nContent-Length: 0\r\n\r\n"
    gate = Gate(upstream.url + "/v2", route={"rewrite_response": RULES}, address=f"unix:{tmp_path}/s")
    async with gate:
        for host, found in ((b"", location), (b"/run/s", location), (b"docker", b"http://docker/crm/next")):
            answer = await gate.ask(b"GET /crm/x HTTP/1.1\r\nHost: " + host + b"\r\n\r\n")
            assert answer.field(b"location") == found


@pytest.mark.parametrize(
    ("method", "head"),
    [
        ("GET", "206 Partial Content\r\nContent-Range: bytes 0-{last}/100"), ("HEAD", "200 OK"),
        ("GET", "304 Not Modified"),
    ],
)  # fmt: skip
async def test_what_speaks_of_other_octets_is_left_alone(gate, upstream, method, head):
    """A part, no body at all: what the head says of the whole one stays true of the API's."""
    body = json.dumps({"streamUrl": upstream.url + "/v2/s"}).encode()
    lines = f"HTTP/1.1 {head}\r\nContent-Type: application/json\r\nETag: x\r\nContent-Length: {len(body)}\r\n\r\n"
    sent = lines.format(last=len(body) - 1).encode()
    upstream.script(sent + (body if "206" in head else b""))
    async with gate.client() as client:
        got = await client.ask(asked(method))
    assert (got.field(b"etag"), got.field(b"content-length")) == (b"x", b"%d" % len(body))
    assert got.body == (body if "206" in head else b"")


async def test_hints_before_the_answer_and_a_tunnels_beginning_lead_here_too(upstream):
    rules = schema.RewriteResponse(cookies=True, headers=("Link",))
    async with Gate(upstream.url + "/v2", route={"rewrite_response": rules}, hosts=("side.local",)) as gate:
        link = f"Link: <{upstream.url}/v2/style.css>; rel=preload\r\n"
        upstream.script(f"HTTP/1.1 103 Early Hints\r\n{link}\r\nHTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n".encode())
        async with gate.client() as client:
            hints = await client.ask(asked())
            assert hints.status == 103
            assert hints.field(b"link") == b"<http://side.local/crm/style.css>; rel=preload"
            assert (await client.answer()).status == 200
        upstream.script(
            b"HTTP/1.1 101 Switching\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSet-Cookie: a=1; Path=/v2\r\n\r\n",
            CLOSE,
        )
        async with gate.client() as client:
            got = await client.ask(
                asked().replace(b"\r\n\r\n", b"\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
            )
            assert got.status == 101
            assert got.field(b"set-cookie") == b"a=1; Path=/crm"


async def test_a_route_that_keeps_its_prefix_reaches_what_lies_below_it(upstream):
    route = {"rewrite_response": RULES, "strip_prefix": False}
    async with Gate(upstream.url + "/v2", route=route, hosts=("side.local",)) as gate:
        for path, moved in [("/v2/crm/x", "http://side.local/crm/x"), ("/v2/other", None)]:
            upstream.script(f"HTTP/1.1 302 F\r\nLocation: {upstream.url}{path}\r\nContent-Length: 0\r\n\r\n".encode())
            got = await gate.ask(asked())
            assert got.field(b"location") == (moved or upstream.url + path).encode()


async def test_a_body_in_the_smallest_pieces_is_one_body(gate, upstream):
    url = (upstream.url + "/v2/s").encode()
    pieces = b"".join(b"1\r\n%c\r\n" % octet for octet in b'{"streamUrl":"%b"}' % url)
    upstream.script(
        b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n"
        + pieces
        + b"0\r\n\r\n"
    )
    got = await gate.ask(asked())
    assert got.body == b'{"streamUrl":"http://side.local/crm/s"}'


@pytest.mark.parametrize(
    "url", ["https://api.example/v2/next", "http://API.example:80/v2/next", "//api.example/v2/next"]
)
async def test_urls_with_the_host_that_the_upstream_sees_are_its_own(upstream, url):
    upstream.script(f"HTTP/1.1 302 F\r\nLocation: {url}\r\nContent-Length: 0\r\n\r\n".encode())
    route = {"rewrite_response": RULES, "host": "api.example"}
    async with Gate(upstream.url + "/v2", route=route, hosts=("side.local",)) as gate:
        got = await gate.ask(asked())
        assert b"//side.local/crm" in (got.field(b"location") or b"")
