"""OAuth 1 through the whole program: what reaches the API is what a server verifies."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import re
import subprocess
import sys
import time
from email.utils import formatdate
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat
from support.front import Client
from support.oauth1 import (
    CONSUMER_SECRET,
    FORM,
    TOKEN,
    TOKEN_SECRET,
    OauthlibServer,
    credential,
    is_signed,
    said,
    signature_base,
)
from support.process import Program
from support.recording_upstream import OK, RESET
from support.settings import one_route

METHODS = ["HMAC-SHA1", "HMAC-SHA256", "HMAC-SHA512", "RSA-SHA1", "RSA-SHA256", "RSA-SHA512", "PLAINTEXT"]


@pytest.fixture
def program(upstream, tmp_path):
    """A program that signs what comes below /api."""

    def make(**more):
        return Program(one_route(upstream.url, credential(**more)), tmp_path)

    return make


@pytest.fixture
def connect():
    """Connections of the app to a program, in octets."""
    writers = []

    async def open_one(program):
        host, _, port = program.url.removeprefix("http://").partition(":")
        reader, writer = await asyncio.open_connection(host, int(port))
        writers.append(writer)
        return Client(reader, writer)

    yield open_one
    for writer in writers:
        writer.close()


def request(method, target, *fields):
    return "\r\n".join([f"{method} {target} HTTP/1.1", "Host: localhost", *fields, "", ""]).encode()


async def test_oauthlibs_server_side_accepts_every_method_with_and_without_a_token_and_realm(upstream, tmp_path, fetch):
    """E4 and E5."""
    key = rsa.generate_private_key(65537, 2048)
    pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    (tmp_path / "key.pem").write_bytes(pem)
    public = key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    credentials = {}
    for method in METHODS:
        own = {"private_key": {"file": "key.pem"}} if method.startswith("RSA") else {}
        for token in (True, False):
            credentials[f"{method}-{token}"] = credential(token=token, signature_method=method, realm="a realm", **own)
    routes = [{"match": f"/{name}", "upstream": f"{upstream.url}/v1/", "credential": name} for name in credentials]
    server = OauthlibServer(public.decode())
    async with Program({"routes": routes, "credentials": credentials}, tmp_path) as program:
        for name in credentials:
            headers = {"Content-Type": FORM}
            assert (await fetch(f"{program.url}/{name}/a%20b?c=d%2Be&c=a+b"))[0] == 200
            assert (await fetch(f"{program.url}/{name}/f?g=", "POST", data=b"h=%C3%BC&h=x+y", headers=headers))[
                0
            ] == 200
    assert len(upstream.requests) == 2 * len(credentials)
    assert {(said(one)["oauth_signature_method"], "oauth_token" in said(one)) for one in upstream.requests} == {
        (method, token) for method in METHODS for token in (True, False)
    }
    assert [one.line for one in upstream.requests if not server.accepts(one, upstream.url, "a realm")] == []
    assert not any(server.accepts(one, upstream.url, "a realm") for one in upstream.requests)  # each nonce once


ODD_TARGETS = [
    b"/x?a[]=1&a[b]=2&{c}=|d|",
    b"/x?a=1+2&b=%2B&c=%20",
    b"/x?",
    b"/x?&&=&a&b=&=c",
    b"/x?name=\xc3\xbc&latin=\xfc&\xff",
    b"/x?a=%zz&b=100%&c=%4",
    b"/x?a=%7E&a=~&%61=%c3%bc&oauth_x=1",
    b"/x?b=2&a=1&b=1?c=/:@",
    b"/a%2fb//c;d=e/%7e'(*)!/\xc3\xbc?q",
]


async def test_odd_targets_are_signed_exactly_as_they_are_sent(program, upstream, connect):
    """E2 and E10."""
    async with program() as running:
        client = await connect(running)
        for target in ODD_TARGETS:
            answer = await client.ask(b"GET /api%b HTTP/1.1\r\nHost: localhost\r\n\r\n" % target)
            assert answer.status == 200
    assert [one.target for one in upstream.requests] == ODD_TARGETS
    assert [one.target for one in upstream.requests if not is_signed(one, upstream.url)] == []


@pytest.mark.parametrize("framing", ["Content-Length: 17", "Transfer-Encoding: chunked"])
async def test_a_form_that_waits_for_consent_is_asked_for_and_signed(program, upstream, connect, framing):
    body = b"a=b&c=%C3%BC&d+e="
    async with program() as running:
        client = await connect(running)
        fields = (f"Content-Type: {FORM};charset=utf-8", framing, "Expect: 100-continue")
        assert (await client.ask(request("POST", "/api/x?a=a", *fields))).status == 100
        assert upstream.requests == []
        octets = body if "Length" in framing else b"4\r\n%b\r\nd\r\n%b\r\n0\r\n\r\n" % (body[:4], body[4:])
        assert (await client.ask(octets)).status == 200
    assert upstream.requests[0].body == body
    assert is_signed(upstream.requests[0], upstream.url)


@pytest.mark.parametrize("chunked", [False, True])
async def test_a_form_beyond_what_may_be_gathered_is_413_and_at_the_limit_it_is_signed(
    program, upstream, connect, chunked
):
    def form(size):
        body = b"a=" + b"b" * (size - 2)
        if chunked:
            return request("POST", "/api", f"Content-Type: {FORM}", "Transfer-Encoding: chunked") + (
                b"%x\r\n%b\r\n0\r\n\r\n" % (size, body)
            )
        return request("POST", "/api", f"Content-Type: {FORM}", f"Content-Length: {size}") + body

    async with program(body_buffer="8KiB") as running:
        assert (await (await connect(running)).ask(form(8192))).status == 200
        answer = await (await connect(running)).ask(form(8193))
        assert (answer.status, b'"status":413' in answer.body.replace(b" ", b"")) == (413, True)
    (one,) = upstream.requests
    assert len(one.body) == 8192
    assert is_signed(one, upstream.url)


async def test_a_form_that_says_that_it_is_too_large_is_not_asked_for(program, upstream, connect):
    async with program(body_buffer="8KiB") as running:
        fields = (f"Content-Type: {FORM}", "Content-Length: 8193", "Expect: 100-continue")
        assert (await (await connect(running)).ask(request("POST", "/api", *fields))).status == 413
    assert upstream.requests == []


def hashed(algorithm, body):
    return base64.b64encode(hashlib.new(algorithm, body).digest()).decode()


async def test_a_body_hash_is_sent_where_it_is_wanted_and_never_with_a_form(upstream, tmp_path, fetch):
    """E7."""

    async def chunks():
        yield b'{"a":'
        yield b"1}"

    options: dict[str, tuple[dict[str, Any], str | None, str | None]] = {
        "off": ({}, None, None),
        "sha1": ({"body_hash": "sha1"}, None, hashed("sha1", b'{"a":1}')),
        "sha256": (
            {"body_hash": "sha256", "body_hash_empty": True},
            hashed("sha256", b""),
            hashed("sha256", b'{"a":1}'),
        ),
    }
    config = {
        "routes": [{"match": f"/{name}", "upstream": upstream.url, "credential": name} for name in options],
        "credentials": {name: credential(**made) for name, (made, _, _) in options.items()},
    }
    async with Program(config, tmp_path) as running:
        for name in options:
            url = f"{running.url}/{name}/"
            await fetch(url)
            await fetch(url, "POST", data=b'{"a":1}', headers={"Content-Type": "application/json"})
            await fetch(url, "PUT", data=chunks())
            await fetch(url, "POST", data=b"a=1", headers={"Content-Type": FORM})
    expected = [one for _, of_empty, of_json in options.values() for one in (of_empty, of_json, of_json, None)]
    assert [said(one).get("oauth_body_hash") for one in upstream.requests] == expected
    assert [bytes(one.body) for one in upstream.requests] == [b"", b'{"a":1}', b'{"a":1}', b"a=1"] * 3
    assert all(is_signed(one, upstream.url) for one in upstream.requests)


async def test_the_url_that_the_verifier_sees_is_signed(upstream, tmp_path, fetch):
    """E8."""
    made = credential(signing_base_url="https://Public.example:443/base/")
    async with Program(one_route(f"{upstream.url}/internal", made), tmp_path) as running:
        assert (await fetch(f"{running.url}/api/a%2Fb?q=1"))[0] == 200
    (one,) = upstream.requests
    assert one.target == b"/internal/a%2Fb?q=1"
    assert is_signed(one, "https://public.example", b"/base/a%2Fb")
    assert not is_signed(one, upstream.url)


async def test_what_is_no_form_is_streamed_while_it_comes(program, upstream, connect):
    """E3."""
    async with program() as running:
        client = await connect(running)
        await client.send(request("PUT", "/api/x", "Content-Type: text/plain", "Content-Length: 4000000"))
        await client.send(b"a" * 1000)
        async with asyncio.timeout(30):
            await upstream.until(lambda: (upstream.requests and len(upstream.requests[0].raw_body) == 1000) or None)
        assert (await client.ask(b"b" * 3_999_000)).status == 200
    assert is_signed(upstream.requests[0], upstream.url)


async def test_a_request_that_is_sent_again_is_signed_again(program, upstream, fetch):
    """E6: the second request goes out on a kept connection that dies; what is sent instead has a nonce of its own."""
    upstream.script(OK)
    upstream.script(RESET)
    async with program() as running:
        assert (await fetch(running.url + "/api/1"))[0] == 200
        assert (await fetch(running.url + "/api/2"))[0] == 200
    assert [one.target for one in upstream.requests] == [b"/1", b"/2", b"/2"]
    assert len({said(one)["oauth_nonce"] for one in upstream.requests}) == 3
    assert all(is_signed(one, upstream.url) for one in upstream.requests)


@pytest.mark.parametrize("ahead", [3600, -3600])
async def test_a_server_whose_clock_is_elsewhere_refuses_once_and_the_app_never_knows(program, upstream, fetch, ahead):
    """E6."""
    statuses = []

    def strict(one):
        now = time.time() + ahead
        good = is_signed(one, upstream.url) and abs(int(said(one)["oauth_timestamp"]) - now) < 30
        statuses.append(200 if good else 401)
        head = f"HTTP/1.1 {statuses[-1]} X\r\nDate: {formatdate(now, usegmt=True)}\r\nContent-Length: 0\r\n\r\n"
        return (head.encode(),)

    upstream.answer = strict
    async with program() as running:
        for number in range(5):
            assert (await fetch(f"{running.url}/api/{number}", "POST", data=b"body"))[0] == 200
    assert statuses == [401] + [200] * 5
    assert [bytes(one.body) for one in upstream.requests] == [b"body"] * 6


@pytest.mark.parametrize("status", [401, 403, 400])
async def test_a_refusal_that_has_nothing_to_do_with_the_time_passes_untouched(program, upstream, connect, status):
    """E9."""
    date = formatdate(time.time(), usegmt=True)
    refusal = (
        f"HTTP/1.1 {status} Not So\r\nDATE: {date}\r\n"
        'www-authenticate: OAuth realm="r",oauth_problem="token_rejected"\r\n'
        "X-Odd: \xfc\r\nContent-Length: 3\r\n\r\n\0no"
    ).encode("latin-1")
    upstream.answer = refusal
    async with program() as running:
        client = await connect(running)
        for _ in range(3):
            assert (await client.ask(request("GET", "/api/x"))).raw == refusal
    assert len(upstream.requests) == 3


async def test_explain_shows_the_base_string_that_is_signed_and_no_secret(program, upstream, fetch):
    async with program() as running:
        assert (await fetch(f"{running.url}/api/a%2Fb?b=%C3%BC&a=1+2"))[0] == 200
        words = ("explain", "GET", "/api/a%2Fb?b=%C3%BC&a=1+2", "-c", str(running.file))
        command = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "proxy", *words, stdout=subprocess.PIPE, stderr=subprocess.PIPE
        )
        out, err = (text.decode() for text in await command.communicate())
    assert command.returncode == 0, err

    def shape(base):
        changing = r"(oauth_nonce|oauth_timestamp|oauth_token)%3D[A-Za-z0-9]+"
        return re.sub(changing, r"\1", base)

    shown = out.partition("OAuth 1 base string: ")[2].partition("\n")[0]
    assert shape(shown) == shape(signature_base(upstream.requests[0], upstream.url))
    assert not [secret for secret in (CONSUMER_SECRET, TOKEN, TOKEN_SECRET) if secret in out + err]
