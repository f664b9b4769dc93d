from __future__ import annotations

import asyncio
import contextlib
import gzip
import socket
import threading
import time

import pytest
from aiohttp import web
from support.egress_proxy import EgressProxy
from support.issuer import scripted_issuer
from support.recording_upstream import RecordingUpstream
from support.tls import Authority

from proxy.config.schema import ClientTls, Duration, TokenTimeouts, ViaProxy
from proxy.errors import ConfigurationError, CredentialUnavailable
from proxy.tokens.body import MAX_REPLY
from proxy.tokens.http_client import HttpClient, HttpClients
from proxy.tokens.issuer_errors import ReplyLost, ReplyUnreadable

SHORT = TokenTimeouts(connect=Duration(1), total=Duration(1))


@pytest.fixture
def no_such_names(monkeypatch):
    """What is below `.invalid` does not resolve (RFC 6761 §6.4), and at once: real resolvers may take their time."""
    ask = socket.getaddrinfo

    def answer(host, *more, **options):
        if str(host).endswith(".invalid"):
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        return ask(host, *more, **options)

    monkeypatch.setattr(socket, "getaddrinfo", answer)


@contextlib.asynccontextmanager
async def raw_server(handle, **options):
    """A server of octets; its URL."""
    server = await asyncio.start_server(handle, "127.0.0.1", 0, **options)
    try:
        yield "{}://127.0.0.1:{}".format("https" if options.get("ssl") else "http", server.sockets[0].getsockname()[1])
    finally:
        server.close()


@contextlib.asynccontextmanager
async def client(*options):
    made = HttpClient(*options)
    try:
        yield made
    finally:
        await made.close()


def answering(octets: bytes, *, then_close: bool = True):
    """Read a head, say this."""

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            await reader.readuntil(b"\r\n\r\n")
            writer.write(octets)
            await writer.drain()
            if not then_close:
                await reader.read()
        writer.close()

    return handle


async def test_an_answer_comes_whole():
    async def handler(request: web.Request) -> web.Response:
        return web.json_response({"said": (await request.read()).decode()}, status=201, headers={"X-One": "1"})

    async with scripted_issuer([web.put("/x", handler)]) as issuer, client() as http:
        received = await http.send("PUT", f"{issuer.url}/x", headers=[("Content-Type", "text/plain")], body=b"hello")
    assert received.status == 201
    assert received.headers["x-ONE"] == "1"
    assert received.body == b'{"said": "hello"}'


async def test_the_url_goes_out_as_it_is_spelled():
    seen = []

    async def handler(request: web.Request) -> web.Response:
        seen.append(request.raw_path)
        return web.Response()

    async with scripted_issuer([web.get("/{rest:.*}", handler)]) as issuer, client() as http:
        await http.send("GET", f"{issuer.url}/a%2Fb/%7Ec?x=%20y+z&q=%41")
    assert seen == ["/a%2Fb/%7Ec?x=%20y+z&q=%41"]


async def test_the_callers_fields_win_over_ours():
    async with scripted_issuer() as issuer, client() as http:
        await http.send("POST", f"{issuer.url}/token", headers=[("accept", "text/x"), ("X-A", "1")], body=b"")
    assert issuer.asked[0].headers["accept"] == "text/x"
    assert issuer.asked[0].headers["x-a"] == "1"
    assert issuer.asked[0].headers["user-agent"] == "auth-sidecar"


async def test_every_request_has_a_connection_of_its_own():
    """D2: a library that repeats a request on a dead connection would repeat its proof."""
    ports = []

    async def handler(request: web.Request) -> web.Response:
        ports.append(request.transport.get_extra_info("peername")[1])
        return web.Response()

    async with scripted_issuer([web.get("/x", handler)]) as issuer, client() as http:
        for _ in range(3):
            await http.send("GET", f"{issuer.url}/x")
    assert len(set(ports)) == 3


async def test_a_long_answer_is_cut_one_octet_after_the_bound():
    """A11."""

    async def handler(_: web.Request) -> web.Response:
        return web.Response(body=b"a" * (3 * MAX_REPLY))

    async with scripted_issuer([web.get("/x", handler)]) as issuer, client() as http:
        received = await http.send("GET", f"{issuer.url}/x")
    assert len(received.body) == MAX_REPLY + 1


async def test_long_fields_do_not_cost_the_answer():
    """Identity providers send large policies and cookies; a rotated refresh token would be lost with the rest."""
    octets = b"HTTP/1.1 200 OK\r\nContent-Security-Policy: %b\r\nContent-Length: 2\r\n\r\nok" % (b"x" * 20_000)
    async with raw_server(answering(octets)) as url, client() as it:
        assert (await it.send("GET", url)).body == b"ok"


async def test_an_answer_that_unpacks_without_end_is_cut_too():
    packed = gzip.compress(b"a" * (50 * MAX_REPLY))

    async def handler(_: web.Request) -> web.Response:
        return web.Response(body=packed, headers={"Content-Encoding": "gzip"})

    async with scripted_issuer([web.get("/x", handler)]) as issuer, client() as http:
        assert len((await http.send("GET", f"{issuer.url}/x")).body) == MAX_REPLY + 1


async def test_a_refused_connection_was_never_sent():
    async with raw_server(answering(b"")) as url:
        pass
    async with client() as http:
        with pytest.raises(CredentialUnavailable, match="cannot be reached") as caught:
            await http.send("POST", url, body=b"refresh_token=s3cret")
    assert type(caught.value) is CredentialUnavailable
    assert "s3cret" not in str(caught.value)


@pytest.mark.usefixtures("no_such_names")
async def test_a_name_that_does_not_resolve_was_never_sent():
    async with client() as http:
        with pytest.raises(CredentialUnavailable, match="does not resolve") as caught:
            await http.send("POST", "http://name.invalid/token", body=b"x")
    assert type(caught.value) is CredentialUnavailable


@pytest.mark.parametrize("octets", [b"", b"HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\nshort"])
async def test_what_was_sent_and_not_answered_whole_is_lost(octets):
    async with raw_server(answering(octets)) as url, client() as http:
        with pytest.raises(ReplyLost):
            await http.send("POST", f"{url}/token", body=b"x")


async def test_an_answer_that_does_not_come_in_time_is_lost():
    async with (
        raw_server(answering(b"HTTP/1.1 200 OK\r\n", then_close=False)) as url,
        client(None, None, SHORT) as http,
    ):
        with pytest.raises(ReplyLost, match="in time"):
            await http.send("POST", f"{url}/token", body=b"x")


async def test_an_answer_that_came_while_the_process_was_stopped_is_not_lost():
    asked, stopped = threading.Event(), threading.Event()

    def answer() -> None:
        connection, _ = listener.accept()
        with connection:
            connection.recv(65536)
            asked.set()
            stopped.wait()
            connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")

    with socket.create_server(("127.0.0.1", 0)) as listener:
        server = threading.Thread(target=answer)
        server.start()
        async with client(None, None, SHORT) as it:
            sending = asyncio.create_task(it.send("GET", f"http://127.0.0.1:{listener.getsockname()[1]}/"))
            while not asked.is_set():
                await asyncio.sleep(0)
            stopped.set()
            server.join()
            time.sleep(1.5)
            assert (await sending).body == b"ok"


async def test_a_handshake_that_does_not_come_was_never_sent():
    async def mute(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        writer.close()

    async with raw_server(mute) as url, client(None, None, SHORT) as http:
        with pytest.raises(CredentialUnavailable) as caught:
            await http.send("POST", url.replace("http:", "https:"), body=b"x")
    assert type(caught.value) is CredentialUnavailable


async def test_what_is_no_url_or_no_field_is_an_error_of_its_own():
    async with client() as http:
        for url in ("nonsense", "http://", "http://[::1/", "ftp://x.invalid/"):
            with pytest.raises(CredentialUnavailable):
                await http.send("GET", url)
    async with raw_server(answering(b"")) as url, client() as http:
        with pytest.raises(CredentialUnavailable, match="malformed"):
            await http.send("GET", url, headers=[("X", "a\r\nb")])


# ---- TLS -------------------------------------------------------------------------------------------------------------

GOOD = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


def trusting(authority: Authority, directory, **more) -> ClientTls:
    path = directory / "ca.pem"
    path.write_bytes(authority.certificate)
    return ClientTls(ca_file=str(path), **more)


async def test_certificates_are_verified(tmp_path):
    ours, other = Authority(), Authority("somebody else")
    async with raw_server(answering(GOOD), ssl=ours.server_context()) as url:
        async with client(trusting(ours, tmp_path)) as http:
            assert (await http.send("POST", url, body=b"x")).body == b"ok"
        async with client(trusting(other, tmp_path)) as http:
            with pytest.raises(CredentialUnavailable, match="does not verify") as caught:
                await http.send("POST", url, body=b"x")
    assert type(caught.value) is CredentialUnavailable


async def test_the_name_to_verify_can_be_given(tmp_path):
    authority = Authority()
    context = authority.server_context(authority.server("as.example"))
    async with raw_server(answering(GOOD), ssl=context) as url:
        async with client(trusting(authority, tmp_path, server_name="as.example")) as http:
            assert (await http.send("GET", url)).status == 200
        async with client(trusting(authority, tmp_path)) as http:
            with pytest.raises(CredentialUnavailable, match="does not verify"):
                await http.send("GET", url)


async def test_a_client_certificate_is_shown(tmp_path):
    authority = Authority()
    certificate, key = authority.client().write(tmp_path, "client")
    tls = trusting(authority, tmp_path, cert_file=str(certificate), key_file=str(key))
    async with raw_server(answering(GOOD), ssl=authority.server_context(clients=True)) as url:
        async with client(tls) as http:
            assert (await http.send("GET", url)).status == 200
        async with client(trusting(authority, tmp_path)) as http:
            with pytest.raises(CredentialUnavailable):
                await http.send("GET", url)


async def test_tls_with_what_speaks_none_fails_by_name():
    async def plain(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1)
        writer.write(GOOD)
        writer.close()

    async with raw_server(plain) as url, client() as http:
        with pytest.raises(CredentialUnavailable, match="TLS") as caught:
            await http.send("POST", url.replace("http:", "https:"), body=b"x")
    assert type(caught.value) is CredentialUnavailable


async def test_a_certificate_that_is_missing_is_a_configuration_error(tmp_path):
    with pytest.raises(ConfigurationError, match=r"gone\.pem"):
        HttpClient(ClientTls(ca_file=str(tmp_path / "gone.pem")))


# ---- through a proxy -------------------------------------------------------------------------------------------------


async def connecting(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, seen: list[bytes]) -> None:
    """A proxy that connects for one client (RFC 9110 §9.3.6)."""
    head = await reader.readuntil(b"\r\n\r\n")
    seen.append(head.split(b"\r\n")[0])
    host, port = head.split()[1].decode().rsplit(":", 1)
    there_reader, there_writer = await asyncio.open_connection(host, int(port))
    writer.write(b"HTTP/1.1 200 Connection established\r\n\r\n")

    async def pump(source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError):
            while octets := await source.read(65536):
                sink.write(octets)
        sink.close()

    await asyncio.gather(pump(reader, there_writer), pump(there_reader, writer))


async def test_a_proxy_is_asked_to_connect_unless_the_host_is_excepted(tmp_path):
    authority = Authority()
    seen: list[bytes] = []
    async with (
        raw_server(answering(GOOD), ssl=authority.server_context()) as url,
        raw_server(lambda reader, writer: connecting(reader, writer, seen)) as proxy,
    ):
        async with client(trusting(authority, tmp_path), ViaProxy(url=proxy)) as http:
            assert (await http.send("GET", url)).status == 200
        assert [line.split()[0] for line in seen] == [b"CONNECT"]
        for pattern in ("127.0.0.1", "127.0.0.0/8", f"127.0.0.1:{url.rpartition(':')[2]}", "*"):
            async with client(trusting(authority, tmp_path), ViaProxy(url=proxy, no_proxy=(pattern,))) as http:
                assert (await http.send("GET", url)).status == 200
        assert len(seen) == 1
        async with client(trusting(authority, tmp_path), ViaProxy(url=proxy, no_proxy=("example",))) as http:
            await http.send("GET", url)
        assert len(seen) == 2


@pytest.mark.usefixtures("no_such_names")
async def test_no_proxy_covers_what_is_below_a_domain():
    via = ViaProxy(url="http://127.0.0.1:1", no_proxy=("internal.invalid", ".dotted.invalid"))
    async with client(None, via) as http:
        for host in ("internal.invalid", "a.internal.invalid", "a.dotted.invalid"):
            with pytest.raises(CredentialUnavailable, match="does not resolve"):
                await http.send("GET", f"https://{host}/")
        with pytest.raises(CredentialUnavailable, match="proxy"):
            await http.send("GET", "https://xinternal.invalid/")


async def test_a_proxy_that_refuses_is_named():
    refusing = answering(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n")
    async with raw_server(refusing) as proxy, client(None, ViaProxy(url=proxy)) as http:
        with pytest.raises(CredentialUnavailable, match="proxy refused") as caught:
            await http.send("POST", "https://as.invalid/token", body=b"x")
    assert type(caught.value) is CredentialUnavailable


class Password:
    """A secret that is at hand, and may change."""

    def __init__(self, value: str) -> None:
        self.value = value
        self.changes = 0

    def ready(self) -> str | None:
        return self.value

    async def read(self, *, anew: bool = False) -> str:  # noqa: ARG002 - the interface
        return self.value


@pytest.mark.parametrize("encrypted", [True, False])
async def test_a_proxy_is_told_the_password_and_the_issuer_is_not(tmp_path, encrypted):
    authority = Authority()
    password = Password("gehéim:x")
    context = authority.server_context() if encrypted else None
    async with RecordingUpstream(tls=context) as issuer, EgressProxy(login="prøxy:gehéim:x") as egress:
        via = ViaProxy(url=egress.url, username="prøxy")
        async with client(trusting(authority, tmp_path), via, SHORT, password) as http:
            for attempt in range(2):
                password.value = egress.login.partition(":")[2]
                assert (await http.send("POST", f"{issuer.url}/token?a", body=b"grant")).status == 200
                egress.login = f"prøxy:{attempt}"
    assert [one.line.split()[0] for one in issuer.requests] == [b"POST", b"POST"]
    assert all(one.field(b"proxy-authorization") is None for one in issuer.requests)
    way = f"CONNECT {issuer.authority}" if encrypted else f"POST {issuer.url}/token?a"
    assert egress.lines == [f"{way} HTTP/1.1".encode()] * 2


@pytest.mark.parametrize("scheme", ["http", "https"])
@pytest.mark.parametrize("password", [None, "wrong"])
async def test_a_407_of_the_proxy_is_no_answer_of_the_issuer_and_nothing_of_the_request_is_spent(scheme, password):
    async with RecordingUpstream() as issuer, EgressProxy(login="u:right") as egress:
        via = ViaProxy(url=egress.url, username="u" if password else None)
        async with client(None, via, SHORT, password and Password(password)) as http:
            with pytest.raises(CredentialUnavailable, match=r"user name and password \(status 407\)") as caught:
                await http.send("POST", f"{scheme}://{issuer.authority}/token", body=b"grant")
    assert type(caught.value) is CredentialUnavailable
    assert issuer.requests == []


async def test_a_407_of_an_issuer_without_a_proxy_is_its_own():
    async with RecordingUpstream(answer=b"HTTP/1.1 407 Odd\r\nContent-Length: 0\r\n\r\n") as issuer, client() as http:
        assert (await http.send("POST", f"{issuer.url}/token", body=b"x")).status == 407


@pytest.mark.usefixtures("no_such_names")
async def test_names_of_services_may_have_underscores():
    async with client() as http:
        with pytest.raises(CredentialUnavailable, match="does not resolve"):
            await http.send("POST", "https://my_issuer.invalid:8443/token", body=b"x")


# ---- sharing ---------------------------------------------------------------------------------------------------------


async def test_equal_options_share_one_client():
    clients = HttpClients()
    one = clients.get(None, None, TokenTimeouts())
    assert clients.get(None, None, TokenTimeouts()) is one
    other = clients.get(None, None, SHORT)
    assert other is not one
    assert other._tls is one._tls, "authorities are large"
    await clients.close()


async def test_a_closed_client_opens_again():
    async with scripted_issuer() as issuer:
        clients = HttpClients()
        http = clients.get(None, None, TokenTimeouts())
        await http.send("POST", f"{issuer.url}/token", body=b"")
        await clients.close()
        await clients.close()
        await http.send("POST", f"{issuer.url}/token", body=b"")
        await clients.close()
    assert issuer.count == 2


async def test_an_answer_cannot_be_printed():
    async with scripted_issuer() as issuer, client() as http:
        received = await http.send("POST", f"{issuer.url}/token", body=b"")
    assert "at-1" not in repr(received)


NO_HTTP = {
    "a field without a colon": b"HTTP/1.1 200 OK\r\nno field\r\nContent-Length: 2\r\n\r\n{}",
    "an endless field": b"HTTP/1.1 200 OK\r\nX: " + b"a" * 200_000 + b"\r\nContent-Length: 2\r\n\r\n{}",
    "two lengths": b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\n{}",
    "no chunk": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n{}\r\n",
    "words": b"hello world\r\n\r\n",
    "nonsense": b"HTTP/1.1 nonsense\r\n\r\n",
    "octets": b"\x00\xff",
}


async def answered(octets: bytes, **how):
    """What becomes of a request that is answered with these octets."""
    async with raw_server(answering(octets)) as url, client() as http:
        return await http.send("POST", f"{url}/token", body=b"a=b", **how)


@pytest.mark.parametrize("what", list(NO_HTTP))
async def test_an_answer_that_is_no_http_is_not_taken_for_no_answer(what):
    for how in ({}, {"incomplete": True}):
        with pytest.raises(ReplyUnreadable, match="answer cannot be read"):
            await answered(NO_HTTP[what], **how)


@pytest.mark.parametrize("octets", [b"", b"HTTP/1.1 200 OK\r\nContent-Le"])
async def test_no_answer_and_no_whole_head_are_no_answer(octets):
    with pytest.raises(ReplyLost):
        await answered(octets, incomplete=True)


@pytest.mark.parametrize("coding", ["", "gzip", "x-gzip", "br", "zstd", "deflate", "identity", "utf-8", "gzip, gzip"])
async def test_what_is_said_of_its_coding_does_not_cost_an_answer(coding):
    head = b"HTTP/1.1 200 OK\r\nContent-Encoding: %b\r\nContent-Length: %d\r\n\r\n"
    for body in (b"{}", gzip.compress(b"{}"), gzip.compress(gzip.compress(b"{}"))):
        received = await answered(head % (coding.encode(), len(body)) + body)
        assert (received.body, received.whole) == (b"{}", True)


CUT = {
    "by its length": b"HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n{}",
    "by its chunks": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n",
}


@pytest.mark.parametrize("how", list(CUT))
async def test_an_answer_that_breaks_off_is_told_with_what_had_come_where_that_is_wanted(how):
    received = await answered(CUT[how], incomplete=True)
    assert (received.status, received.body, received.whole) == (200, b"{}", False)
    with pytest.raises(ReplyLost):
        await answered(CUT[how])
