"""`auth-sidecar init`: what it writes can be used, and it overwrites nothing."""

from __future__ import annotations

from proxy.config.load import load


def test_what_is_written_is_good_once_its_secret_is_set(command, file):
    said = command("init")
    assert (said.code, said.err) == (0, "")
    loaded = load(file, {"CRM_CLIENT_SECRET": "s"})
    assert loaded.warnings == ()
    assert loaded.config.routes[0].name == "crm"


def test_a_file_that_is_there_stays_as_it_is(command, file):
    file.write_text("mine")
    said = command("init")
    assert said.code == 1
    assert "is there already" in said.err
    assert file.read_text() == "mine"


def test_a_place_that_cannot_be_written_is_said(command, file):
    file.parent.joinpath("gone").mkdir()
    said = command("init", "-c", str(file.parent / "none" / "config.yaml"))
    assert said.code == 1
    assert "cannot be written: No such file or directory" in said.err
