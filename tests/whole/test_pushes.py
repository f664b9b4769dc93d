"""Tokens that come from outside, through the whole program: from the update endpoint to the API."""

from __future__ import annotations

import json
import time

import pytest
from aiohttp import ClientSession, UnixConnector, web
from support.process import Program, free_port
from support.settings import one_route

GUARD = {"Authorization": "Bearer guard"}


@pytest.fixture
async def api(aiohttp_server):
    """An API that shows which credential it got."""

    async def show(request: web.Request) -> web.Response:
        return web.Response(text=request.headers.get("Authorization", ""))

    app = web.Application()
    app.router.add_route("*", "/{rest:.*}", show)
    return str((await aiohttp_server(app)).make_url("")).rstrip("/")


def _config(api, **more):
    pushed = {
        "type": "external",
        "timeouts": {"total": "500ms"},
        "update": {"secret": {"value": "guard"}},
        "vend": True,
    }
    return {**one_route(api, pushed), "admin": {"bearer": {"value": "admin"}}, **more}


def _token(name, **more):
    return {"data": json.dumps({"access_token": name, "expires_in": 600, **more}), "headers": GUARD}


async def test_a_pushed_token_is_sent_shown_vended_and_counted(api, tmp_path, fetch):
    update = free_port()
    config = _config(api, update={"listen": f"127.0.0.1:{update}", "allow_insecure": True})
    admin = {"Authorization": "Bearer admin"}
    async with Program(config, tmp_path) as program:
        status, _, body = await fetch(program.url + "/api/x")
        assert (status, json.loads(body)["title"]) == (502, "Credential refused")

        status, headers, body = await fetch(
            f"http://127.0.0.1:{update}/credentials/main/token", "PUT", **_token("pushed")
        )
        assert (status, headers["ETag"]) == (200, '"1"')
        assert json.loads(body)["expires_at"] == pytest.approx(time.time() + 600, abs=5)

        assert (await fetch(program.url + "/api/x"))[2] == b"Bearer pushed"
        _, _, vended = await fetch(program.admin + "/credentials/main/token", headers=admin)
        assert json.loads(vended)["access_token"] == "pushed"
        _, _, body = await fetch(program.admin + "/status", headers=admin)
        assert json.loads(body)["credentials"]["main"]["state"] == "fresh"
        _, _, text = await fetch(program.admin + "/metrics", headers=admin)
        assert b'auth_sidecar_token_updates_total{credential="main",result="accepted"} 1.0' in text
        assert b'auth_sidecar_http_requests_total{code="200",method="GET",route="api"} 1.0' in text
        _, _, page = await fetch(program.admin + "/", headers=admin)
        assert b"fresh" in page
        assert b"pushed" not in page

    assert "Bearer" not in program.log


async def test_a_reload_keeps_the_pushed_token_and_the_limit_on_wrong_guards(api, tmp_path, fetch):
    admin = {"Authorization": "Bearer admin"}
    async with Program(_config(api), tmp_path) as program:
        path = program.admin + "/credentials/main/token"
        await fetch(path, "PUT", **_token("pushed"))
        wrong = {"data": b"{}", "headers": {"Authorization": "Bearer wrong"}}
        before = [(await fetch(path, "PUT", **wrong))[0] for _ in range(10)]
        program.write(_config(api, limits={"max_in_flight": 100}))
        assert (await fetch(program.admin + "/reload", "POST", headers=admin))[0] == 200

        assert (await fetch(program.url + "/api/x"))[2] == b"Bearer pushed"
        assert before == [401] * 10
        assert (await fetch(path, "PUT", **wrong))[0] == 429
        assert (await fetch(path, "PUT", **_token("next")))[0] == 200
        assert (await fetch(program.url + "/api/x"))[2] == b"Bearer next"


async def test_a_pushed_token_survives_a_restart_with_a_file_store(api, tmp_path, fetch):
    config = _config(api, store={"type": "file", "path": "state"})
    program = Program(config, tmp_path)
    async with program:
        await fetch(program.admin + "/credentials/main/token", "PUT", **_token("pushed"))
    async with program:
        assert (await fetch(program.url + "/api/x"))[2] == b"Bearer pushed"
        same = {"If-Match": '"1"', **GUARD}
        answer = await fetch(program.admin + "/credentials/main/token", "PUT", **{**_token("next"), "headers": same})
        assert (answer[0], answer[1]["ETag"]) == (200, '"2"')


async def test_the_admin_side_on_a_unix_socket_takes_pushes_from_this_machine(api, tmp_path):
    config = _config(api, health={"listen": f"127.0.0.1:{free_port()}"})
    config["admin"] = {"listen": "unix:admin.sock"}
    config["credentials"]["main"].pop("vend")
    program = Program(config, tmp_path)
    program.admin = f"http://{config['health']['listen']}"
    async with program, ClientSession(connector=UnixConnector(str(tmp_path / "admin.sock"))) as http:
        async with http.put("http://localhost/credentials/main/token", **_token("pushed")) as answer:
            assert answer.status == 200
        async with http.get("http://localhost/status") as answer:
            assert (await answer.json())["credentials"]["main"]["generation"] == 1
