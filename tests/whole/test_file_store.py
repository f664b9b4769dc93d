"""Grants in files: what a restart finds, and what happens when the files cannot be used."""

from __future__ import annotations

import base64
import json
import os
import shutil

import pytest
from support.process import Program
from support.settings import client_credentials, one_route


@pytest.fixture
def key(tmp_path):
    path = tmp_path / "store.key"
    path.write_text(base64.b64encode(os.urandom(32)).decode() + "\n")
    return path


@pytest.fixture
def config(sandbox, tmp_path, key):
    """A grant that is good once, with refresh tokens that rotate and a reuse that costs the whole grant."""
    main = client_credentials(sandbox.token_endpoint, grant_type="refresh_token")
    main["refresh_token"] = {"value": "sandbox-refresh-token"}
    config = one_route(sandbox.url + "/api", main)
    config["store"] = {
        "type": "file",
        "path": str(tmp_path / "tokens"),
        "encryption_key": {"file": str(key)},
    }
    return config


@pytest.fixture
def place(tmp_path):
    """A directory for each program's own files; the store's is shared."""

    def make(name: str):
        (tmp_path / name).mkdir()
        return tmp_path / name

    return make


async def status(fetch, program: Program) -> dict:
    return json.loads((await fetch(f"{program.admin}/status"))[2])


async def test_a_restart_goes_on_with_the_rotated_grant_even_after_a_kill(config, place, fetch, sandbox, tmp_path):
    program = Program(config, place("one"))
    for end in (program.kill, program.stop, program.kill):
        await program.start()
        assert (await fetch(f"{program.url}/api/x"))[0] == 200
        code, _, _ = await fetch(f"{program.admin}/credentials/main/refresh", "POST")
        assert code == 200
        await end()
    stored = (tmp_path / "tokens" / "main.json").read_text()
    assert "refresh" not in stored
    assert sandbox._state.counters.refresh_token_reuses == 0


@pytest.mark.parametrize("mistake", ["another key", "damaged"])
async def test_files_that_cannot_be_used_are_named_and_left_alone(
    config, key, place, fetch, sandbox, tmp_path, mistake
):
    """The grant in them outlives the mistake: the configured seed, which it has replaced, is not sent meanwhile."""
    async with Program(config, place("one")) as program:
        assert (await fetch(f"{program.url}/api/x"))[0] == 200
    file = tmp_path / "tokens" / "main.json"
    good, right = file.read_bytes(), key.read_text()
    if mistake == "damaged":
        file.write_bytes(good[:-40])
    else:
        key.write_text(base64.b64encode(os.urandom(32)).decode())
    before = file.read_bytes()
    async with Program(config, place("two"), ready="/healthz") as program:
        await program.logged("main.json cannot be used")
        store = (await status(fetch, program))["store"]
        assert store["errors"] > 0
        assert "main.json" in store["last_error"]
        assert (await fetch(f"{program.url}/api/x"))[0] == 503
    assert file.read_bytes() == before
    assert sandbox._state.counters.refresh_token_reuses == 0
    file.write_bytes(good)
    key.write_text(right)
    async with Program(config, place("three")) as program:
        assert (await fetch(f"{program.admin}/credentials/main/refresh", "POST"))[0] == 200


async def test_a_directory_that_others_may_write_to_is_not_used_until_they_may_not(config, place, fetch, tmp_path):
    async with Program(config, place("one")) as program:
        assert (await fetch(f"{program.url}/api/x"))[0] == 200
    (tmp_path / "tokens").chmod(0o777)
    async with Program(config, place("two"), ready="/healthz") as program:
        await program.logged(f"chmod go-w {tmp_path}/tokens")
        assert "chmod go-w" in (await status(fetch, program))["store"]["last_error"]
        assert (await fetch(f"{program.url}/api/x"))[0] == 503
        (tmp_path / "tokens").chmod(0o700)
        assert (await fetch(f"{program.admin}/credentials/main/refresh", "POST"))[0] == 200
        assert (await fetch(f"{program.url}/api/x"))[0] == 200


async def test_a_grant_outlives_the_deletion_of_its_file_while_we_run(config, place, fetch, sandbox, tmp_path):
    async with Program(config, place("one")) as program:
        for _ in range(2):
            shutil.rmtree(tmp_path / "tokens")
            assert (await fetch(f"{program.admin}/credentials/main/refresh", "POST"))[0] == 200
    async with Program(config, place("two")) as program:
        assert (await fetch(f"{program.admin}/credentials/main/refresh", "POST"))[0] == 200
    assert sandbox._state.counters.refresh_token_reuses == 0


async def test_a_key_that_is_replaced_while_we_run_counts_from_the_next_reload(config, key, place, fetch, tmp_path):
    """The new key above the old one, a reload, a save; then the old one goes. No restart, no grant lost."""
    old, new = key.read_text(), base64.b64encode(os.urandom(32)).decode() + "\n"
    file = tmp_path / "tokens" / "main.json"

    async with Program(config, place("one")) as program:

        async def sealed_by() -> str:
            code, _, _ = await fetch(f"{program.admin}/credentials/main/refresh", "POST")
            assert code == 200
            return json.loads(file.read_text())["key"]

        first = await sealed_by()
        key.write_text(new + old)
        assert await sealed_by() == first
        assert (await fetch(f"{program.admin}/reload", "POST"))[0] == 200
        second = await sealed_by()
        assert second != first
        key.write_text("no key at all\n")
        code, _, said = await fetch(f"{program.admin}/reload", "POST")
        assert (code, "an encryption key is 32 bytes" in said.decode()) == (422, True)
        assert await sealed_by() == second
        key.write_text(new)
        assert (await fetch(f"{program.admin}/reload", "POST"))[0] == 200
        assert await sealed_by() == second
    async with Program(config, place("two")) as program:
        assert (await status(fetch, program))["credentials"]["main"]["state"] == "fresh"
        assert (await fetch(f"{program.url}/api/x"))[0] == 200
