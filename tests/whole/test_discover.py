"""Upstreams that are looked up, in the whole program: directories and APIs on real sockets."""

from __future__ import annotations

import asyncio
import json

import jwt
import pytest
from support.directory import Directory, said
from support.front import Client
from support.process import Program
from support.recording_upstream import OK, RecordingUpstream
from support.settings import client_credentials
from support.tls import Authority

BEARER = {"type": "bearer", "token": {"value": "t0ken"}}


@pytest.fixture
async def directory(upstream):
    async with Directory(base=upstream.authority) as running:
        yield running


def config_of(where, credential=BEARER, **more):
    return {
        "routes": [{"match": "/api", "upstream": where, "credential": "main", **more}],
        "credentials": {"main": credential},
    }


async def status_of(program, fetch):
    return json.loads((await fetch(program.admin + "/status"))[2])["routes"]["api"]["upstream"]


async def in_flight(program, fetch, wanted):
    """Wait until that many requests of the route are there."""
    async with asyncio.timeout(30):
        while json.loads((await fetch(program.admin + "/status"))[2])["routes"]["api"]["in_flight"] != wanted:
            await asyncio.sleep(0.02)


async def until(fetch, url, status):
    """Ask until that is the answer."""
    async with asyncio.timeout(60):
        while (answer := await fetch(url))[0] != status:
            await asyncio.sleep(0.05)
    return answer


async def test_requests_go_where_the_directory_says_with_the_credential(directory, upstream, tmp_path, fetch):
    directory.base = f"{upstream.authority}/v2/"
    async with Program(config_of(directory.discover()), tmp_path) as program:
        assert (await fetch(program.url + "/api/x?a=b"))[0] == 200
        assert (await fetch(program.url + "/api"))[0] == 200
        found = await status_of(program, fetch)
        assert found["url"] == f"http://{upstream.authority}/v2"
        assert 0 <= found["age"] < 20
        assert found["last_error"] is None
    first, second = upstream.requests
    assert (first.target, second.target) == (b"/v2/x?a=b", b"/v2")
    assert first.field(b"host") == upstream.authority.encode()
    assert first.field(b"authorization") == b"Bearer t0ken"
    (asked,) = directory.requests
    assert asked.line == b"GET /api/account/4711/service/asyncMessaging/baseURI.json?version=1.0&key=hush HTTP/1.1"
    assert asked.field(b"authorization") is None
    assert "hush" not in program.log
    assert "t0ken" not in program.log


async def test_all_requests_that_come_before_the_answer_wait_for_the_one_look_up(directory, upstream, tmp_path, fetch):
    go = asyncio.Event()
    directory.script(go, said(json.dumps({"baseURI": upstream.url + "/v1"}).encode()))
    async with Program(config_of(directory.discover()), tmp_path) as program:
        bodies = [f"body {number}".encode() for number in range(30)]
        asked = [asyncio.create_task(fetch(program.url + "/api/x", "POST", data=body)) for body in bodies]
        reader, writer = await asyncio.open_connection("127.0.0.1", int(program.url.rpartition(":")[2]))
        writer.write(b"GET /api/gone HTTP/1.1\r\nHost: localhost\r\n\r\n")
        await directory.received(1)
        await in_flight(program, fetch, 31)
        Client(reader, writer).reset()
        await in_flight(program, fetch, 30)
        go.set()
        assert [answer[0] for answer in await asyncio.gather(*asked)] == [200] * 30
    assert sorted(bytes(request.body) for request in upstream.requests) == sorted(bodies)
    assert {request.target for request in upstream.requests} == {b"/v1/x"}
    assert len(directory.requests) == 1


async def test_a_directory_that_is_down_at_the_start_is_asked_again_until_it_is_up(directory, tmp_path, fetch):
    await directory.stop()
    async with Program(config_of(directory.discover()), tmp_path) as program:
        _, headers, body = await until(fetch, program.url + "/api/x", 503)
        assert headers["Proxy-Status"] == (
            'auth-sidecar; error=destination_unavailable; details="directory_unavailable"'
        )
        assert int(headers["Retry-After"]) >= 1
        assert json.loads(body)["detail"] == "The directory cannot be reached"
        assert (await status_of(program, fetch)) == {
            "url": None, "age": None, "last_error": "The directory cannot be reached"
        }  # fmt: skip
        await directory.start()
        await until(fetch, program.url + "/api/x", 200)
        assert (await status_of(program, fetch))["last_error"] is None
        assert program.log.count("cannot be looked up") == 1


async def test_what_was_found_stays_in_use_while_the_directory_is_down_or_says_nonsense(directory, tmp_path, fetch):
    async with Program(config_of(directory.discover(ttl="100ms")), tmp_path) as program:
        await until(fetch, program.url + "/api/x", 200)
        await directory.stop()
        await program.logged("cannot be looked up: The directory cannot be reached")
        assert (await fetch(program.url + "/api/x"))[0] == 200
        assert (await status_of(program, fetch))["last_error"] == "The directory cannot be reached"
        directory.whole = said(b"<html>sorry</html>")
        await directory.start()
        await program.logged("no string where")
        assert (await fetch(program.url + "/api/x"))[0] == 200
        directory.whole = None
        await program.logged("well again")
        assert (await status_of(program, fetch))["last_error"] is None
        for error in ("The directory cannot be reached", "The directory's answer has no string where"):
            assert program.log.count(f"cannot be looked up: {error}") == 1


async def test_a_base_url_that_moves_under_load_loses_no_request(directory, upstream, tmp_path, http):
    """Requests that have begun end where they began; old connections are let go of behind them."""
    async with (
        RecordingUpstream(answer=lambda _: (said(b"new"),)) as other,
        Program(config_of(directory.discover(ttl="100ms")), tmp_path) as program,
    ):
        upstream.answer = lambda _: (said(b"old"),)
        slow = asyncio.Event()
        upstream.script(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nsl", slow, b"ow")
        began = await http.get(program.url + "/api/slow")
        answers = []
        ends = asyncio.Event()

        async def worker():
            while not ends.is_set():
                async with http.post(program.url + "/api/x", data=b"once") as answer:
                    answers.append((answer.status, await answer.read()))

        workers = [asyncio.create_task(worker()) for _ in range(8)]
        async with asyncio.timeout(60):
            while len(answers) < 100:
                await asyncio.sleep(0.01)
            directory.base = f"{other.authority}/moved"
            while answers.count((200, b"new")) < 100:
                await asyncio.sleep(0.01)
        ends.set()
        await asyncio.gather(*workers)
        slow.set()
        assert await began.read() == b"slow"
        await upstream.until(lambda: upstream.open_connections == 0 or None)
    assert set(answers) == {(200, b"old"), (200, b"new")}
    assert len(answers) == len(upstream.requests) - 1 + len(other.requests)
    assert {request.target for request in other.requests} == {b"/moved/x"}


@pytest.mark.parametrize(
    ("base", "why"),
    [
        ("evil.example", "a host that `allow_hosts` does not"),
        ("169.254.169.254", "a link-local address"),
        ("[fe80::1]", "a link-local address"),
        ("[::ffff:169.254.169.254]:80", "a link-local address"),
        ("http://127.0.0.1@evil.example", "neither a host nor a base URL"),
        ("127.0.0.1/a?b=c", "neither a host nor a base URL"),
        ("127.0.0.1/a#b", "neither a host nor a base URL"),
        ("127.0.0.1/a/..", "`..` in its path"),
        ("ftp://127.0.0.1", "neither a host nor a base URL"),
        ({"host": "127.0.0.1"}, "no string"),
        (None, "no string"),
    ],
)
async def test_what_may_not_be_used_is_never_used(directory, tmp_path, fetch, base, why):
    directory.base = base
    async with Program(config_of(directory.discover()), tmp_path) as program:
        _, headers, body = await until(fetch, program.url + "/api/x", 502)
        assert headers["Proxy-Status"] == 'auth-sidecar; error=destination_not_found; details="directory_refused"'
        assert why in json.loads(body)["detail"]
        assert "evil" not in body.decode()


@pytest.mark.parametrize(
    ("whole", "status", "why"),
    [
        (said(b"", 302, "Location: http://127.0.0.1:1/elsewhere"), 502, "redirects are not followed"),
        (said(b"", 404), 502, "answered 404"),
        (said(b"", 500), 503, "answered 500"),
        (said(b"", 429, "Retry-After: 77"), 503, "answered 429"),
        (said(b'{"baseURI": "127.0.0.1"'), 502, "no string"),
        (said(b'"' + b"a" * 1_048_576), 502, "larger than 1 MiB"),
    ],
)
async def test_what_is_no_answer_is_a_failed_look_up(directory, tmp_path, fetch, whole, status, why):
    directory.whole = whole
    async with Program(config_of(directory.discover()), tmp_path) as program:
        _, headers, body = await until(fetch, program.url + "/api/x", status)
        assert why in json.loads(body)["detail"]
        if b"Retry-After" in whole:
            assert 60 < int(headers["Retry-After"]) <= 77, "it would never wait for so long of its own accord"


async def test_our_own_listeners_are_no_upstream(directory, tmp_path, fetch):
    program = Program(config_of(directory.discover()), tmp_path)
    directory.base = program.admin
    async with program:
        _, _, body = await until(fetch, program.url + "/api/x", 502)
        assert json.loads(body)["detail"] == "The directory names one of our own listeners"


async def test_a_reload_keeps_what_was_found_wherever_it_may_still_be_used(directory, upstream, tmp_path, fetch):
    """Even with another `ttl`, and even while the directory is down. A stricter allow-list takes effect at once."""
    async with Program(config_of(directory.discover()), tmp_path) as program:
        await until(fetch, program.url + "/api/x", 200)
        await directory.stop()

        async def reloaded(**more):
            program.write(config_of(directory.discover(**more), headers={"set": {"X-Count": str(len(more))}}))
            assert (await fetch(program.admin + "/reload", "POST"))[0] == 200
            return (await fetch(program.url + "/api/x"))[0]

        assert await reloaded() == 200
        assert (await status_of(program, fetch))["last_error"] is None
        assert await reloaded(ttl="5m") == 200
        assert await reloaded(ttl="5m", allow_hosts=["localhost"]) == 503
    assert [request.field(b"x-count") for request in upstream.requests] == [None, b"0", b"1"]
    assert len(directory.requests) == 1


async def test_a_request_that_waits_is_served_although_a_reload_takes_its_directory_away(
    directory, upstream, tmp_path, fetch
):
    go = asyncio.Event()
    directory.script(go, said(json.dumps({"baseURI": upstream.authority}).encode()))
    async with Program(config_of(directory.discover()), tmp_path) as program:
        waits = asyncio.create_task(fetch(program.url + "/api/x"))
        await directory.received(1)
        await in_flight(program, fetch, 1)
        program.write(config_of(upstream.url + "/fixed"))
        assert (await fetch(program.admin + "/reload", "POST"))[0] == 200
        assert (await fetch(program.url + "/api/y"))[0] == 200
        go.set()
        assert (await waits)[0] == 200
    assert [request.target for request in upstream.requests] == [b"/fixed/y", b"/x"]


async def test_requests_that_wait_across_a_reload_each_go_out_as_their_configuration_says(
    directory, upstream, tmp_path, fetch
):
    go = asyncio.Event()
    directory.script(go, said(json.dumps({"baseURI": upstream.authority}).encode()))
    async with Program(config_of(directory.discover()), tmp_path) as program:
        before = asyncio.create_task(fetch(program.url + "/api/before"))
        await in_flight(program, fetch, 1)
        program.write(config_of(directory.discover(), headers={"set": {"X-New": "yes"}}))
        assert (await fetch(program.admin + "/reload", "POST"))[0] == 200
        after = asyncio.create_task(fetch(program.url + "/api/after"))
        await in_flight(program, fetch, 2)
        go.set()
        assert [(await one)[0] for one in (before, after)] == [200, 200]
    sent = {request.target: request.field(b"x-new") for request in upstream.requests}
    assert sent == {b"/before": None, b"/after": b"yes"}
    assert len(directory.requests) == 1


async def test_a_program_that_waits_for_a_directory_stops_at_once(directory, tmp_path, fetch):
    go = asyncio.Event()
    directory.script(go)
    async with Program({**config_of(directory.discover()), "shutdown": {"drain": "100ms"}}, tmp_path) as program:
        waits = asyncio.create_task(fetch(program.url + "/api/x"))
        await directory.received(1)
        await in_flight(program, fetch, 1)
        async with asyncio.timeout(8):  # a look-up may take ten
            await program.stop()
        assert program.exit_code == 0
        assert (await waits)[0] == 503
        go.set()


async def test_signatures_cover_the_url_that_was_found(directory, upstream, sandbox, tmp_path, fetch):
    directory.base = f"{upstream.authority}/v2"
    upstream.answer = lambda _: (OK,)
    async with Program(
        config_of(directory.discover(), client_credentials(sandbox.token_endpoint, dpop=True)), tmp_path
    ) as program:
        await until(fetch, program.url + "/api/x?a=b", 200)
    proof = upstream.requests[0].field(b"dpop").decode()
    assert jwt.decode(proof, options={"verify_signature": False})["htu"] == f"http://{upstream.authority}/v2/x"


async def test_links_to_where_requests_went_lead_back(directory, upstream, tmp_path, fetch):
    directory.base = f"{upstream.authority}/v2"
    upstream.answer = lambda _: (said(b"", 201, f"Location: {upstream.url}/v2/things/1"),)
    more = {"rewrite_response": {"location": True}}
    async with Program(config_of(directory.discover(), **more), tmp_path) as program:
        _, headers, _ = await until(fetch, program.url + "/api/things", 201)
        assert headers["Location"] == f"{program.url}/api/things/1"


async def test_the_route_s_certificates_serve_the_look_up_too(tmp_path, fetch):
    authority = Authority()
    (tmp_path / "ca.pem").write_bytes(authority.certificate)
    async with (
        RecordingUpstream(tls=authority.server_context()) as upstream,
        Directory(tls=authority.server_context(), base=upstream.authority) as directory,
    ):
        more = {"tls": {"ca_file": "ca.pem"}}
        async with Program(config_of(directory.discover(scheme="https"), **more), tmp_path) as program:
            await until(fetch, program.url + "/api/x", 200)
            directory.base = f"http://{upstream.authority}"
        async with Program(config_of(directory.discover(scheme="https"), **more), tmp_path) as program:
            _, _, body = await until(fetch, program.url + "/api/x", 502)
            assert "http:// URL" in json.loads(body)["detail"]
