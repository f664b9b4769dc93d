from __future__ import annotations

import asyncio
import logging
import os

import pytest
from aiohttp import encode_basic_auth
from hypothesis import given
from hypothesis import strategies as st
from support.program import StandingProgram, admin_of

from proxy.admin.middleware import presented, same_secret

PATHS = ("/status", "/config", "/metrics", "/nowhere")


async def _status(program, path="/status", *, method="GET", **how):
    async with admin_of(program) as served:
        return (await served.ask(method, path, **how)).status


@pytest.mark.parametrize("host", ["localhost", "LOCALHOST:9901", "127.0.0.1:1", "[::1]:9901", "[::1]", "[0:0::1]"])
async def test_our_own_names_are_answered(host):
    assert await _status(StandingProgram(), headers={"Host": host}) == 200


@pytest.mark.parametrize(
    "host", ["evil.example", "localhost.evil.example", "[::2]:9901", "evil.example:80", "", "[::1"]
)
@pytest.mark.parametrize("path", ["/status", "/healthz", "/nowhere"])
async def test_a_rebound_name_is_refused(host, path):
    assert await _status(StandingProgram(), path, headers={"Host": host}) == 403


async def test_an_empty_list_allows_any_host():
    program = StandingProgram()
    program.allowed_hosts = ()

    assert await _status(program, headers={"Host": "anything.example"}) == 200


async def test_a_missing_host_is_not_ours():
    async with admin_of(StandingProgram()) as served:
        assert (await served.ask("GET", "/status", skip_auto_headers=["Host"], headers={"Host": ""})).status == 403


@pytest.mark.parametrize(
    "fields",
    [
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
        {"Sec-Fetch-Site": "cross-site", "Origin": "http://localhost"},
        {"Origin": "https://evil.example"},
        {"Origin": "null"},
        {"Origin": "https://localhost"},
    ],
)
async def test_a_browser_on_another_site_changes_nothing(fields):
    program = StandingProgram()

    assert await _status(program, "/reload", method="POST", headers={"Host": "localhost", **fields}) == 403
    assert program.reloads == 0


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"Sec-Fetch-Site": "same-origin", "Origin": "http://localhost"},
        {"Sec-Fetch-Site": "none"},
        {"Origin": "http://localhost:9901", "Host": "localhost:9901"},
        {"Origin": "http://LOCALHOST"},
    ],
)
async def test_our_own_page_and_programs_may_change_things(fields):
    program = StandingProgram()

    assert await _status(program, "/reload", method="POST", headers={"Host": "localhost", **fields}) == 200
    assert program.reloads == 1


@pytest.mark.parametrize(
    ("lines", "status"),
    [
        ([("Sec-Fetch-Site", "same-origin"), ("Sec-Fetch-Site", "cross-site")], 403),
        ([("Sec-Fetch-Site", "cross-site"), ("Sec-Fetch-Site", "none")], 403),
        ([("Sec-Fetch-Site", "none"), ("Sec-Fetch-Site", "none")], 200),
        ([("Origin", "http://localhost"), ("Origin", "https://evil.example")], 403),
        ([("Origin", "http://localhost:80")], 200),
        ([("Origin", "http://localhost:9901")], 403),
    ],
)
async def test_every_line_that_a_browser_might_have_sent_counts(lines, status):
    program = StandingProgram()

    assert await _status(program, "/reload", method="POST", headers=[("Host", "localhost"), *lines]) == status
    assert program.reloads == (status == 200)


@pytest.mark.parametrize(
    ("target", "host", "status"),
    [
        ("http://localhost/reload", "evil.example", 200),
        ("http://evil.example/reload", "localhost", 403),
        ("HTTP://evil.example/reload", "localhost", 403),
        ("http://localhost@evil.example/reload", "localhost", 403),
        ("http://evil.example:9901/reload", "localhost", 403),
    ],
)
async def test_a_target_in_absolute_form_says_whom_it_means(target, host, status):
    """RFC 9112 §3.2.2: Host does not count beside it."""
    program = StandingProgram()
    octets = f"POST {target} HTTP/1.1\r\nHost: {host}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n".encode()
    async with admin_of(program) as served:
        reader, writer = await asyncio.open_connection("127.0.0.1", served.port)
        writer.write(octets)
        answer = await reader.read()
        writer.close()
        await writer.wait_closed()

    assert answer.startswith(b"HTTP/1.1 %d " % status)
    assert program.reloads == (status == 200)


async def test_a_link_from_another_site_may_lead_here():
    assert await _status(StandingProgram(), headers={"Sec-Fetch-Site": "cross-site"}) == 200


@pytest.mark.parametrize("path", PATHS)
async def test_without_the_bearer_nothing_is_shown(path):
    program = StandingProgram()
    program.secret = "right"

    async with admin_of(program) as served:
        answer = await served.ask("GET", path)

    assert answer.status == 401
    assert answer.json()["title"] == "Not authenticated"
    assert answer.headers.getall("WWW-Authenticate") == [
        'Bearer realm="auth-sidecar"',
        'Basic realm="auth-sidecar", charset="UTF-8"',
    ]


@pytest.mark.parametrize("path", ["/reload", "/quit"])
async def test_without_the_bearer_nothing_is_changed(path):
    program = StandingProgram()
    program.secret = "right"

    assert await _status(program, path, method="POST") == 401
    assert (program.reloads, program.draining) == (0, False)


@pytest.mark.parametrize(
    "authorization",
    [
        "Bearer wrong",
        "Bearer ",
        "Bearer",
        "right",
        "Digest right",
        "Bearer right2",
        encode_basic_auth("right", "wrong"),
        "Basic !!!",
        "Basic /////w==",
        "Basic \u00fc",
        "Bearer righ\u00fc",
    ],
)
async def test_a_wrong_bearer_is_refused(authorization):
    program = StandingProgram()
    program.secret = "right"

    assert await _status(program, headers={"Authorization": authorization}) == 401


@pytest.mark.parametrize("authorization", ["Bearer right", "bearer  right", encode_basic_auth("anyone", "right")])
async def test_the_bearer_opens_also_as_a_basic_password(authorization):
    program = StandingProgram()
    program.secret = "right"

    assert await _status(program, headers={"Authorization": authorization}) == 200


@pytest.mark.parametrize("path", ["/healthz", "/readyz"])
async def test_probes_need_no_bearer(path):
    program = StandingProgram()
    program.secret = "right"

    assert await _status(program, path) == 200


async def test_a_bearer_that_cannot_be_read_lets_nobody_in(caplog):
    program = StandingProgram()
    program.unreadable = True

    assert await _status(program, headers={"Authorization": "Bearer "}) == 401
    assert "the admin bearer cannot be read" in caplog.text


async def test_the_bearer_is_read_anew_for_each_request():
    program = StandingProgram()
    program.secret = "old"
    async with admin_of(program) as served:
        program.secret = "new"
        assert (await served.ask("GET", "/status", headers={"Authorization": "Bearer new"})).status == 200


def test_an_empty_secret_opens_nothing():
    assert not same_secret("", "")


@given(st.text())
def test_any_authorization_is_read_without_an_error(value):
    assert isinstance(presented(value), str)
    assert isinstance(presented(f"Basic {value}"), str)


@pytest.mark.parametrize("path", ["/reload", "/quit"])
@pytest.mark.parametrize("method", ["GET", "HEAD", "PUT", "DELETE"])
async def test_what_changes_things_takes_post_only(path, method):
    program = StandingProgram()
    async with admin_of(program) as served:
        answer = await served.ask(method, path)

    assert (answer.status, answer.headers["Allow"]) == (405, "POST")
    assert (program.reloads, program.draining) == (0, False)


async def test_a_problem_names_the_path_but_not_the_query(caplog):
    caplog.set_level(logging.DEBUG)
    async with admin_of(StandingProgram()) as served:
        answer = await served.ask("GET", "/nowhere?token=s3cret")

    assert answer.status == 404
    assert answer.content_type == "application/problem+json"
    assert '"instance":"/nowhere"' in answer.text
    assert "s3cret" not in answer.text + caplog.text


async def test_every_answer_says_little_and_stays_uncached():
    async with admin_of(StandingProgram()) as served:
        answers = [await served.ask("GET", path) for path in ("/healthz", "/status", "/nowhere", "/reload")]

    for answer in answers:
        assert answer.headers["Server"] == "auth-sidecar"
        assert answer.headers["Cache-Control"] == "no-store"
        assert answer.headers["X-Content-Type-Options"] == "nosniff"


@pytest.mark.parametrize(("uids", "status"), [((), 200), ((os.getuid() + 4711,), 200)])
async def test_without_a_bearer_our_own_user_may_always_enter_over_a_unix_socket(tmp_path, uids, status):
    program = StandingProgram()
    program.unix_uids = uids
    async with admin_of(program, path=str(tmp_path / "admin.sock")) as served:
        assert (await served.ask("GET", "/status")).status == status


@pytest.mark.parametrize("host", ["docker", "sidecar", "evil.example", "%2Frun%2Fadmin.sock", "/run/admin.sock", "a b"])
async def test_over_a_unix_socket_host_may_say_anything(tmp_path, host):
    """To a file no name leads, so none can be rebound to it."""
    async with admin_of(StandingProgram(), path=str(tmp_path / "admin.sock")) as served:
        assert (await served.ask("GET", "/status", headers={"Host": host})).status == 200
    async with admin_of(StandingProgram()) as served:
        assert (await served.ask("GET", "/status", headers={"Host": host})).status == 403


async def test_a_user_who_is_not_named_may_probe_and_nothing_else(tmp_path, monkeypatch):
    program = StandingProgram()
    program.unix_uids = (4711,)
    monkeypatch.setattr("proxy.admin.middleware.peer_uid", lambda _: 4712)
    async with admin_of(program, path=str(tmp_path / "admin.sock")) as served:
        assert (await served.ask("GET", "/status")).status == 401
        assert (await served.ask("POST", "/quit")).status == 401
        assert (await served.ask("GET", "/healthz")).status == 200
        monkeypatch.setattr("proxy.admin.middleware.peer_uid", lambda _: 4711)
        assert (await served.ask("GET", "/status")).status == 200
