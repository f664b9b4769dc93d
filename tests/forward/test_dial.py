"""Opening a connection: each failure by its own name."""

from __future__ import annotations

import asyncio
import contextlib
import datetime as dt
import os
import socket
import ssl
import threading

import pytest
from msgspec.structs import replace
from support.clock import FakeClock
from support.front import Gate, request
from support.process import free_port
from support.recording_upstream import RecordingUpstream
from support.tls import Authority

from proxy.config import schema
from proxy.errors import ConfigurationError, ConnectionRefused, ConnectTimeout
from proxy.forward.dial import Dialler, Origin
from proxy.forward.directory_errors import AddressProhibited
from proxy.forward.resolver import Resolver

IMPATIENT = {"timeouts": replace(schema.RouteTimeouts(), connect=schema.Duration(0.2))}


async def status_of(url: str, **route) -> tuple[int, bytes]:
    async with Gate(url, route=route) as gate:
        answer = await gate.ask(request())
    return answer.status, (answer.field(b"proxy-status") or b"").removeprefix(b"auth-sidecar; error=")


async def test_a_port_where_nobody_listens_is_refused():
    """Row 55."""
    assert await status_of(f"http://127.0.0.1:{free_port()}") == (502, b"connection_refused")


async def test_a_name_that_does_not_resolve_is_a_dns_error(monkeypatch):
    """Row 55."""

    def no_such_name(*_args, **_options):
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", no_such_name)  # a resolver without a network may take its time
    assert await status_of("http://no-such-host.invalid:1") == (502, b"dns_error")


async def test_a_name_that_is_not_resolved_in_time_is_a_dns_timeout(monkeypatch):
    """Row 55."""

    enough = threading.Event()
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_args, **_options: enough.wait(10))
    try:
        assert await status_of("http://slow.example:1", **IMPATIENT) == (504, b"dns_timeout")
    finally:
        enough.set()


async def test_a_handshake_that_is_not_answered_is_a_connection_timeout():
    """Row 55."""

    async def silence(reader, writer):
        await reader.read()
        writer.close()

    async with await asyncio.start_server(silence, "127.0.0.1", 0) as server:
        url = f"https://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        assert await status_of(url, **IMPATIENT) == (504, b"connection_timeout")


@pytest.mark.parametrize("trouble", ["unknown", "expired", "name", None])
async def test_a_certificate_must_verify_in_every_way(tmp_path, trouble):
    authority, other = Authority(), Authority()
    names = ("other.example",) if trouble == "name" else ()
    pair = authority.server(*names, lifetime=dt.timedelta(days=-1 if trouble == "expired" else 1))
    (tmp_path / "ca.pem").write_bytes((other if trouble == "unknown" else authority).certificate)
    tls = schema.ClientTls(ca_file=str(tmp_path / "ca.pem"))
    async with RecordingUpstream(tls=authority.server_context(pair)) as upstream:
        wanted = (502, b"tls_certificate_error") if trouble else (200, b"")
        assert await status_of(upstream.url, tls=tls) == wanted
        assert bool(upstream.requests) is (trouble is None)


async def test_a_server_name_is_asked_for_and_verified_in_place_of_the_host(tmp_path):
    authority = Authority()
    (tmp_path / "ca.pem").write_bytes(authority.certificate)
    tls = schema.ClientTls(ca_file=str(tmp_path / "ca.pem"), server_name="other.example")
    async with RecordingUpstream(tls=authority.server_context(authority.server("other.example"))) as upstream:
        assert await status_of(upstream.url, tls=tls) == (200, b"")


@pytest.mark.parametrize(
    ("host", "server_name", "asked"),
    [
        ("other.example.", None, "other.example"),
        ("api.example", None, "api.example"),
        ("API.example:8443", None, "api.example"),
        ("my_api", None, "my_api"),
        ("api.example", "other.example", "other.example"),
        ("127.0.0.9", None, None),
        ("[::1]:9", None, None),
        (None, None, "localhost"),
    ],
)
async def test_the_host_of_a_route_is_asked_for_and_verified_and_sent(tmp_path, host, server_name, asked):
    """RFC 6066 §3: an address is verified, but not asked for."""
    authority = Authority()
    (tmp_path / "ca.pem").write_bytes(authority.certificate)
    names = ("api.example", "my_api", "other.example", "127.0.0.9", "::1", "localhost")
    context = authority.server_context(authority.server(*names))
    heard: list[str | None] = []
    context.sni_callback = lambda _ssl, name, _context: heard.append(name)
    route = {"host": host, "tls": schema.ClientTls(ca_file=str(tmp_path / "ca.pem"), server_name=server_name)}
    async with RecordingUpstream(tls=context) as upstream, Gate(upstream.url, route=route) as gate:
        assert (await gate.ask(request())).status == 200
    assert heard == [asked]
    assert upstream.requests[0].field(b"host") == (host or upstream.authority).encode()


async def test_a_certificate_for_the_address_alone_is_not_one_for_the_host_of_the_route(tmp_path):
    authority = Authority()
    (tmp_path / "ca.pem").write_bytes(authority.certificate)
    tls = schema.ClientTls(ca_file=str(tmp_path / "ca.pem"))
    async with RecordingUpstream(tls=authority.server_context()) as upstream:
        assert await status_of(upstream.url, host="api.example", tls=tls) == (502, b"tls_certificate_error")


async def test_routes_with_other_hosts_share_no_connection(upstream):
    more = (
        {"match": schema.Match(path="/b"), "host": "b.example"},
        {"match": schema.Match(path="/c"), "host": "c_c:1"},
    )
    async with Gate(upstream.url, more_routes=more) as gate, gate.client() as client:
        for _ in range(2):
            for path in ("/crm/x", "/b/x", "/c/x"):
                assert (await client.ask(request("GET", path))).status == 200
    seen = {(one.connection, one.field(b"host")) for one in upstream.requests}
    assert len(seen) == 3
    assert {host for _, host in seen} == {upstream.authority.encode(), b"b.example", b"c_c:1"}


async def test_a_service_whose_name_has_an_underscore_is_reached_and_named(upstream, monkeypatch):
    ask = socket.getaddrinfo

    def answer(host, *more, **options):
        return ask("127.0.0.1" if host == "my_service" else host, *more, **options)

    monkeypatch.setattr(socket, "getaddrinfo", answer)
    async with Gate(f"http://my_service:{upstream.port}") as gate:
        assert (await gate.ask(request())).status == 200
    assert upstream.requests[0].field(b"host") == f"my_service:{upstream.port}".encode()


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
async def test_an_upstream_that_wants_another_client_certificate_is_a_failure_of_tls(tmp_path, version):
    """In TLS 1.3 it says so after the handshake, when the request is on its way (RFC 8446 §4.4.2.4)."""
    authority = Authority()
    (tmp_path / "ca.pem").write_bytes(authority.certificate)
    context = authority.server_context(clients=True)
    context.minimum_version = context.maximum_version = version

    def refuse(server):  # asyncio's server would end the connection without its alert
        connection, _ = server.accept()
        with connection, contextlib.suppress(ssl.SSLError):
            context.wrap_socket(connection, server_side=True)

    with socket.create_server(("127.0.0.1", 0)) as server:
        refusing = asyncio.to_thread(refuse, server)
        asking = status_of(
            f"https://127.0.0.1:{server.getsockname()[1]}", tls=schema.ClientTls(ca_file=str(tmp_path / "ca.pem"))
        )
        _, answer = await asyncio.gather(refusing, asking)
    assert answer == (502, b"tls_protocol_error")


async def test_a_rotated_client_certificate_is_used_for_the_next_connection(tmp_path):
    authority = Authority()
    (tmp_path / "ca.pem").write_bytes(authority.certificate)
    certificate, key = Authority().client().write(tmp_path, "client")
    tls = schema.ClientTls(ca_file=str(tmp_path / "ca.pem"), cert_file=str(certificate), key_file=str(key))
    async with (
        RecordingUpstream(tls=authority.server_context(clients=True)) as upstream,
        Gate(upstream.url, route={"tls": tls}) as gate,
    ):
        assert (await gate.ask(request())).status == 502
        authority.client().write(tmp_path, "client")
        os.utime(certificate, ns=(1, 1))
        assert (await gate.ask(request())).status == 200


@pytest.mark.parametrize(
    ("address", "found"),
    [("169.254.169.254", True), ("fe80::1", True), ("::ffff:169.254.1.1", True), ("0.0.0.0", True), ("0.0.0.0", False)],
)
async def test_a_name_from_a_directory_must_not_lead_to_a_link_local_address(monkeypatch, address, found):
    """One such address among others is enough. Who writes the name into the configuration means it."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET

    def resolve(*_args, **_options):
        return [
            (socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", free_port())),
            (family, socket.SOCK_STREAM, 6, "", (address, 1)),
        ]

    monkeypatch.setattr(socket, "getaddrinfo", resolve)
    dialler = Dialler(Origin("http", "metadata.example", 1, 1.0, found=found))
    with pytest.raises(AddressProhibited if found else ConnectionRefused):
        await dialler.dial(asyncio.Protocol)


@pytest.fixture
def names(monkeypatch):
    """What the system's resolver says: a list of addresses for `api.example`, all else as ever."""
    known, ask = ["127.0.0.1"], socket.getaddrinfo

    def answer(host, port, **options):
        if host != "api.example":
            return ask(host, port, **options)
        return [found for one in known for found in ask(one, port, type=socket.SOCK_STREAM)]

    monkeypatch.setattr(socket, "getaddrinfo", answer)
    return known


async def connect(dialler: Dialler) -> asyncio.Transport:
    """What is connected, once."""
    protocol = await dialler.dial(Scheduled)
    assert isinstance(protocol, Scheduled)
    return protocol.transport


class Scheduled(asyncio.Protocol):
    def connection_made(self, transport) -> None:
        self.transport = transport
        self.received = asyncio.get_running_loop().create_future()

    def data_received(self, data) -> None:
        self.received.set_result(data)


async def test_all_addresses_of_a_name_are_tried(upstream, names):
    """Row 48."""
    names[:] = ["127.0.0.77", "::1", "127.0.0.1"]
    assert await status_of(f"http://api.example:{upstream.port}") == (200, b"")


async def test_where_a_known_address_fails_the_name_is_asked_for_once_more(upstream, names):
    """Row 48: an API that moves is followed at once, and no request is lost."""
    dialler = Dialler(Origin("http", "api.example", upstream.port, 5.0))
    clock = FakeClock()
    dialler._resolver = Resolver("api.example", upstream.port, clock.elapsed)
    names[:] = ["127.0.0.77"]
    with pytest.raises(ConnectionRefused):
        await connect(dialler)
    await clock.advance(2)
    names[:] = ["127.0.0.1"]
    (await connect(dialler)).abort()


async def test_addresses_that_do_not_answer_are_asked_for_anew_by_the_next(upstream, names, monkeypatch):
    """Row 48."""
    dialler = Dialler(Origin("http", "api.example", upstream.port, 0.05))
    patient = Origin("http", "api.example", upstream.port, 30.0)
    clock = FakeClock()
    dialler._resolver = Resolver("api.example", upstream.port, clock.elapsed)
    names[:] = ["127.0.0.77"]
    await dialler._resolver.addresses(5.0)
    await clock.advance(2)

    async def silence(*_args, **_options):
        await asyncio.Event().wait()

    with monkeypatch.context() as patched:
        patched.setattr(asyncio.get_running_loop(), "sock_connect", silence)
        with pytest.raises(ConnectTimeout):
            await connect(dialler)
    dialler.origin = patient
    names[:] = ["127.0.0.1"]
    (await connect(dialler)).abort()


@pytest.mark.parametrize("newest", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
async def test_a_new_connection_resumes_the_session_of_the_last_one(tmp_path, newest):
    """Row 52. Not with another certificate of ours: whoever we are now, the session is somebody else's."""
    authority = Authority()
    (tmp_path / "ca.pem").write_bytes(authority.certificate)
    certificate, key = authority.client().write(tmp_path, "client")
    tls = schema.ClientTls(ca_file=str(tmp_path / "ca.pem"), cert_file=str(certificate), key_file=str(key))
    context = authority.server_context()
    context.maximum_version = newest

    async def greet(_reader, writer):
        writer.write(b"hello")
        await writer.drain()
        writer.close()

    async with await asyncio.start_server(greet, "127.0.0.1", 0, ssl=context) as server:
        dialler = Dialler(Origin("https", "localhost", server.sockets[0].getsockname()[1], 5.0, tls))
        resumed = []
        for turn in range(4):
            if turn == 2:
                os.utime(certificate, ns=(1, 1))
            transport = await connect(dialler)
            kept = transport.get_protocol()
            assert isinstance(kept, Scheduled)
            assert await kept.received == b"hello"
            resumed.append(transport.get_extra_info("ssl_object").session_reused)
            transport.abort()
        assert resumed == [False, True, False, True]


def test_certificates_that_cannot_be_read_are_an_error_of_the_configuration():
    with pytest.raises(ConfigurationError, match="nowhere"):
        Dialler(Origin("https", "localhost", 443, 5.0, schema.ClientTls(ca_file="/nowhere.pem")))


@pytest.mark.parametrize(
    ("origin", "authority"),
    [
        (Origin("https", "api.example", 443, 5.0), "api.example"),
        (Origin("https", "api.example", 80, 5.0), "api.example:80"),
        (Origin("http", "::1", 8080, 5.0), "[::1]:8080"),
        (Origin("http", "::1", 80, 5.0), "[::1]"),
    ],
)
def test_an_authority_leaves_out_its_schemes_own_port(origin, authority):
    assert origin.authority == authority
