"""`auth-sidecar healthcheck`."""

from __future__ import annotations

import pytest
from support.process import free_port
from support.running import Running
from support.settings import one_route


@pytest.mark.usefixtures("running")
async def test_a_program_that_is_ready_is_healthy_and_says_nothing(beside):
    assert await beside("healthcheck") == (0, "", "")
    assert await beside("healthcheck", "--live") == (0, "", "")


async def test_one_without_a_required_token_is_alive_but_not_ready(beside, tmp_path):
    pushed = {"type": "external", "required": True, "update": {"secret": {"value": "s"}}}
    async with Running(one_route("http://127.0.0.1:1", pushed), tmp_path) as program:
        said = await beside("healthcheck")
        assert said == (1, "", "not ready: main: required, and its token is empty\n")
        assert (await beside("healthcheck", "--live")).code == 0
        program.app.draining = True
        assert (await beside("healthcheck")).err.endswith("; stopping\n")


async def test_without_an_admin_listener_the_health_listener_is_asked(beside, tmp_path):
    config = one_route("http://127.0.0.1:1", {"type": "bearer", "token": {"value": "t"}})
    config |= {"admin": {"listen": "off"}, "health": {"listen": f"127.0.0.1:{free_port()}"}}
    async with Running(config, tmp_path) as program:
        assert (await beside("healthcheck")).code == 0
        del config["health"]
        program.write(config)
        assert (await beside("healthcheck")).code == 3


async def test_a_file_that_was_broken_after_the_start_makes_nobody_ill(beside, running):
    running.file.write_text(running.file.read_text() + "bogus: 1\n")
    assert (await beside("healthcheck")).code == 0
