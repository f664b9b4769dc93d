"""`auth-sidecar token`: nothing is printed that need not be, nothing stands among the arguments."""

from __future__ import annotations

import io

import pytest

from proxy.cli.token_command import pushed

AS_ADMIN = {"Authorization": "Bearer hush-admin"}


async def sent(running):
    return (await running.sent("/api/x"))["Authorization"].removeprefix("Bearer ")


async def test_a_token_that_is_vended_is_printed_alone(beside, running):
    assert await beside("token", "show", "main") == (0, await sent(running) + "\n", "")


@pytest.mark.usefixtures("running")
@pytest.mark.parametrize("name", ["key", "pushed"])
async def test_one_that_is_not_vended_is_told_by_its_fingerprint(beside, name):
    said = await beside("token", "show", name)
    assert (said.code, said.out) == (1, "")
    assert "needs `vend: true`" in said.err
    assert "fingerprint none" in said.err
    assert "hush" not in said.err


async def test_a_token_is_renewed_at_once(beside, running):
    before = await sent(running)
    said = await beside("token", "refresh", "main")
    assert said.code == 0
    assert said.out.startswith("main: generation 2, expires in ")
    assert await sent(running) != before
    said = await beside("token", "refresh", "key")
    assert (said.code, said.err) == (1, "key: it has no token that could be renewed\n")


@pytest.mark.usefixtures("running")
@pytest.mark.parametrize("action", ["show", "refresh"])
async def test_a_credential_that_is_not_there_is_exit_4(beside, action):
    said = await beside("token", action, "nope")
    assert said.code == 4
    assert said.err == "there is no credential nope; there are: main, key, pushed\n"


async def test_a_token_is_pushed_from_standard_input(beside, running, monkeypatch):
    monkeypatch.setattr("sys.stdin", io.StringIO("tok-1\n"))
    said = await beside("token", "push", "pushed", "--expires-in", "600")
    assert said.code == 0
    assert said.out.startswith("pushed: generation 1, expires in ")
    monkeypatch.setattr("sys.stdin", io.StringIO('{"access_token": "tok-2"}'))
    assert (await beside("token", "push", "pushed")).out == "pushed: generation 2, no stated end\n"
    assert running.app.runtime.entries["pushed"].tokens.held().access_token == "tok-2"


async def test_the_guard_comes_from_a_file_or_from_the_document(beside, running, monkeypatch, tmp_path):
    (tmp_path / "guard").write_text("hush-guard\n")
    running.file.write_text(running.file.read_text().replace("hush-guard", "another"))
    monkeypatch.setattr("sys.stdin", io.StringIO("tok-1"))
    assert (await beside("token", "push", "pushed", "--guard-file", str(tmp_path / "guard"))).code == 0
    monkeypatch.setattr(
        "sys.stdin", io.StringIO('{"token": {"access_token": "tok-2"}, "endpointSecret": "hush-guard"}')
    )
    assert (await beside("token", "push", "pushed")).code == 0
    monkeypatch.setattr("sys.stdin", io.StringIO("tok-3"))
    said = await beside("token", "push", "pushed")
    assert said.code == 1
    assert "the guard refused" in said.err


@pytest.mark.usefixtures("running")
@pytest.mark.parametrize("name", ["key", "nope"])
async def test_a_credential_that_takes_no_pushes_refuses_like_one_that_is_not_there(beside, monkeypatch, name):
    monkeypatch.setattr("sys.stdin", io.StringIO("tok"))
    said = await beside("token", "push", name)
    assert said.code == 1
    assert said.err.startswith(f"{name}: the guard refused")
    monkeypatch.setattr("sys.stdin", io.StringIO(" \n"))
    assert (await beside("token", "push", name)).err == "nothing came on standard input\n"


@pytest.mark.parametrize(
    ("text", "expires_in", "document"),
    [
        ("t\n", None, {"access_token": "t"}),
        ("t", 5, {"access_token": "t", "expires_in": 5}),
        ('{"access_token": "t"}', 5, {"access_token": "t"}),
        ("123", None, {"access_token": "123"}),
        ("", None, None),
    ],
)
def test_a_document_goes_as_it_came_and_a_bare_token_in_one(text, expires_in, document):
    assert pushed(text, expires_in) == document
