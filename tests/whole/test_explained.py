"""What `explain` shows is what is sent: the same requests through the program and through the command, line by line."""

from __future__ import annotations

import asyncio
import base64
import json
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from aiohttp import web
from support import dpop, oauth1
from support.directory import Directory
from support.egress_proxy import EgressProxy
from support.front import Client
from support.issuer import scripted_issuer
from support.process import Program
from support.recording_upstream import Received, RecordingUpstream
from support.settings import client_credentials

from proxy.cli.explain_command import explained, request_of
from proxy.cli.main import main
from proxy.config.load import Loaded, load
from proxy.errors import ProxyError

FORM = b"Content-Type: application/x-www-form-urlencoded"
WEBSOCKET = (b"Connection: Upgrade", b"Upgrade: websocket")
DIRECT_LINE = "/v3/directline"


@dataclass(frozen=True)
class Case:
    """One request: `target` stands below the route's prefix where it begins with a slash or a question mark."""

    target: bytes = b"/x"
    fields: tuple[bytes, ...] = ()
    method: bytes = b"GET"
    version: bytes = b"1.1"
    body: bytes = b""

    def octets(self, prefix: bytes, number: int, port: int) -> bytes:
        target = self.target.replace(b"{}", b"127.0.0.1:%d" % port + prefix)
        target = prefix + target if target[:1] in (b"/", b"?", b"") else target
        fields = (b"Host: 127.0.0.1:%d" % port, *self.fields, b"X-Case: %d" % number)
        return b"%b %b HTTP/%b\r\n%b\r\n\r\n" % (self.method, target, self.version, b"\r\n".join(fields))


EVERYWHERE = [
    Case(),
    Case(b""),
    Case(b"/"),
    Case(b"?a=b"),
    Case(b"/a%2Fb/%41?x=%zz&&x=%41&=&key=mine&k%65y=mine&y"),
    Case(b'/\xff\xfe/\xc3\xa9?\xe9|"{<>}\\^`'),
    Case(b"//x//y?http://a.example/"),
    Case(b"/..a/.b./"),
    Case(b"/../x"),
    Case(b"/%2e%2e/x"),
    Case(b"http://{}/x?y"),
    Case(b"http://{}?y"),
    Case(b"http://evil.example/x"),
    Case(method=b"HEAD"),
    Case(method=b"OPTIONS"),
    Case(method=b"DELETE"),
    Case(method=b"PURGE"),
    Case(method=b"TRACE"),
    Case(method=b"POST", fields=(b"Content-Length: 0",)),
    Case(method=b"POST", fields=(b"content-length: 3", FORM), body=b"a=b"),
    Case(method=b"PUT", fields=(b"Content-Length: 2", b"Content-Type: text/plain"), body=b"ab"),
    Case(method=b"POST", fields=(b"Content-Length: 2", b"Expect: 100-continue"), body=b"ab"),
    Case(method=b"POST", fields=(b"Content-Length: 2", b"Expect: 100-continue"), body=b"ab", version=b"1.0"),
    Case(version=b"1.0"),
    Case(version=b"1.0", fields=(b"Connection: keep-alive", *WEBSOCKET[1:])),
    Case(fields=(b"Authorization: Bearer mine",)),
    Case(fields=(b"AUTHORIZATION: Basic bWluZQ==", b"Authorization: twice")),
    Case(fields=(b"X-Key: mine", b"x_key: mine", b"X-Keys: mine", b"DPoP: mine", b"Dpop_: mine")),
    Case(fields=(b"X-Tenant: acme", b"Accept: a", b"accept: b", b"ACCEPT:c", b"Empty:", b"Odd: \t \xff\xc3\xa9 x \t")),
    Case(fields=(b"X-Tenant: acme", b"Cookie: a=b", b"cookie: c=d", b"X-Set: mine", b"x_set: mine")),
    Case(fields=(b"Accept-Encoding: br, gzip;q=0.5, deflate", b"accept-encoding: zstd", b"X-Tenant: acme")),
    Case(fields=(b"Accept-Encoding: gzip;q=0, br",)),
    Case(fields=(b"Connection: close, X-Gone, X-Key", b"X-Gone: a", b"X-Stays: b", b"X-Key: mine")),
    Case(fields=(b"Keep-Alive: timeout=5", b"Proxy-Authorization: Basic bWluZQ==", b"TE: trailers", b"Trailer: X")),
    Case(fields=(b"Proxy-Connection: close", b"Via: 1.1 a", b"Forwarded: for=a", b"X-Forwarded-For: a")),
    Case(fields=WEBSOCKET),
    Case(fields=(b"Connection: upgrade", b"Upgrade: h2c, WebSocket, tcp", b"Sec-WebSocket-Version: 13")),
    Case(fields=(b"Connection: Upgrade", b"Upgrade: h2c, other")),
    Case(fields=(*WEBSOCKET, b"X-Tenant: acme", b"Authorization: mine")),
    Case(fields=(b"Origin: https://app.example", b"Sec-Fetch-Site: cross-site")),
    Case(fields=(b"Sec-Fetch-Site: same-origin",)),
]
"""Each of them on every route."""

MORE = {
    "open": [
        Case(b"*", method=b"OPTIONS"),
        Case(b"/none/", method=b"GET"),
        Case(b"/post/only"),
        Case(b"/x", method=b"POST", fields=(b"Transfer-Encoding: chunked",), body=b"1\r\na\r\n0\r\n\r\n"),
    ],
    "chat": [
        Case(b"/v3/directline/tokens/generate", (b"Accept-Encoding: br",), b"POST"),
        Case(b"/v3/directline/conversations", (b"Accept-Encoding: br, gzip",), b"POST"),
        Case(b"/v3/directline/conversations/a/activities", (b"Accept-Encoding: br",)),
        Case(b"/v3/directline/tokens/refresh", (b"Accept-Encoding: br",), b"POST"),
    ],
}
SECRETS = (
    "hush-bearer", "hush-key", "hush-token", "hush-set", "hush-dl", "sandbox-secret",
    *(base64.b64encode(pair.encode()).decode() for pair in ("u:hush-password", "u:hush-proxy")),
)  # fmt: skip


class Runtime:
    """Everything around the program, and what came of each request."""

    def __init__(self, upstream: RecordingUpstream, egress: EgressProxy, directory: Directory, issuer: str) -> None:
        self.upstream = upstream
        self.egress = egress
        via = {"url": egress.url, "username": "u", "password": {"value": "hush-proxy"}}
        issued = client_credentials(f"{issuer}/token")
        sets = {"X-Set": {"value": "hush-set"}, "Content-Type": FORM.decode().partition(": ")[2]}
        base = f"{upstream.url}/base"
        routes: dict[str, dict[str, Any]] = {
            "plain": {},
            "kept": {"strip_prefix": False},
            "posts": {"match": {"path": "/posts", "methods": ["POST"]}},
            "token": {"credential": "token"},
            "edited": {"credential": "token", "headers": {"set": sets, "remove": ["Cookie", "X-Stays"]}},
            "header": {"credential": "header"},
            "key": {"credential": "key"},
            "user": {"credential": "user"},
            "signed": {"credential": "signed"},
            "hashed": {"credential": "hashed", "headers": {"set": sets}},
            "unsigned": {"credential": "unsigned"},
            "bound": {"credential": "bound"},
            "tenant": {"credential": "tenant"},
            "keep": {"credential": "user", "on_client_authorization": "keep"},
            "keep-both": {"credential": "header", "on_client_authorization": "keep"},
            "reject": {"credential": "token", "on_client_authorization": "reject"},
            "reject-all": {"credential": "header", "on_client_authorization": "reject"},
            "named": {"credential": "signed", "host": "api.example:8443"},
            "named-bound": {"credential": "bound", "host": "API.example", "upgrades": ["other", "tcp"]},
            "via": {"credential": "signed", "via_proxy": via, "upgrades": ["websocket", "tcp"]},
            "via-open": {"via_proxy": via, "upgrades": []},
            "pointers": {"credential": "token", "rewrite_response": {"json_pointers": ["/a"]}},
            "location": {"rewrite_response": {"location": True}},
            "chat": {"credential": "chat", "upstream": upstream.url},
            "socket": {"credential": "signed", "upstream": "unix:api.sock:/base"},
            "shared": {"credential": "token", "cors": {"allow_origins": ["https://app.example"]}},
            "found": {"credential": "signed", "upstream": directory.discover()},
            "found-via": {"credential": "bound", "upstream": directory.discover(), "via_proxy": via},
            "found-lost": {"credential": "tenant", "upstream": directory.discover()},
        }
        self.names = [*routes, "open"]
        self.config = {
            "routes": [
                *({"match": f"/{name}", "name": name, "upstream": base, **route} for name, route in routes.items()),
                {"match": "/", "name": "open", "upstream": upstream.url, "host": "open.example"},
            ],
            "credentials": {
                "token": issued,
                "bound": issued | {"dpop": True},
                "tenant": issued | {"per": {"header": "X-Tenant"}},
                "header": {"type": "header", "name": "X-Key", "value": {"value": "hush-key"}},
                "key": {"type": "query", "name": "key", "value": {"value": "hush-key"}},
                "user": {"type": "basic", "username": "u", "password": {"value": "hush-password"}},
                "signed": oauth1.credential(),
                "hashed": oauth1.credential(body_hash="sha256", body_hash_empty=True, realm="r"),
                "unsigned": oauth1.credential(signature_method="PLAINTEXT"),
                "chat": {
                    "type": "direct_line",
                    "secret": {"value": "hush-dl"},
                    "domain": upstream.url + DIRECT_LINE,
                },
            },
        }

    def requests(self) -> Iterator[tuple[str, Case]]:
        """Each request by the name of its route."""
        for name in self.names:
            for case in EVERYWHERE + MORE.get(name, []):
                yield name, case

    def came(self, number: int) -> bytes | None:
        """The head that a request went out with, as whoever was asked first got it."""
        marked = b"\r\nX-Case: %d\r\n" % number
        heads = [*self.egress.heads, *(one.head for one in self.upstream.requests)]
        return next((head for head in heads if marked in head), None)


@pytest.fixture
async def world(upstream, tmp_path):
    async def grant(request: web.Request) -> web.Response:
        kind = "DPoP" if "DPoP" in request.headers else "Bearer"
        return web.json_response({"access_token": "hush-bearer", "token_type": kind, "expires_in": 3600})

    def answer(_: Received):
        body = json.dumps({"conversationId": "c", "token": "hush-dl", "expires_in": 1800}).encode()
        return (b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n" % len(body), body)

    upstream.answer = answer
    socket = await asyncio.start_unix_server(upstream._serve, tmp_path / "api.sock")
    async with scripted_issuer() as issuer, EgressProxy(login="u:hush-proxy") as egress:
        issuer.answers = grant
        async with Directory(base=f"{upstream.authority}/base") as directory:
            yield Runtime(upstream, egress, directory, issuer.url)
    socket.close()


def masked(text: str) -> str:
    """Without what only the credential's owner may see, and what is another each time."""
    for secret in SECRETS:
        text = text.replace(secret, "REDACTED")
    text = re.sub(rf'oauth_token="{oauth1.TOKEN}"', 'oauth_token="REDACTED"', text)
    text = re.sub(r'oauth_signature="[^"]*"', 'oauth_signature="REDACTED"', text)
    text = re.sub(r'oauth_(timestamp|nonce|body_hash)="[^"]*"', r'oauth_\1="-"', text)
    return re.sub(r"(?m)^DPoP: ey[^\r\n]*", "DPoP: REDACTED", text)


async def sent(program: Program, octets: bytes) -> int:
    """The status of one request's answer, whose body is of no interest."""
    host, _, port = program.url.removeprefix("http://").partition(":")
    client = Client(*await asyncio.open_connection(host, int(port)))
    try:
        await client.send(octets)
        while (head := await client.reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 100"):
            pass
        return int(head.split(b" ")[1])
    finally:
        client.writer.close()


async def shown(loaded: Loaded, octets: bytes) -> tuple[int, list[str]]:
    """Status and lines of what `explain` says."""
    try:
        return 200, await asyncio.to_thread(lambda: asyncio.run(explained(loaded, octets)))
    except ProxyError as error:
        return error.status, []


async def said_by_the_command(program: Program, loaded: Loaded, octets: bytes, capsys: Any) -> tuple[int, list[str]]:
    """The same by the command line, if the request can be written there."""
    line, *fields = octets.removesuffix(b"\r\n\r\n").decode("utf-8", "surrogateescape").split("\r\n")
    method, url, _ = line.split(" ")
    if request_of(method, url, fields, loaded.config) != octets:
        return await shown(loaded, octets)
    words = [word for field in fields for word in ("-H", field)]
    capsys.readouterr()
    code = await asyncio.to_thread(main, ["-c", str(program.file), "explain", method, url, *words])
    out, err = capsys.readouterr()
    if code == 0:
        return 200, out.splitlines()
    refused = re.search(r"\b([45]\d\d): ", err)
    assert refused is not None, err
    return int(refused[1]), []


async def test_the_same_lines_are_sent_and_shown_whatever_the_request_and_the_route(world, tmp_path, capsys):
    differing: list[tuple[object, ...]] = []
    compared = refused = number = 0
    async with Program(world.config, tmp_path) as program:
        loaded = load(program.file, os.environ)
        port = int(program.url.rpartition(":")[2])
        for name, case in world.requests():
            number += 1
            octets = case.octets(b"" if name == "open" else b"/" + name.encode(), number, port)
            status = await sent(program, octets + case.body)
            if name == "edited" or case is EVERYWHERE[0]:  # a command reads the whole file each time
                expected, lines = await said_by_the_command(program, loaded, octets, capsys)
            else:
                expected, lines = await shown(loaded, octets)
            head = world.came(number)
            if head is None:
                refused += 1
                differing += [(name, case, status, expected)] if status != expected else []
                continue
            compared += 1
            differing += [(name, case, *one) for one in differences(head, lines)]
    assert differing == []
    assert compared > 900
    assert refused > 50


def differences(head: bytes, lines: list[str]) -> list[tuple[object, object]]:
    """Between a head that came and what was said of it: the lines, and what a signature covers."""
    rest = lines[lines.index("") + 1 :]
    said = rest[: rest.index("")] if "" in rest else rest
    came = masked(head.decode("utf-8", "backslashreplace")).removesuffix("\r\n\r\n").split("\r\n")
    found: list[tuple[object, object]] = []
    if came != masked("\r\n".join(said)).split("\r\n"):
        found.append((came, said))
    if "hush" in "".join(lines):
        found.append(("a secret", lines))
    one = Received(0, head)
    for note in rest[len(said) :]:
        what, _, text = note.partition(": ")
        if what == "DPoP claims":
            ours, theirs = (
                {key: claims[key] for key in ("htm", "htu")}
                for claims in (json.loads(text), dpop.verified(one.field(b"dpop") or b""))
            )
            found += [(theirs, ours)] if ours != theirs else []
        elif what == "OAuth 1 base string":
            shown_nonce = re.search(r'oauth_nonce="(\w+)"', "".join(said))
            if shown_nonce is None or f"oauth_nonce%3D{shown_nonce[1]}%26" not in text:
                found.append(("the nonce of the line", text))
            host = (one.field(b"host") or b"").decode()
            where = Received(0, head.replace(b" http://" + host.encode(), b" ", 1))
            shown, signed = (
                re.sub(r"(oauth_(?:nonce|timestamp|token|body_hash)%3D)(?:(?!%26).)*", r"\1", base)
                for base in (text, oauth1.signature_base(where, f"http://{host}"))
            )
            found += [(signed, shown)] if shown != signed else []
    return found
