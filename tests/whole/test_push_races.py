"""A push that comes while others are at it: waiting requests, a renewal in flight, another push, another process."""

from __future__ import annotations

import asyncio
import json
import os
import time
from typing import Any

import aiohttp
import pytest
from support.issuer import scripted_issuer
from support.process import Program, free_port
from support.settings import client_credentials, one_route
from support.tls import Authority

GUARD = {"Authorization": "Bearer guard"}


@pytest.fixture
async def issuer():
    async with scripted_issuer(live_refresh_token="rt-0") as running:
        yield running


@pytest.fixture
def config(issuer, upstream):
    credential = client_credentials(
        f"{issuer.url}/token",
        grant_type="refresh_token",
        refresh_token={"value": "rt-0"},
        refresh={"eager": False},
        update={"secret": {"value": "guard"}},
    )
    return {**one_route(upstream.url, credential), "store": {"type": "file", "path": "tokens"}}


@pytest.fixture
def push(fetch):
    async def one(url, token, headers=GUARD, **more):
        said = {"access_token": token, "expires_in": 600, **more}
        status, fields, body = await fetch(f"{url}/credentials/main/token", "PUT", json=said, headers=headers)
        return status, fields.get("ETag"), json.loads(body)

    return one


async def until(condition):
    async with asyncio.timeout(30):
        while not condition():
            await asyncio.sleep(0.005)


def sent(upstream):
    return [request.field(b"authorization").decode().removeprefix("Bearer ") for request in upstream.requests]


async def test_requests_that_wait_leave_with_the_token_that_is_pushed(config, issuer, upstream, tmp_path, fetch, push):
    issuer.script.append("hang")
    async with Program(config, tmp_path) as program:
        waiting = [asyncio.create_task(fetch(f"{program.url}/api/{number}")) for number in range(20)]
        await until(lambda: issuer.count == 1)
        assert (await push(program.admin, "pushed"))[:2] == (200, '"1"')
        assert {answer[0] for answer in await asyncio.gather(*waiting)} == {200}
        assert (sent(upstream), issuer.count) == (["pushed"] * 20, 1)
        issuer.let_go.set()


async def test_a_push_beats_a_renewal_in_flight_whose_new_refresh_token_is_kept(
    config, issuer, upstream, tmp_path, fetch, push
):
    issuer.rotating = True
    issuer.script.append("hang")
    async with Program(config, tmp_path) as program:
        renewal = asyncio.create_task(fetch(program.admin + "/credentials/main/refresh", "POST"))
        await until(lambda: issuer.count == 1)
        await push(program.admin, "pushed")
        issuer.let_go.set()
        await renewal
        await until(lambda: issuer.issued == 1)
        assert (await fetch(program.url + "/api/x"))[0] == 200
        assert sent(upstream) == ["pushed"]
    async with Program(config, tmp_path) as program:
        assert (await fetch(program.url + "/api/x"))[0] == 200
        assert sent(upstream) == ["pushed", "pushed"]
        assert (await fetch(program.admin + "/credentials/main/refresh", "POST"))[0] == 200
    assert [asked["refresh_token"] for asked in issuer.asked] == ["rt-0", "rt-1"]
    assert not issuer.revoked


async def test_a_pushed_refresh_token_beats_the_one_of_a_renewal_in_flight(config, issuer, tmp_path, fetch, push):
    issuer.script.append("hang")
    async with Program(config, tmp_path) as program:
        renewal = asyncio.create_task(fetch(program.admin + "/credentials/main/refresh", "POST"))
        await until(lambda: issuer.count == 1)
        await push(program.admin, "pushed", refresh_token="pushed-rt")
        issuer.rotating = True
        issuer.let_go.set()
        await renewal
        issuer.live_refresh_token = "pushed-rt"
        assert (await fetch(program.admin + "/credentials/main/refresh", "POST"))[0] == 200
    assert [asked["refresh_token"] for asked in issuer.asked] == ["rt-0", "pushed-rt"]


async def test_of_pushes_that_name_the_same_generation_one_is_taken(config, upstream, tmp_path, fetch, push):
    async with Program(config, tmp_path) as program:
        assert (await push(program.admin, "first"))[:2] == (200, '"1"')
        named = GUARD | {"If-Match": '"1"'}
        answers = await asyncio.gather(*(push(program.admin, f"second-{n}", named) for n in range(10)))
        assert sorted(answer[0] for answer in answers) == [200] + [412] * 9
        (number,) = [number for number, answer in enumerate(answers) if answer[0] == 200]
        assert (await fetch(program.url + "/api/x"))[0] == 200
        assert sent(upstream) == [f"second-{number}"]
        assert (await push(program.admin, "third", GUARD | {"If-Match": '"2"'}))[:2] == (200, '"3"')


async def test_a_push_reaches_the_other_process(config, issuer, upstream, tmp_path, fetch, push):
    config["store"]["path"] = str(tmp_path / "tokens")
    folders = [tmp_path / "one", tmp_path / "two"]
    for folder in folders:
        folder.mkdir()
    async with Program(config, folders[0]) as one, Program(config, folders[1]) as two:
        await push(one.admin, "first")
        async with asyncio.timeout(30):
            while json.loads((await fetch(two.admin + "/status"))[2])["credentials"]["main"]["generation"] != 1:
                await asyncio.sleep(0.05)
        assert (await fetch(two.url + "/api/x"))[0] == 200
        assert (await push(two.admin, "second", GUARD | {"If-Match": '"1"'}))[:2] == (200, '"2"')
    assert (sent(upstream), issuer.count) == (["first"], 0)


async def test_a_generation_may_be_named_that_only_the_other_process_has_seen_yet(config, tmp_path, push):
    config["store"]["path"] = str(tmp_path / "tokens")
    folders = [tmp_path / "one", tmp_path / "two"]
    for folder in folders:
        folder.mkdir()
    async with Program(config, folders[0]) as one, Program(config, folders[1]) as two:
        for generation in (1, 4):
            assert (await push(one.admin, "a"))[:2] == (200, f'"{generation}"')
            named = GUARD | {"If-Match": f'"{generation}"'}
            assert (await push(two.admin, "b", named))[:2] == (200, f'"{generation + 1}"')
            assert (await push(one.admin, "c", named))[0] == 412
            assert (await push(one.admin, "d", GUARD | {"If-Match": "*"}))[:2] == (200, f'"{generation + 2}"')


async def test_a_push_that_is_older_than_one_the_other_process_took_is_refused_before_it_could_see_it(
    config, upstream, tmp_path, fetch
):
    """409 by what the store holds at that moment, not by what this process has seen of it."""
    config["store"]["path"] = str(tmp_path / "tokens")
    folders = [tmp_path / "one", tmp_path / "two"]
    for folder in folders:
        folder.mkdir()
    now = int(time.time())

    def issued(ago):
        return {"token": {"access_token": f"of-{ago}-s-ago", "expires_in": 600}, "timestamp": now - ago}

    async with Program(config, folders[0]) as one, Program(config, folders[1]) as two:
        path = "/credentials/main/token"
        for older, newer in ((50, 40), (30, 20)):
            assert (await fetch(one.admin + path, "PUT", json=issued(newer), headers=GUARD))[0] == 200
            assert (await fetch(two.admin + path, "PUT", json=issued(older), headers=GUARD))[0] == 409
            for program in (one, two):
                assert (await fetch(program.url + "/api/x"))[0] == 200
    assert sent(upstream) == ["of-40-s-ago", "of-40-s-ago", "of-20-s-ago", "of-20-s-ago"]


async def test_a_refresher_on_another_machine_pushes_over_tls_and_can_do_nothing_else(
    config, upstream, tmp_path, fetch, push
):
    authority = Authority()
    certificate, key = authority.server("refresher.internal").write(tmp_path, "update")
    port = free_port()
    config["update"] = {
        "listen": f"0.0.0.0:{port}",
        "tls": {"cert_file": certificate.name, "key_file": key.name},
    }
    url = f"https://127.0.0.1:{port}"
    trust: dict[str, Any] = {"ssl": authority.client_context(), "server_hostname": "refresher.internal"}
    async with Program(config, tmp_path) as program, aiohttp.ClientSession() as elsewhere:

        async def ask(method, path, **how):
            async with elsewhere.request(method, url + path, **trust, **how) as answer:
                return answer.status

        path = "/credentials/main/token"
        said = {"access_token": "pushed", "expires_in": 600}
        assert await ask("PUT", path, json=said) == 401
        assert await ask("PUT", path, json=said, headers={"Authorization": "Bearer wrong"}) == 401
        assert await ask("PUT", path, json=said, headers={**GUARD, "Host": "whatever.example"}) == 200
        for other in ("/status", "/metrics", "/config", "/healthz", path):
            assert await ask("GET", other) in {404, 405}
        assert await ask("POST", "/credentials/main/refresh") == 404
        assert (await fetch(program.url + "/api/x"))[0] == 200
        with pytest.raises(aiohttp.ClientConnectionError):
            await push(f"http://127.0.0.1:{port}", "in the clear")
    assert sent(upstream) == ["pushed"]


async def test_a_token_is_vended_over_a_unix_socket_to_the_users_who_may_have_it(config, issuer, tmp_path, fetch):
    config["credentials"]["main"]["vend"] = True
    config["health"] = {"listen": f"127.0.0.1:{free_port()}"}
    config["listen"], config["admin"] = "unix:app.sock", {"listen": "unix:admin.sock"}
    config["callers"] = {"unix_uids": [os.getuid()]}
    program = Program(config, tmp_path)
    program.admin = f"http://{config['health']['listen']}"

    async def vend(name):
        local = aiohttp.UnixConnector(str(tmp_path / "admin.sock"))
        url = f"http://localhost/credentials/{name}/token"
        async with aiohttp.ClientSession(connector=local) as http, http.get(url) as answer:
            return answer.status, answer.headers, await answer.json(content_type=None)

    async with program:
        status, headers, said = await vend("main")
        assert (status, headers["Cache-Control"]) == (200, "no-store")
        assert 3590 <= said.pop("expires_in") <= 3600
        assert said == {"access_token": "at-1", "token_type": "Bearer"}
        assert (await vend("other"))[0] == 404
        assert (await fetch(program.admin + "/credentials/main/token"))[0] == 404
    program.write(config | {"callers": {"unix_uids": [os.getuid() + 1]}})
    async with program:
        assert (await vend("main"))[0] == 404
    assert issuer.count == 1
