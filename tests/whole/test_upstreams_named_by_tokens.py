"""The token names the upstream: requests wait for the first, follow a change, and go nowhere that is not allowed."""

from __future__ import annotations

import asyncio
import json
import os

from aiohttp import web
from support.directory import Directory
from support.issuer import scripted_issuer
from support.process import Program
from support.recording_upstream import RecordingUpstream

from proxy.cli.explain_command import explained
from proxy.config.load import Loaded, load


def configured(issuer: str, **more: object) -> dict[str, object]:
    credential = {
        "type": "oauth2", "token_endpoint": f"{issuer}/token", "client_id": "c", "refresh": {"eager": False},
    }  # fmt: skip
    upstream = {"from_token": "/instance_url", "allow_hosts": ["127.0.0.1"], "scheme": "http", "path": "/services"}
    elsewhere = upstream | {"allow_hosts": ["a.example"], "scheme": "https"}
    return {
        "routes": [
            {"match": "/one", "upstream": upstream, "credential": "one"},
            {"match": "/each", "upstream": upstream, "credential": "each"},
            {"match": "/elsewhere", "upstream": elsewhere, "credential": "one"},
        ],
        "credentials": {
            "one": credential,
            "each": credential | {"per": {"header": "X-For"}, "token_parameters": {"for": "{per}"}},
        },
        **more,
    }  # fmt: skip


def lines_of(loaded: Loaded, octets: bytes) -> list[str]:
    """What `explain` says, which runs a loop of its own."""
    return asyncio.run(explained(loaded, octets))


async def test_requests_go_where_their_token_says_and_move_with_it(upstream, tmp_path, fetch):
    async with RecordingUpstream() as second, scripted_issuer() as issuer:
        names = {"a": upstream, "b": second}
        now = ["a"]

        async def grant(request: web.Request) -> web.Response:
            form = await request.post()
            where = names[str(form.get("for", now[0]))].url
            return web.json_response(
                {"access_token": f"hush-{now[0]}", "instance_url": f"{where}/base/", "expires_in": 3600}
            )

        issuer.answers = grant
        store = {"type": "file", "path": "store"}
        async with Program(configured(issuer.url, store=store), tmp_path) as program:
            for _ in range(2):
                assert (await fetch(program.url + "/one/x?y"))[0] == 200
            assert [one.target for one in upstream.requests] == [b"/base/services/x?y"] * 2
            assert upstream.requests[0].field(b"host") == upstream.authority.encode()
            status, _, body = await fetch(program.url + "/elsewhere/x")
            assert (status, json.loads(body)["detail"]) == (
                502,
                "The token's answer names an http:// URL, and `scheme` is https",
            )
            for tenant, at in (("a", upstream), ("b", second), ("a", upstream)):
                before = len(at.requests)
                assert (await fetch(program.url + "/each/x", headers={"X-For": tenant}))[0] == 200
                assert len(at.requests) == before + 1
            now[0] = "b"
            assert (await fetch(program.admin + "/credentials/one/refresh", "POST"))[0] == 200
            before = len(second.requests)
            assert (await fetch(program.url + "/one/x"))[0] == 200
            assert second.requests[before].target == b"/base/services/x"
            assert second.requests[before].field(b"authorization") == b"Bearer hush-b"
            shown = json.loads((await fetch(program.admin + "/status"))[2])["routes"]
            assert shown["one"]["upstream"]["url"] == f"{second.url}/base"
            assert shown["each"]["upstream"]["url"] is None
            octets = f"GET /one/x HTTP/1.1\r\nHost: {program.url.removeprefix('http://')}\r\n\r\n".encode()
            lines = await asyncio.to_thread(lines_of, load(program.file, os.environ), octets)
            assert "named by    its token" in "\n".join(lines)
            assert "Authorization: Bearer REDACTED" in lines
            assert "hush" not in program.log
            asked = issuer.count
        async with Program(configured(issuer.url, store=store), tmp_path) as program:
            assert (await fetch(program.url + "/one/x"))[0] == 200
            assert issuer.count == asked
        assert len(second.requests) == before + 2


async def test_a_renewed_token_of_another_place_is_not_sent_to_the_old_one(upstream, tmp_path, fetch):
    async with RecordingUpstream() as second, scripted_issuer() as issuer:
        places = [upstream.url, second.url]

        async def grant(_: web.Request) -> web.Response:
            where = places.pop(0)
            return web.json_response({"access_token": f"hush-{len(places)}", "instance_url": where, "expires_in": 3600})

        issuer.answers = grant
        upstream.script(b"HTTP/1.1 401 No\r\nContent-Length: 0\r\n\r\n")
        async with Program(configured(issuer.url), tmp_path) as program:
            first = (await fetch(program.url + "/one/x"))[0]
            assert (await fetch(program.url + "/one/x"))[0] == 200
        assert first in (200, 401, 503)
        assert [one.field(b"authorization") for one in upstream.requests] == [b"Bearer hush-1"]
        assert {one.field(b"authorization") for one in second.requests} == {b"Bearer hush-0"}


async def test_a_look_up_may_carry_a_token_which_is_renewed_when_it_is_refused(upstream, tmp_path, fetch):
    async with Directory(base=f"{upstream.authority}/found") as directory, scripted_issuer() as issuer:
        directory.script(b"HTTP/1.1 401 No\r\nContent-Length: 0\r\n\r\n")
        config = configured(issuer.url)
        look = directory.discover(credential="one")
        config["routes"] = [{"match": "/tenant", "upstream": look, "credential": "one"}]
        async with Program(config, tmp_path) as program:
            assert (await fetch(program.url + "/tenant/x"))[0] == 200
            assert "at-1" not in program.log
        asked = [one.field(b"authorization") for one in directory.requests]
    assert asked[:2] == [b"Bearer at-1", b"Bearer at-2"]
    assert [one.target for one in upstream.requests] == [b"/found/x"]
