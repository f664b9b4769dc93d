"""Opening a connection: each failure by its own name."""

from __future__ import annotations

import asyncio
import datetime as dt
import os
import socket

import pytest
from msgspec.structs import replace
from support.front import Gate, request
from support.recording_upstream import RecordingUpstream
from support.tls import Authority

from proxy.config import schema
from proxy.errors import ConfigurationError
from proxy.forward.dial import Dialler, Origin

IMPATIENT = {"timeouts": replace(schema.RouteTimeouts(), connect=schema.Duration(0.2))}


async def status_of(url: str, **route) -> tuple[int, bytes]:
    async with Gate(url, route=route) as gate:
        answer = await gate.ask(request())
    return answer.status, (answer.field(b"proxy-status") or b"").removeprefix(b"auth-sidecar; error=")


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


async def test_a_port_where_nobody_listens_is_refused():
    """Row 55."""
    assert await status_of(f"http://127.0.0.1:{free_port()}") == (502, b"connection_refused")


async def test_a_name_that_does_not_resolve_is_a_dns_error():
    """Row 55."""
    assert await status_of("http://no-such-host.invalid:1") == (502, b"dns_error")


async def test_a_name_that_is_not_resolved_in_time_is_a_dns_timeout(monkeypatch):
    """Row 55."""

    async def never(*_args, **_options):
        await asyncio.Event().wait()

    async with Gate("http://slow.example:1", route=IMPATIENT) as gate:
        monkeypatch.setattr(gate.front.loop, "getaddrinfo", never)
        gate.port, answer = gate.port, await gate.ask(request())
    assert answer.status == 504
    assert answer.field(b"proxy-status") == b"auth-sidecar; error=dns_timeout"


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
