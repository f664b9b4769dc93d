"""Through an egress proxy."""

from __future__ import annotations

import asyncio

import pytest
from support.front import Gate, request
from support.recording_upstream import RecordingUpstream
from support.tls import Authority

from proxy.config import schema
from proxy.errors import ConfigurationError
from proxy.forward.egress import Egress


class EgressProxy:
    """Connects, or says what it is told to."""

    def __init__(self, answer: bytes = b"HTTP/1.1 200 Connection established\r\nVia: x\r\n\r\n") -> None:
        self.answer = answer
        self.heads: list[bytes] = []

    async def serve(self, reader, writer) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        self.heads.append(head)
        writer.write(self.answer)
        if b" 200 " in self.answer:
            port = int(head.split(b" ")[1].rpartition(b":")[2])
            far_reader, far_writer = await asyncio.open_connection("127.0.0.1", port)
            await asyncio.gather(self.pump(reader, far_writer), self.pump(far_reader, writer))
        writer.close()

    @staticmethod
    async def pump(reader, writer) -> None:
        try:
            while piece := await reader.read(2**16):
                writer.write(piece)
                await writer.drain()
        except ConnectionError:
            pass
        writer.close()

    async def __aenter__(self):
        self.server = await asyncio.start_server(self.serve, "127.0.0.1", 0)
        self.port = self.server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_):
        self.server.close()
        await self.server.wait_closed()


async def test_http_goes_through_and_the_connection_is_kept(upstream):
    async with EgressProxy() as egress:
        via = schema.ViaProxy(url=f"http://127.0.0.1:{egress.port}")
        async with Gate(upstream.url, route={"via_proxy": via}) as gate, gate.client() as client:
            for _ in range(3):
                assert (await client.ask(request("POST", body=b"x"))).status == 200
    (head,) = egress.heads
    assert head == b"CONNECT %b HTTP/1.1\r\nHost: %b\r\n\r\n" % ((upstream.authority.encode(),) * 2)


async def test_https_is_encrypted_to_the_upstream_itself(tmp_path):
    authority = Authority()
    (tmp_path / "ca.pem").write_bytes(authority.certificate)
    tls = schema.ClientTls(ca_file=str(tmp_path / "ca.pem"))
    body = bytes(range(256)) * 4096
    async with RecordingUpstream(tls=authority.server_context()) as upstream, EgressProxy() as egress:
        route = {"tls": tls, "via_proxy": schema.ViaProxy(url=f"http://127.0.0.1:{egress.port}")}
        async with Gate(upstream.url, route=route) as gate:
            assert (await gate.ask(request("PUT", body=body))).status == 200
    assert upstream.requests[0].body == body
    assert egress.heads[0].startswith(b"CONNECT localhost:")


async def test_hosts_of_no_proxy_are_reached_directly(upstream):
    async with EgressProxy() as egress:
        via = schema.ViaProxy(url=f"http://127.0.0.1:{egress.port}", no_proxy=("127.0.0.*",))
        async with Gate(upstream.url, route={"via_proxy": via}) as gate:
            assert (await gate.ask(request())).status == 200
    assert egress.heads == []


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        (b"HTTP/1.1 407 Proxy Authentication Required\r\n\r\n", b"connection_refused"),
        (b"HTTP/1.1 302 Found\r\nLocation: /\r\n\r\n", b"connection_refused"),
        (b"HTTP/1.1 2OO OK\r\n\r\n", b"http_protocol_error"),
        (b"HTTP/1.1 201 Created\r\n\r\nsurplus", b"http_protocol_error"),
        (b"HTTP/1.1 201 Created\r\nX: " + b"x" * 20_000 + b"\r\n\r\n", b"http_response_header_section_size"),
        (b"SSH-2.0\r\n\r\n", b"http_protocol_error"),
        (b"", b"connection_refused"),
        (b"HTTP/1.1 103 Early Hints\r\n\r\nHTTP/1.1 403 No\r\n\r\n", b"connection_refused"),
    ],
)
async def test_any_other_answer_of_the_proxy_is_502_and_nothing_is_sent(upstream, answer, error):
    async with EgressProxy(answer) as egress:
        via = schema.ViaProxy(url=f"http://127.0.0.1:{egress.port}")
        async with Gate(upstream.url, route={"via_proxy": via}) as gate:
            got = await gate.ask(request())
    assert got.status == 502
    assert got.field(b"proxy-status") == b"auth-sidecar; error=" + error
    assert upstream.requests == []


async def test_a_proxy_that_is_not_there_is_502(upstream):
    async with EgressProxy() as egress:
        via = schema.ViaProxy(url=f"http://127.0.0.1:{egress.port}")
    async with Gate(upstream.url, route={"via_proxy": via}) as gate:
        got = await gate.ask(request())
    assert (got.status, got.field(b"proxy-status")) == (502, b"auth-sidecar; error=connection_refused")


@pytest.mark.parametrize("url", ["https://egress:3128", "socks5://egress:1080", "egress:3128"])
def test_other_kinds_of_proxies_are_an_error_of_the_configuration(url):
    with pytest.raises(ConfigurationError, match="http://"):
        Egress(url)
