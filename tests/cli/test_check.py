"""`auth-sidecar check`: every mistake in one run, also those that only show when objects are made."""

from __future__ import annotations

import json

import pytest

GOOD = {"routes": [{"match": "/a", "upstream": "http://127.0.0.1:1"}]}
DOUBTFUL = {**GOOD, "credentials": {"main": {"type": "bearer", "token": {"value": "hush"}}}}


def test_a_good_file_is_called_good(command, written, file):
    written(GOOD)
    assert command("check") == (0, f"{file}: good\n", "")


def test_every_mistake_is_told_with_its_place(command, written, file):
    written({"routes": [{"match": "a", "upstrem": "https://x.example"}], "lisen": "x"})
    said = command("check")
    assert said.code == 78
    assert said.out == ""
    assert said.err.count(f"{file}:") >= 3
    assert "did you mean `upstream`" in said.err


def test_warnings_are_good_enough_unless_one_is_strict(command, written):
    written(DOUBTFUL)
    said = command("check")
    assert (said.code, "warning: " in said.out, "hush" in said.out) == (0, True, False)
    assert command("check", "--strict").code == 78


def test_programs_read_json(command, written):
    written(DOUBTFUL)
    said = json.loads(command("check", "--json").out)
    assert said["valid"] is True
    assert [problem["severity"] for problem in said["problems"]] == ["warning"]
    written({"routes": []})
    said = command("check", "--json")
    assert said.code == 78
    assert json.loads(said.out)["valid"] is False


@pytest.mark.parametrize("json_wanted", [True, False])
def test_a_key_that_cannot_be_used_is_found_without_a_network(command, written, json_wanted):
    issued = {
        "type": "oauth2",
        "token_endpoint": "https://x.example",
        "client_id": "c",
        "client_secret": {"value": "s"},
    }
    written({**GOOD, "credentials": {"main": {**issued, "dpop": {"key": {"value": "hush"}}}}})
    said = command("check", *(["--json"] if json_wanted else []))
    assert said.code == 78
    assert "credentials.main: " in (said.out if json_wanted else said.err)
    assert "hush" not in said.out + said.err


def test_a_certificate_of_a_listener_that_cannot_be_used_is_found(command, written, file):
    for name in ("cert.pem", "key.pem"):
        (file.parent / name).write_text("hush")
    written({**GOOD, "listen": {"address": "127.0.0.1:1", "tls": {"cert_file": "cert.pem", "key_file": "key.pem"}}})
    assert command("check").code == 78


def test_online_reports_what_works_and_fails_where_something_does_not(command, written):
    written({**GOOD, "credentials": {"main": {"type": "bearer", "token": {"env": "PATH"}}}})
    said = command("check", "--online")
    assert said.code == 1
    assert "works  credential main: its secrets can be read\n" in said.out
    assert "FAILS  upstream http://127.0.0.1:1: " in said.out
    document = json.loads(command("check", "--online", "--json").out)
    assert document["valid"] is True
    assert [(one["kind"], one["name"], one["works"]) for one in document["online"]] == [
        ("credential", "main", True),
        ("upstream", "http://127.0.0.1:1", False),
    ]
