"""`auth-sidecar reload`."""

from __future__ import annotations


async def test_the_running_instance_takes_the_file_as_it_is_now(beside, running):
    running.file.write_text(running.file.read_text().replace("match: /api", "match: /new"))
    assert await beside("reload") == (0, "reloaded\n", "")
    assert (await running.ask(running.url + "/new/x"))[0] == 200


async def test_a_file_with_mistakes_is_78_and_says_them(beside, running):
    running.file.write_text(running.file.read_text().replace("upstream:", "upstrem:"))
    said = await beside("reload")
    assert said.code == 78
    assert "did you mean `upstream`" in said.err
    assert (await running.ask(running.url + "/api/x"))[0] == 200


async def test_a_change_that_needs_a_restart_is_78_too(beside, running):
    running.file.write_text(running.file.read_text() + "reuse_port: true\nstore: {type: file, path: state}\n")
    said = await beside("reload")
    assert said.code == 78
    assert "restart auth-sidecar to apply it" in said.err


async def test_a_wrong_bearer_is_refused(beside, running):
    running.file.write_text(running.file.read_text().replace("hush-admin", "wrong"))
    said = await beside("reload")
    assert (said.code, said.err.startswith("the running instance refused: ")) == (1, True)
