"""The command line as a whole: help, exit codes, and what is not there."""

from __future__ import annotations

import os
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest

from proxy import __version__
from proxy.cli import main as module

COMMANDS = (
    "serve", "check", "schema", "init", "routes", "explain", "store", "sandbox", "status", "token", "login",
    "reload", "healthcheck",
)  # fmt: skip


def test_help_names_every_command_and_the_exit_codes(command):
    said = command("--help")
    assert said.code == 0
    assert all(f"\n    {name} " in said.out for name in COMMANDS)
    assert "78 configuration invalid" in said.out.replace("\n", " ")


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_explains_itself_and_can_be_loaded(command, name):
    said = command(name, "--help")
    assert said.code == 0
    assert f"usage: auth-sidecar {name}" in said.out
    assert callable(import_module(f"proxy.cli.{name}_command").run)


@pytest.mark.parametrize(
    "words",
    [["login"], ["token"], ["token", "show"], ["explain", "GET"], ["--nope"], ["sandbox", "--port", "70000"]],
)
def test_what_is_no_command_is_a_usage_error(command, words):
    said = command(*words)
    assert said.code == 2
    assert "usage: auth-sidecar" in said.err


def test_the_version_is_told(command):
    assert command("--version").out == f"auth-sidecar {__version__}\n"


def test_serve_is_meant_where_no_command_is_named(command, file, monkeypatch):
    monkeypatch.setattr("proxy.cli.serve_command.run", lambda arguments: 40 + (arguments.config == file))
    assert command().code == 41
    assert command("serve").code == 41


def test_the_file_comes_from_either_side_of_the_command_the_environment_or_here(monkeypatch):
    seen: list[str] = []

    def run(arguments):
        seen.append(str(arguments.config))
        return 0

    monkeypatch.setattr("proxy.cli.schema_command.run", run)
    monkeypatch.delenv("AUTH_SIDECAR_CONFIG", raising=False)
    module.main(["schema"])
    monkeypatch.setenv("AUTH_SIDECAR_CONFIG", "/there.yaml")
    module.main(["schema"])
    module.main(["-c", "a.yaml", "schema"])
    module.main(["schema", "-c", "b.yaml"])
    assert seen == ["config.yaml", "/there.yaml", "a.yaml", "b.yaml"]


@pytest.mark.parametrize(
    "words",
    [
        ["serve"],
        ["routes"],
        ["explain", "GET", "/"],
        ["status"],
        ["reload"],
        ["healthcheck"],
        ["token", "show", "x"],
        ["check"],
        ["store", "export", "x"],
    ],
)
def test_a_configuration_that_is_not_there_is_78_for_every_command(command, words):
    said = command(*words)
    assert said.code == 78
    assert "config.yaml:1:1: cannot be read: no such file" in said.err


@pytest.mark.parametrize(
    "words", [["status"], ["reload"], ["healthcheck"], ["token", "show", "x"], ["token", "refresh", "x"]]
)
def test_an_instance_that_does_not_run_is_3_for_every_command(command, written, words):
    written({"routes": [{"match": "/a", "upstream": "https://api.example"}], "admin": {"listen": "127.0.0.1:1"}})
    said = command(*words)
    assert said.code == 3
    assert "no running instance answers on 127.0.0.1:1: connection refused" in said.err


def test_an_interrupt_and_a_reader_that_has_gone_end_without_a_traceback(command, monkeypatch):
    def raising(error):
        def run(_):
            raise error

        return run

    monkeypatch.setattr("proxy.cli.schema_command.run", raising(KeyboardInterrupt))
    assert command("schema").code == 130


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="a device of Linux")
def test_an_answer_that_cannot_be_written_ends_without_a_traceback(written, file):
    """A full disk; a reader that has gone before the first word, or after it."""
    written({"routes": [{"match": "/a", "upstream": "https://api.example"}]})
    words = [sys.executable, "-m", "proxy", "-c", str(file)]
    with Path("/dev/full").open("wb") as full:
        for name in ("routes", "schema"):
            ended = subprocess.run([*words, name], stdout=full, stderr=subprocess.PIPE, check=False)
            assert ended.returncode == 1
            assert ended.stderr == f"auth-sidecar {name}: No space left on device\n".encode()
    reading, writing = os.pipe()
    os.close(reading)
    try:
        for name in ("routes", "schema"):
            ended = subprocess.run([*words, name], stdout=writing, stderr=subprocess.PIPE, check=False)
            assert (ended.returncode, ended.stderr) == (1, b"")
    finally:
        os.close(writing)


@pytest.mark.parametrize("words", [["explain", "GET", "/", "-H", "no colon"], ["sandbox", "--port", "99999"]])
def test_words_that_mean_nothing_are_2(command, words):
    said = command(*words)
    assert said.code == 2
    assert "argument -" in said.err


def test_the_page_about_the_command_line_has_a_section_for_every_command():
    page = (Path(__file__).parents[2] / "docs" / "cli.md").read_text()
    assert [name for name in COMMANDS if f"| `{name}` |" not in page] == []
    assert [name for name in COMMANDS if f"\n## {name}\n" not in page] == [
        "sandbox",
        "login",
    ]  # they have pages of their own
