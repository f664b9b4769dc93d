"""The program's life, within the test's own loop: what starts, what a reload keeps and exchanges, how it ends."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import socket
from contextlib import closing
from typing import Any

import aiohttp
import pytest
from support.notified import Notified
from support.process import free_port
from support.recording_upstream import RecordingUpstream
from support.running import Running
from support.settings import client_credentials, one_route
from support.tls import Authority

from proxy import app as app_module
from proxy.assembly.file_watch import FileWatch
from proxy.config.schema import Log
from proxy.errors import ConfigurationError
from proxy.sandbox.sandbox_server import Sandbox, SandboxOptions
from proxy.service_manager import ServiceManager


@pytest.fixture
async def sandbox():
    async with Sandbox(SandboxOptions(port=0)) as running:
        yield running


@pytest.fixture
async def upstream():
    async with RecordingUpstream() as running:
        yield running


@pytest.fixture
def config(sandbox):
    return one_route(sandbox.url + "/api", client_credentials(sandbox.token_endpoint))


def with_credential(config, **changes):
    return {**config, "credentials": {"main": {**config["credentials"]["main"], **changes}}}


# ---- start -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("which", ["listen", "admin"])
async def test_a_listener_that_is_taken_is_named_and_costs_no_token_request(config, sandbox, tmp_path, which):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        running = Running(
            {**config, **({"listen": address} if which == "listen" else {"admin": {"listen": address}})}, tmp_path
        )
        with pytest.raises(OSError, match=f"cannot listen on {address}: address already in use") as failure:
            await running.app.start()
    assert failure.value.strerror.startswith("listen:" if which == "listen" else "admin.listen:")
    assert sandbox.counters.grants == {}


async def test_what_only_shows_when_objects_are_made_is_a_configuration_error(config, tmp_path):
    with pytest.raises(ConfigurationError, match=r"credentials\.main: .*key"):
        Running(with_credential(config, dpop={"key": {"value": "no key"}}), tmp_path)


async def test_signatures_can_use_the_token_of_a_credential_that_comes_later_in_the_file(config, tmp_path, upstream):
    config["credentials"] = {
        "signed": {"type": "oauth1", "consumer_key": "k", "consumer_secret": {"credential": "main"}},
        **config["credentials"],
    }
    config["routes"].append({"match": "/signed", "upstream": upstream.url, "credential": "signed"})
    async with Running(config, tmp_path) as running:
        status, _, _ = await running.ask(running.url + "/signed/x")
        assert status == 200
    assert b"oauth_signature=" in (await upstream.received(1)).field(b"authorization")


async def test_a_store_that_cannot_be_written_is_reported_and_requests_are_served(config, tmp_path):
    (tmp_path / "state").write_text("a file where the directory should be")
    async with Running({**config, "store": {"type": "file", "path": "state"}}, tmp_path) as running:
        await running.sent("/api/x")
        store = (await running.status())["store"]
        assert store["type"] == "file"
        assert store["errors"] > 0
        assert "state" in store["last_error"]


async def test_a_program_told_to_reload_and_to_stop_while_it_starts_does_both_in_order(config, tmp_path):
    running = Running(config, tmp_path)
    running.app.reload_soon()
    running.app.quit_by_signal()
    async with running:
        async with asyncio.timeout(30):
            await running.ended
    assert running.app.draining


async def test_a_program_that_stops_while_it_reloads_says_at_last_that_it_stops(config, tmp_path):
    with closing(Notified(str(tmp_path / "notify"))) as listening:

        class StopsWhileItReloads(ServiceManager):
            def reloading(self) -> None:
                super().reloading()
                running.app.quit()

        running = Running(config, tmp_path, manager=StopsWhileItReloads(listening.address))
        async with running:
            with pytest.raises(ConfigurationError, match="is stopping"):
                await running.app.reload()
            listening.heard(2)
            await running.ended
        assert "STOPPING" in listening.heard(1)[0]
        running.app._manager.alive()
        assert listening.heard(1) == [{"WATCHDOG": "1"}]


# ---- reload ----------------------------------------------------------------------------------------------------------


async def test_a_token_lives_on_when_only_the_admin_sides_words_change(config, sandbox, tmp_path):
    async with Running(config, tmp_path) as running:
        before = (await running.sent("/api/x"))["Authorization"]
        changed = with_credential(config, required=True, update={"secret": {"value": "s"}})
        await running.reload(changed)
        assert (await running.sent("/api/x"))["Authorization"] == before
        status, _, _ = await running.ask(
            running.admin + "/credentials/main/token",
            "PUT",
            json={"access_token": "pushed"},
            headers={"Authorization": "Bearer s"},
        )
        assert status == 200
        assert (await running.status("main"))["generation"] == 2
    assert sandbox.counters.grants == {"client_credentials": 1}


async def test_a_token_that_was_got_for_another_scope_is_not_sent(config, sandbox, tmp_path):
    async with Running(with_credential(config, scope="all"), tmp_path) as running:
        before = (await running.sent("/api/x"))["Authorization"]
        await running.reload(with_credential(config, scope="some"))
        assert (await running.sent("/api/x"))["Authorization"] != before
        assert (await running.status("main"))["generation"] == 2
    assert sandbox.counters.grants == {"client_credentials": 2}


async def test_a_stored_token_that_was_got_for_another_scope_is_not_sent_after_a_restart(config, tmp_path):
    stored = {**config, "store": {"type": "file", "path": "state"}}
    async with Running(with_credential(stored, scope="all"), tmp_path) as running:
        first = (await running.sent("/api/x"))["Authorization"]
    async with Running(with_credential(stored, scope="all"), tmp_path) as running:
        assert (await running.sent("/api/x"))["Authorization"] == first
    async with Running(with_credential(stored, scope="some"), tmp_path) as running:
        assert (await running.sent("/api/x"))["Authorization"] != first


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"listen": "127.0.0.1:1"}, "listen"),
        ({"admin": {"listen": "127.0.0.1:1"}}, "admin.listen"),
        ({"store": {"type": "file", "path": "state"}}, "store"),
        ({"health": {"listen": "127.0.0.1:1"}}, "health"),
        ({"reuse_port": True, "store": {"type": "file", "path": "state"}}, "reuse_port, store"),
    ],
)
async def test_what_needs_a_restart_is_refused_with_its_name(config, tmp_path, change, said):
    async with Running(config, tmp_path) as running:
        with pytest.raises(ConfigurationError, match=f"changed while running: {said}; restart"):
            await running.reload({**config, **change})
        assert not running.app.reloaded
        await running.sent("/api/x")


async def test_a_reload_that_fails_while_objects_are_made_changes_nothing(config, sandbox, tmp_path):
    async with Running(config, tmp_path) as running:
        before = await running.sent("/api/x")
        broken = with_credential(config, scope="new")
        broken["credentials"]["zz"] = {
            **client_credentials(sandbox.token_endpoint), "dpop": {"key": {"value": "no key"}}
        }  # fmt: skip
        with pytest.raises(ConfigurationError, match=r"config\.yaml:\d+:7: dpop\.key: no private key"):
            await running.reload(broken)
        assert await running.sent("/api/x") == before
        assert "zz" not in (await running.status())["credentials"]
        await running.reload(config)
        assert running.app.reloaded
        assert await running.sent("/api/x") == before


async def test_a_reload_whose_secret_command_fails_changes_nothing(config, tmp_path):
    async with Running(config, tmp_path) as running:
        broken = {**config, "routes": [{**config["routes"][0], "headers": {"set": {"X-Key": {"exec": ["false"]}}}}]}
        with pytest.raises(ConfigurationError, match=r"routes\.api\.headers\.set\.X-Key: "):
            await running.reload(broken)
        assert "X-Key" not in await running.sent("/api/x")


async def test_a_defect_of_ours_in_a_reload_is_reported_and_the_program_goes_on(config, tmp_path, monkeypatch, caplog):
    async with Running(config, tmp_path) as running:
        monkeypatch.setattr(running.app._builder, "build", lambda *_: {"a": 1}["hush"])
        with pytest.raises(ConfigurationError, match="internal error, please report: KeyError"):
            await running.app.reload()
        await running.sent("/api/x")
    assert "please report" in caplog.text
    assert "hush" not in caplog.text


async def test_the_manager_of_a_removed_credential_stops(config, sandbox, tmp_path):
    config["credentials"]["other"] = client_credentials(sandbox.token_endpoint)
    async with Running(config, tmp_path) as running:
        await running.until_ready()
        manager: Any = running.app.runtime.credentials["other"].credential.tokens
        scheduler = running.app._builder._context.scheduler
        assert any(kept is manager for kept in scheduler._when)
        del config["credentials"]["other"]
        await running.reload(config)
        async with asyncio.timeout(30):
            while any(kept is manager for kept in scheduler._when):
                await asyncio.sleep(0.01)
        assert set((await running.status())["credentials"]) == {"main"}


async def test_a_request_in_flight_finishes_on_the_route_that_is_gone(config, upstream, tmp_path):
    go = asyncio.Event()
    upstream.script(go, b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\ndone")
    old = {**config, "routes": [*config["routes"], {"match": "/old", "upstream": upstream.url, "credential": "main"}]}
    async with Running(old, tmp_path) as running:
        request = asyncio.create_task(running.ask(running.url + "/old/x"))
        await upstream.received(1)
        await running.reload(config)
        assert (await running.ask(running.url + "/old/x"))[0] == 404
        go.set()
        assert (await request)[::2] == (200, b"done")


async def test_a_request_that_waits_for_its_connection_is_served_although_its_route_is_gone(config, tmp_path):
    authority = Authority()
    (tmp_path / "ca.pem").write_bytes(authority.certificate)

    async def serve(reader, writer):
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n")
        await writer.drain()
        writer.close()

    listening = socket.create_server(("127.0.0.1", 0))  # connected to by the kernel, and not accepted yet
    loop, connected = asyncio.get_running_loop(), asyncio.Event()
    loop.add_reader(listening, connected.set)
    port = listening.getsockname()[1]
    route = {"match": "/old", "upstream": f"https://localhost:{port}", "tls": {"ca_file": "ca.pem"}}
    async with Running({**config, "routes": [*config["routes"], route]}, tmp_path) as running:
        request = asyncio.create_task(running.ask(running.url + "/old/x"))
        await connected.wait()
        loop.remove_reader(listening)
        await running.reload(config)
        async with await asyncio.start_server(serve, sock=listening, ssl=authority.server_context()):
            async with asyncio.timeout(30):
                assert (await request)[0] == 204


async def test_a_request_that_waits_for_a_token_gets_it_although_its_credential_has_changed(config, sandbox, tmp_path):
    async with Running(with_credential(config, refresh={"eager": False}), tmp_path) as running:
        sandbox.script.change(token_faults=[{"kind": "slow", "seconds": 0.5, "times": 1}])
        request = asyncio.create_task(running.ask(running.url + "/api/x"))
        async with asyncio.timeout(30):
            while not sandbox.counters.token_requests.now:
                await asyncio.sleep(0.01)
        await running.reload(with_credential(config, scope="new", refresh={"eager": False}))
        assert (await request)[0] == 200


async def test_credentials_find_the_one_that_they_refer_to_as_it_is_now(config, tmp_path, upstream):
    config["credentials"] = {
        "first": {"type": "bearer", "token": {"value": "one"}},
        "second": {
            "type": "http",
            "obtain": {"url": upstream.url + "/token", "headers": {"X-First": {"credential": "first"}}},
        },
    }
    config["routes"] = [{"match": "/api", "upstream": upstream.url, "credential": "second"}]
    token = b'{"access_token": "t", "expires_in": 3600}'
    for _ in range(2):
        upstream.script(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(token) + token)
    async with Running(config, tmp_path) as running:
        assert (await upstream.received(1)).field(b"x-first") == b"one"
        config["credentials"]["first"]["token"] = {"value": "two"}
        await running.reload(config)
        assert (await running.ask(running.admin + "/credentials/second/refresh", "POST"))[0] == 200
    assert (await upstream.received(2)).field(b"x-first") == b"two"


async def test_figures_of_a_route_outlive_a_reload(config, tmp_path):
    async with Running(config, tmp_path) as running:
        await running.sent("/api/x")
        config["routes"][0]["timeouts"] = {"connect": "3s"}
        await running.reload(config)
        await running.sent("/api/x")
        assert (await running.status())["routes"]["api"]["requests"] == 2


async def test_warnings_are_told_when_they_change_and_not_when_they_are_gone(config, tmp_path, caplog):
    doubtful = with_credential(config, client_secret={"value": "hush"})
    sound = with_credential(config, client_secret={"env": "SECRET"})
    async with Running(sound, tmp_path, environ={"SECRET": "s"}) as running:
        for now, told in ((sound, 0), (doubtful, 1), (doubtful, 1), (sound, 1)):
            await running.reload(now)
            assert caplog.text.count("may not be what you mean") == told


async def test_log_hosts_and_limits_follow_a_reload(config, tmp_path):
    seen: list[Log] = []
    async with Running(config, tmp_path, on_log=seen.append) as running:
        other = {"Host": "other.example"}
        assert (await running.ask(running.url + "/api/x", headers=other))[0] == 403
        assert (await running.ask(running.admin + "/status", headers=other))[0] == 403
        hosts = ["127.0.0.1", "other.example"]
        await running.reload({**config, "allowed_hosts": hosts, "log": {"level": "debug", "access": "all"}})
        assert (await running.ask(running.url + "/api/x", headers=other))[0] == 200
        assert (await running.ask(running.admin + "/status", headers=other))[0] == 200
        assert running.app._front.access == "all"
    assert [log.level for log in seen] == ["debug"]


@pytest.mark.parametrize("how", ["in place", "renamed over", "a ConfigMap's links"])
async def test_a_file_that_changes_is_read_without_being_told(config, tmp_path, monkeypatch, how):
    monkeypatch.setattr(app_module, "_WATCH_EVERY", 0.02)
    running = Running(config, tmp_path)
    if how == "a ConfigMap's links":
        for name in ("..one", "..two"):
            (tmp_path / name).mkdir()
        running.file.rename(tmp_path / "..one" / "config.yaml")
        (tmp_path / "..data").symlink_to("..one")
        running.file.symlink_to("..data/config.yaml")
    async with running:
        new = {**config, "routes": [{**config["routes"][0], "match": "/new"}]}
        text_of = running.file
        if how == "in place":
            running.write(new)
        else:
            staged = tmp_path / ("staged" if how == "renamed over" else "..two/config.yaml")
            running.file = staged
            running.write(new)
            running.file = text_of
            if how == "renamed over":
                staged.replace(running.file)
            else:
                (tmp_path / "..tmp").symlink_to("..two")
                os.replace(tmp_path / "..tmp", tmp_path / "..data")
        async with asyncio.timeout(30):
            while (await running.ask(running.url + "/new/x"))[0] != 200:
                await asyncio.sleep(0.01)


async def test_a_configuration_that_came_through_a_pipe_is_not_waited_for_again(config, tmp_path):
    """Nobody writes into it any more: a reload that waits would hold up the end of the program, too."""
    async with Running(config, tmp_path) as running:
        running.file.unlink()
        os.mkfifo(running.file)
        reloading = asyncio.create_task(running.app.reload())
        await asyncio.wait({reloading}, timeout=5)
        if not reloading.done():
            os.close(os.open(running.file, os.O_WRONLY | os.O_NONBLOCK))
        with pytest.raises(ConfigurationError, match="a pipe cannot be read again"):
            await reloading
        assert not running.app.reloaded


async def test_a_file_that_was_missed_in_a_reload_is_good_again_once_it_is_back(config, tmp_path, monkeypatch):
    """Also with the content that it had: else the metric would go on to say that it cannot be loaded."""
    monkeypatch.setattr(app_module, "_WATCH_EVERY", 0.02)
    async with Running(config, tmp_path) as running:
        aside = running.file.rename(tmp_path / "aside")
        with pytest.raises(ConfigurationError, match="no such file"):
            await running.app.reload()
        assert not running.app.reloaded
        aside.rename(running.file)
        async with asyncio.timeout(30):
            while not running.app.reloaded:
                await asyncio.sleep(0.01)


async def test_a_change_between_reading_and_starting_is_not_missed(config, tmp_path, monkeypatch):
    monkeypatch.setattr(app_module, "_WATCH_EVERY", 0.02)
    (tmp_path / "config.yaml").write_text("not read yet")
    async with Running(config, tmp_path, watch=FileWatch(tmp_path / "config.yaml")) as running:
        before = running.app.runtime
        async with asyncio.timeout(30):
            while running.app.runtime is before:
                await asyncio.sleep(0.01)


async def test_a_broken_file_is_reported_once_and_its_repair_is_noticed(config, tmp_path, monkeypatch, caplog):
    monkeypatch.setattr(app_module, "_WATCH_EVERY", 0.02)
    caplog.set_level(logging.INFO, "auth_sidecar")
    async with Running(config, tmp_path) as running:
        good = running.file.read_text()
        running.file.write_text(good.replace("upstream:", "upstrem:"))
        async with asyncio.timeout(30):
            while "not reloaded" not in caplog.text:
                await asyncio.sleep(0.01)
        await asyncio.sleep(0.1)
        assert caplog.text.count("the last good one stays") == 1
        assert b"auth_sidecar_config_last_reload_successful 0" in (await running.ask(running.admin + "/metrics"))[2]
        running.file.write_text(good + "\n")
        async with asyncio.timeout(30):
            while not running.app.reloaded:
                await asyncio.sleep(0.01)


# ---- the end ---------------------------------------------------------------------------------------------------------


async def test_readiness_ends_before_the_listener_does_and_a_second_signal_ends_all(config, tmp_path):
    async with Running({**config, "shutdown": {"delay": "60s"}}, tmp_path) as running:
        await running.until_ready()
        assert (await running.ask(running.admin + "/quit", "POST"))[0] == 202
        async with asyncio.timeout(30):
            while (await running.ask(running.admin + "/readyz"))[0] != 503:
                await asyncio.sleep(0.01)
        assert json.loads((await running.ask(running.admin + "/readyz"))[2])["draining"] is True
        await running.sent("/api/x")
        running.app.quit_by_signal()  # the first signal: somebody asked over HTTP, nobody is in a hurry yet
        await asyncio.sleep(0.05)
        assert not running.ended.done()
        with pytest.raises(ConfigurationError, match="stopping"):
            await running.app.reload()
        running.app.quit_by_signal()
        async with asyncio.timeout(30):
            await running.ended


async def test_a_second_signal_cuts_what_still_runs(config, upstream, tmp_path, caplog):
    upstream.script(asyncio.Event(), b"")
    config["routes"][0]["upstream"] = upstream.url
    async with Running({**config, "shutdown": {"drain": "60s"}}, tmp_path) as running:
        request = asyncio.create_task(running.ask(running.url + "/api/x"))
        await upstream.received(1)
        running.app.quit_by_signal()
        await asyncio.sleep(0.05)
        assert not running.ended.done()
        running.app.quit_by_signal()
        async with asyncio.timeout(30):
            await running.ended
        with pytest.raises(aiohttp.ClientError):
            await request
    assert "1 requests in flight were cut off" in caplog.text


async def test_unix_sockets_are_the_owners_and_go_with_the_program(config, tmp_path):
    paths = [tmp_path / "front.sock", tmp_path / "admin.sock"]
    listen = {"listen": f"unix:{paths[0]}", "admin": {"listen": f"unix:{paths[1]}"}}
    for path in paths:  # left behind by a process that was killed
        with socket.socket(socket.AF_UNIX) as dead:
            dead.bind(str(path))
    async with Running({**config, **listen}, tmp_path):
        assert [path.stat().st_mode & 0o777 for path in paths] == [0o600, 0o600]
        with pytest.raises(OSError, match=r"another process listens there|address already in use"):
            await Running({**config, "admin": listen["admin"]}, tmp_path).app.start()
        assert all(path.exists() for path in paths)
    assert not any(path.exists() for path in paths)


async def test_two_programs_share_a_port_that_may_be_reused(config, tmp_path):
    """Row 62."""
    shared = {
        **config,
        "reuse_port": True,
        "listen": f"127.0.0.1:{free_port()}",
        "store": {"type": "file", "path": "state"},
    }
    (tmp_path / "b").mkdir()
    async with Running(shared, tmp_path) as one, Running(shared, tmp_path / "b") as two:
        assert one.app._front is not two.app._front


# ---- what the admin side sees ----------------------------------------------------------------------------------------


async def test_the_configuration_is_shown_without_secrets_and_static_credentials_are_fresh(config, tmp_path):
    config["credentials"] |= {
        "key": {"type": "header", "name": "X-Key", "value": {"value": "hush-1"}},
        "fixed": {"type": "bearer", "token": {"value": "hush-2"}},
        "signed": {"type": "oauth1", "consumer_key": "k", "consumer_secret": {"value": "hush-3"}},
    }
    config["admin"] = {"bearer": {"value": "hush-4"}}
    bearer = {"Authorization": "Bearer hush-4"}
    async with Running(config, tmp_path) as running:
        assert (await running.ask(running.admin + "/config"))[0] == 401
        status, _, shown = await running.ask(running.admin + "/config", headers=bearer)
        assert status == 200
        assert json.loads(shown)["routes"][0]["match"]["path"] == "/api"
        assert b"hush" not in shown
        assert b"sandbox-secret" not in shown
        said = json.loads((await running.ask(running.admin + "/status", headers=bearer))[2])
        assert {said["credentials"][name]["state"] for name in ("key", "fixed", "signed")} == {"fresh"}
        assert said["uptime"] >= 0
        assert said["store"] == {"type": "memory", "state": "ok", "errors": 0, "last_error": None}
