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


def takes(*good):
    """An API that accepts these tokens."""

    def answer(received):
        return (OK,) if received.field(b"authorization") in good else (REFUSED,)

    return answer


async def test_an_api_that_has_not_heard_of_a_new_token_yet_gets_the_one_before(program, upstream, sandbox, fetch):
    """It accepts a token a while after its issue; the old one is still good. No app sees anything of it."""
    assert (await fetch(program.url + "/api/x"))[0] == 200
    first = upstream.requests[0].field(b"authorization")
    assert (await fetch(program.admin + "/credentials/main/refresh", "POST"))[0] == 200
    upstream.answer = takes(first)
    answers = await asyncio.gather(*(fetch(program.url + "/api/x", "POST", data=b"body") for _ in range(20)))
    assert [status for status, _, _ in answers] == [200] * 20
    assert sandbox.counters.grants == {"client_credentials": 2}
    assert {bytes(one.body) for one in upstream.requests[1:]} == {b"body"}
    upstream.answer = OK
    assert (await fetch(program.url + "/api/x"))[0] == 200
    assert upstream.requests[-1].field(b"authorization") != first


async def test_a_push_is_followed_by_its_predecessor_too(upstream, authority, tmp_path, fetch):
    (tmp_path / "ca.pem").write_bytes(authority.certificate)
    credential = {"type": "external", "update": {"secret": {"value": "guard"}}}
    async with Program(one_route(upstream.url, credential, tls={"ca_file": "ca.pem"}), tmp_path) as program:
        for token in ("one", "two"):
            pushed = {"access_token": token, "expires_in": 3600}
            headers = {"Authorization": "Bearer guard"}
            url = program.admin + "/credentials/main/token"
            assert (await fetch(url, "PUT", json=pushed, headers=headers))[0] == 200
        upstream.answer = takes(b"Bearer one")
        assert (await fetch(program.url + "/api/x"))[0] == 200
    assert [one.field(b"authorization") for one in upstream.requests] == [b"Bearer two", b"Bearer one"]


async def test_each_callers_new_token_has_a_predecessor_of_its_own(upstream, sandbox, authority, tmp_path, fetch):
    (tmp_path / "ca.pem").write_bytes(authority.certificate)
    credential = client_credentials(
        sandbox.token_endpoint, per={"header": "X-Tenant", "pattern": "[a-z]+"}, refresh={"at": 0.2, "jitter": 0}
    )
    sandbox.script.change(expires_in=12)
    async with Program(one_route(upstream.url, credential, tls={"ca_file": "ca.pem"}), tmp_path) as program:
        headers = {"X-Tenant": "blue"}
        assert (await fetch(program.url + "/api/x", headers=headers))[0] == 200
        first = upstream.requests[0].field(b"authorization")
        async with asyncio.timeout(30):
            while upstream.requests[-1].field(b"authorization") == first:
                assert (await fetch(program.url + "/api/x", headers=headers))[0] == 200
                await asyncio.sleep(0.1)
        upstream.answer = takes(first)
        assert (await fetch(program.url + "/api/x", headers=headers))[0] == 200
        assert upstream.requests[-1].field(b"authorization") == first
    assert sandbox.counters.grants == {"client_credentials": 2}


async def test_renewals_in_the_background_count_for_the_routes_hold(sandbox, upstream, authority, tmp_path, fetch):
    (tmp_path / "ca.pem").write_bytes(authority.certificate)
    config = one_route(
        upstream.url,
        client_credentials(sandbox.token_endpoint),
        tls={"ca_file": "ca.pem"},
        retry={"on_unauthorized": False},
    )
    async with Program(config, tmp_path) as program:
        upstream.answer = REFUSED
        for _ in range(30):
            assert (await fetch(program.url + "/api/x"))[0] == 401
        assert sandbox.counters.grants == {"client_credentials": 2}
        upstream.answer = OK
        assert (await fetch(program.url + "/api/x"))[0] == 200
        upstream.answer = REFUSED
        assert (await fetch(program.url + "/api/x"))[0] == 401
        async with asyncio.timeout(20):
            while sandbox.counters.grants != {"client_credentials": 3}:
                await asyncio.sleep(0.02)
