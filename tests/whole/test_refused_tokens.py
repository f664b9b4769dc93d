"""What happens to a request whose token the upstream refuses, over TLS, octet for octet."""

from __future__ import annotations

import asyncio
import io

import pytest
from support.process import Program
from support.recording_upstream import OK, READ, RecordingUpstream
from support.settings import client_credentials, one_route
from support.tls import Authority

REFUSED = (
    b"HTTP/1.1 401 Unauthorized\r\n"
    b'WWW-Authenticate: Bearer error="invalid_token"\r\n'
    b"Content-Length: 4\r\nX-Attempt: first\r\n\r\ngone"
)


@pytest.fixture
def authority():
    return Authority()


@pytest.fixture
async def upstream(authority):
    async with RecordingUpstream(tls=authority.server_context()) as running:
        yield running


@pytest.fixture
async def program(sandbox, upstream, authority, tmp_path):
    (tmp_path / "ca.pem").write_bytes(authority.certificate)
    config = one_route(upstream.url + "/v2", client_credentials(sandbox.token_endpoint), tls={"ca_file": "ca.pem"})
    async with Program(config, tmp_path) as running:
        yield running


def without_credential(octets):
    return b"".join(
        line for line in bytes(octets).splitlines(keepends=True) if not line.lower().startswith(b"authorization:")
    )


async def test_a_small_post_is_sent_again_octet_for_octet_with_a_new_token(program, upstream, sandbox, fetch):
    """A7."""
    upstream.script(REFUSED)
    body = bytes(range(256)) * 4
    headers = {"X-Odd": "1", "x-odd": "2", "Content-Type": "application/x-thing"}
    status, _, answer = await fetch(program.url + "/api/a%2Fb?q=%7E", "POST", data=body, headers=headers)
    assert (status, answer) == (200, b"ok")
    first, second = upstream.requests
    assert first.line == b"POST /v2/a%2Fb?q=%7E HTTP/1.1"
    assert without_credential(first.octets) == without_credential(second.octets)
    assert first.body == body
    tokens = [request.field(b"authorization") for request in upstream.requests]
    assert tokens[0] != tokens[1]
    assert all(sandbox.ledger.access(token.decode().removeprefix("Bearer ")) for token in tokens)
    assert sandbox.counters.grants == {"client_credentials": 2}


async def test_a_streamed_upload_is_not_sent_again_and_the_next_one_works(program, upstream, sandbox, fetch):
    upstream.script(READ, REFUSED)
    body = bytes(5 * 1024 * 1024)
    status, headers, answer = await fetch(program.url + "/api/upload", "PUT", data=io.BytesIO(body))
    assert (status, answer, headers["X-Attempt"]) == (401, b"gone", "first")
    assert len(upstream.requests) == 1
    status, _, _ = await fetch(program.url + "/api/upload", "PUT", data=io.BytesIO(body))
    assert status == 200
    assert upstream.requests[1].body == body
    assert upstream.requests[0].field(b"authorization") != upstream.requests[1].field(b"authorization")
    assert sandbox.counters.grants == {"client_credentials": 2}


async def test_an_upload_that_is_refused_before_it_was_read_ends_with_the_upstreams_401(program, upstream, fetch):
    go = asyncio.Event()
    upstream.script(REFUSED, go, READ)
    body = bytes(256 * 1024)
    request = asyncio.create_task(fetch(program.url + "/api/upload", "PUT", data=io.BytesIO(body)))
    status, _, answer = await request
    go.set()
    assert (status, answer) == (401, b"gone")


async def test_a_token_that_is_refused_again_right_after_its_renewal_is_passed_on_and_not_renewed_again(
    program, upstream, sandbox, fetch
):
    """A7."""
    upstream.answer = REFUSED
    statuses = [(await fetch(program.url + "/api/x"))[0] for _ in range(5)]
    assert statuses == [401] * 5
    assert sandbox.counters.grants == {"client_credentials": 2}
    assert len(upstream.requests) == 6


@pytest.mark.parametrize("challenge", [b'Bearer error="insufficient_scope"', b'Bearer error="invalid_request"'])
async def test_a_401_for_another_reason_than_the_token_is_the_apps_to_see(program, upstream, sandbox, fetch, challenge):
    """A7."""
    upstream.script(b"HTTP/1.1 401 No\r\nWWW-Authenticate: " + challenge + b"\r\nContent-Length: 0\r\n\r\n")
    status, headers, _ = await fetch(program.url + "/api/x")
    assert (status, headers["WWW-Authenticate"]) == (401, challenge.decode())
    assert sandbox.counters.grants == {"client_credentials": 1}


async def test_a_plain_403_is_the_apps_to_see(program, upstream, sandbox, fetch):
    """A7."""
    upstream.script(OK.replace(b"200 OK", b"403 No"))
    assert (await fetch(program.url + "/api/x"))[0] == 403
    assert sandbox.counters.grants == {"client_credentials": 1}


async def test_a_401_that_cannot_be_answered_with_a_renewal_says_so(program, upstream, sandbox, fetch):
    sandbox.script.change(token_faults=[{"kind": "status", "status": 500, "times": None}])
    upstream.script(REFUSED)
    status, headers, answer = await fetch(program.url + "/api/x")
    assert (status, answer) == (401, b"gone")
    assert headers["Proxy-Status"] == 'auth-sidecar; received-status=401; details="credential_unavailable"'


async def test_an_upstream_whose_certificate_nobody_vouches_for_gets_no_token(sandbox, upstream, tmp_path, fetch):
    config = one_route(upstream.url, client_credentials(sandbox.token_endpoint))
    async with Program(config, tmp_path) as program:
        status, headers, _ = await fetch(program.url + "/api/x")
    assert (status, headers["Proxy-Status"]) == (502, "auth-sidecar; error=tls_certificate_error")
    assert upstream.requests == []
