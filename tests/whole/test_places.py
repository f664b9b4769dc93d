"""Wherever a credential may stand: what goes out, octet by octet, and what the caller's own copies become."""

from __future__ import annotations

import asyncio
import base64
import os
import re
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qsl

import pytest
from aiohttp import web
from support import oauth1
from support.front import Client
from support.issuer import scripted_issuer
from support.process import Program
from support.recording_upstream import Received

from proxy.cli.explain_command import explained
from proxy.config.load import Loaded, load

SECRETS = ("hush-key", "hush-user", "hush-pass", "hush-tok", "hush&1", "hush%261")
JSON = b"Content-Type: application/json"
FORM = b"Content-Type: application/x-www-form-urlencoded"


def encoded(text: str) -> bytes:
    return base64.b64encode(text.encode())


@dataclass
class Sent:
    """A request below a route's prefix, and the request line's target, the fields and the body that must come of it.

    `fields`: None for those that the app sent. `status`: where the program answers itself.
    """

    route: str
    target: bytes = b"/x"
    fields: tuple[bytes, ...] = ()
    body: bytes | None = None
    to: bytes | None = b"/v1/x"
    went: tuple[bytes, ...] | None = None
    carried: bytes | None = None
    method: bytes = b"POST"
    status: int = 200


def basic(text: str) -> tuple[bytes, ...]:
    return (b"Authorization: Basic " + encoded(text),)


TABLE = [
    # Basic: who is secret, and what is empty
    Sent("basic", went=basic("u:hush-pass")),
    Sent("basic", fields=(b"AUTHORIZATION: mine", b"Authorization: twice"), went=basic("u:hush-pass")),
    Sent("user-secret", went=basic("hush-user:")),
    Sent("password-empty", went=basic("hush-user:")),
    Sent("borrowed", went=basic("u:hush-pass")),
    Sent("lent", went=(b"Authorization: Bearer hush-tok",)),
    # query.set, and what the caller has of these names
    Sent("query", b"/x?b=1&c", to=b"/v1/x?b=1&c&app_key=hush%261&fixed=a%20b"),
    Sent("query", to=b"/v1/x?app_key=hush%261&fixed=a%20b"),
    Sent("query", b"/x?app_key=1&b=%zz&app%5Fkey=2&fixed", to=b"/v1/x?b=%zz&app_key=hush%261&fixed=a%20b"),
    Sent("query", b"/x?App_Key=1;app_key=2", to=b"/v1/x?App_Key=1&app_key=hush%261&fixed=a%20b"),
    # the path
    Sent("path", b"/getMe?a=1", to=b"/bothush-tok:1/getMe?a=1", went=()),
    Sent("path", b"/%7Bcredential%7D", to=b"/bothush-tok:1/%7Bcredential%7D", went=()),
    # cookies
    Sent("cookie", went=(b"Cookie: sid=hush-tok",)),
    Sent("cookie", fields=(b"Cookie: a=b", b"X: y"), went=(b"Cookie: a=b; sid=hush-tok", b"X: y")),
    Sent("cookie", fields=(b"COOKIE: sid=1; a=b;  %73id=2",), went=(b"COOKIE: a=b; sid=hush-tok",)),
    Sent("cookie", fields=(b"Cookie: SID=1", b"cookie: sid=2; c=d"), went=(b"Cookie: SID=1; c=d; sid=hush-tok",)),
    # a header of several secrets
    Sent("joined", fields=(b"x_login: mine",), went=(b"X-Login: Login " + encoded("app:hush-pass"),)),
    # JSON
    Sent("json", fields=(JSON,), body=b'{"a": 1.0}', carried=b'{"a": 1.0,"key":"hush-key"}'),
    Sent(
        "json", fields=(JSON,), body=b'{"k\\u0065y":1,"key":[2]}', carried=b'{"k\\u0065y":"hush-key","key":"hush-key"}'
    ),
    Sent("json", fields=(JSON, b"Digest: x", b"X: y"), body=b"{}", carried=b'{"key":"hush-key"}', went=(JSON, b"X: y")),
    Sent("json", fields=(JSON,), body=b"{hush", status=400),
    Sent("json", fields=(JSON, b"Content-Encoding: gzip"), body=b"{}", status=400),
    Sent("json", fields=(FORM,), body=b"a=b", status=400),
    Sent("json", fields=(JSON,), method=b"GET", status=400),
    Sent("json", fields=(JSON,), body=b'{"a":"' + b"x" * 2000 + b'"}', status=413),
    # forms
    Sent("form", fields=(FORM,), body=b"a=%zz&b", carried=b"a=%zz&b&api%20key=hush-key"),
    Sent("form", fields=(FORM,), body=b"api+key=1&a=2&ap%69%20key=3", carried=b"a=2&api%20key=hush-key"),
    Sent("form", fields=(JSON,), body=b"{}", status=400),
]


def configured(upstream: str, issuer: str) -> dict[str, Any]:
    kinds: dict[str, dict[str, Any]] = {
        "basic": {"type": "basic", "username": "u", "password": {"value": "hush-pass"}},
        "user-secret": {"type": "basic", "username": {"value": "hush-user"}},
        "password-empty": {"type": "basic", "username": {"value": "hush-user"}, "password": {"env": "EMPTY"}},
        "borrowed": {"type": "header", "name": "Authorization", "value": {"credential": "basic"}},
        "path": {"type": "bearer", "token": {"value": "hush-tok:1"}},
        "joined": {
            "type": "header", "name": "X-Login", "prefix": "Login ",
            "value": {"base64": ["app", {"value": "hush-pass"}]},
        },
        "json": {"type": "body", "json_pointer": "/key", "value": {"value": "hush-key"}, "body_buffer": "1KiB"},
        "form": {"type": "body", "form": "api key", "value": {"value": "hush-key"}},
        "oauth1": oauth1.credential(transmit="query"),
        "cookie": {
            "type": "oauth2", "token_endpoint": f"{issuer}/token", "client_id": "c", "client_secret": {"value": "s"},
            "cookie": "sid",
        },
        "asked": {
            "type": "http", "obtain": {"url": f"{issuer}/token", "headers": {"Authorization": {"credential": "basic"}}},
        },
    }  # fmt: skip
    routes: dict[str, dict[str, Any]] = {name: {"credential": name} for name in kinds}
    routes["path"]["upstream"] = f"{upstream}/bot{{credential}}"
    routes["query"] = {"query": {"set": {"app_key": {"value": "hush&1"}, "fixed": "a b"}}}
    routes["lent"] = {"credential": "cookie-bearer"}
    kinds["cookie-bearer"] = {"type": "header", "name": "Authorization", "value": {"credential": "cookie"}}
    both = [
        {"match": f"/{name}", "name": name, "upstream": f"{upstream}/v1", **route} for name, route in routes.items()
    ]
    return {"log": {"level": "debug", "access": "all"}, "routes": both, "credentials": kinds}


@pytest.fixture
async def issuer():
    asked: list[str | None] = []

    async def grant(request: web.Request) -> web.Response:
        asked.append(request.headers.get("Authorization"))
        return web.json_response({"access_token": "hush-tok", "token_type": "Bearer", "expires_in": 3600})

    async with scripted_issuer() as issuer:
        issuer.answers = grant
        yield issuer, asked


async def answered(program: Program, one: Sent, *, chunked: bool = False) -> tuple[int, bytes]:
    """Status and body of our answer, or of the upstream's."""
    host, _, port = program.url.removeprefix("http://").partition(":")
    fields = [b"Host: a", *one.fields]
    body = one.body or b""
    if chunked:
        fields.append(b"Transfer-Encoding: chunked")
        body = b"1\r\n%b\r\n%x\r\n%b\r\n0\r\nX-Trailer: y\r\n\r\n" % (body[:1], len(body) - 1, body[1:])
    elif one.body is not None:
        fields.append(b"Content-Length: %d" % len(body))
    head = b"%b /%b%b HTTP/1.1\r\n%b\r\n\r\n" % (one.method, one.route.encode(), one.target, b"\r\n".join(fields))
    client = Client(*await asyncio.open_connection(host, int(port)))
    try:
        answer = await client.ask((head + body).replace(b"Host: a", b"Host: 127.0.0.1:" + port.encode()))
    finally:
        client.writer.close()
    return answer.status, answer.body


def unlike(one: Sent, request: Received, body: bytes) -> list[object]:
    """What of a request that came is not what should have come."""
    framing = {b"host", b"content-length"}
    lines = tuple(line for line in request.head.split(b"\r\n")[1:-2] if line.partition(b":")[0].lower() not in framing)
    went = one.fields if one.went is None else one.went
    found: list[object] = [(one.route, request.target)] if request.target != one.to else []
    if lines != went:
        found.append((one.route, lines, went))
    if bytes(request.body) != body or (body and request.all(b"content-length") != [b"%d" % len(body)]):
        found.append((one.route, bytes(request.body), request.all(b"content-length")))
    return found


def shown(loaded: Loaded, octets: bytes) -> list[str]:
    """What `explain` says, which runs a loop of its own."""
    return asyncio.run(explained(loaded, octets))


async def test_each_place_is_filled_octet_by_octet_and_nothing_of_it_is_told(
    upstream, issuer, tmp_path, fetch, monkeypatch
):
    monkeypatch.setenv("EMPTY", "")
    scripted, asked = issuer
    said: list[str] = []
    wrong: list[object] = []
    config = configured(upstream.url, scripted.url)
    async with Program(config, tmp_path) as program:
        for one in TABLE:
            for chunked in (False, True) if one.body else (False,):
                before = len(upstream.requests)
                status, body = await answered(program, one, chunked=chunked)
                came = upstream.requests[before:]
                if status != one.status or len(came) != (one.status == 200):
                    wrong.append((one.route, one.body, chunked, status, body))
                elif came:
                    carried = one.carried if one.carried is not None else one.body or b""
                    wrong += unlike(one, came[0], carried)
                else:
                    said.append(body.decode())
        signed = Sent("oauth1", b"/x?b=1&oauth_nonce=mine&%6fauth_signature=mine&oauth_verifier=v")
        assert (await answered(program, signed))[0] == 200
        pairs = parse_qsl(upstream.requests[-1].target.partition(b"?")[2].decode())
        pages = "/status", "/metrics", "/config", "/"
        said += [(await fetch(program.admin + page))[2].decode() for page in pages]
        loaded = load(program.file, os.environ)
        for route in loaded.config.routes:
            octets = f"POST /{route.name}/x HTTP/1.1\r\nHost: {program.url.removeprefix('http://')}\r\n\r\n".encode()
            said.append("\n".join(await asyncio.to_thread(shown, loaded, octets)))
        said.append(program.log)
    assert wrong == []
    assert "Basic " + encoded("u:hush-pass").decode() in asked
    names = [name for name, _ in pairs]
    assert names[:2] == ["b", "oauth_verifier"]
    assert len(set(names)) == len(names)
    assert ("oauth_nonce", "mine") not in pairs
    whole = "\n".join(said)
    assert "Traceback" not in whole
    given = {*SECRETS, *(encoded(login).decode() for login in ("u:hush-pass", "hush-user:", "app:hush-pass"))}
    assert {secret for secret in given if secret in whole} == set()
    assert not re.search(r"oauth_signature=(?!REDACTED)", whole)
