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
    if json_wanted:
        assert json.loads(said.out)["problems"][0]["path"] == "credentials.main.dpop.key"
    else:
        assert "dpop.key: no private key" in said.err
    assert "hush" not in said.out + said.err


def test_everything_that_cannot_be_used_is_told_in_one_run_with_its_place(command, file):
    """A well-formed file that names keys, certificates and callables of no use."""
    for name in ("cert.pem", "key.pem"):
        (file.parent / name).write_text("hush")
    file.write_text("""\
listen: {address: 127.0.0.1:1, tls: {cert_file: cert.pem, key_file: key.pem}}
update: {listen: 127.0.0.1:2, tls: {cert_file: cert.pem, key_file: key.pem}}
routes:
  - {match: /a, upstream: "https://a.example", tls: {ca_file: cert.pem}}
  - match: /b
    upstream: {discover: {url: "https://d.example", allow_hosts: [a.example]}}
    tls: {ca_file: key.pem}
  - {match: /c, upstream: "https://a.example", credential: signed}
credentials:
  signed: {type: jwt, key: {file: key.pem}}
  proved: {type: oauth2, token_endpoint: "https://a.example", client_id: c, client_assertion_key: {file: key.pem}}
  bound: {type: oauth2, token_endpoint: "https://a.example", client_id: c, dpop: {key: {file: key.pem}}}
  trusted: {type: oauth2, token_endpoint: "https://a.example", client_id: c, tls: {ca_file: key.pem}}
  rsa: {type: oauth1, consumer_key: k, signature_method: RSA-SHA1, private_key: {file: key.pem}}
  own: {type: python, callable: "none_such:f"}
  odd: {type: http, obtain: {url: "https://a.example"}, response: {access_token: /a}, tls: {ca_file: key.pem}}
""")
    said = command("check", "--json")
    assert said.code == 78
    places = [(problem["line"], problem["path"]) for problem in json.loads(said.out)["problems"]]
    assert places == [
        (1, "listen[0].tls"),
        (2, "update.tls"),
        (4, "routes[0].tls"),
        (7, "routes[1].tls"),
        (10, "credentials.signed.key"),
        (11, "credentials.proved.client_assertion_key"),
        (12, "credentials.bound.dpop.key"),
        (13, "credentials.trusted.tls"),
        (14, "credentials.rsa.private_key"),
        (15, "credentials.own.callable"),
        (16, "credentials.odd.tls"),
    ]
    said = command("check")
    assert said.err.count("^") == len(places)
    assert "hush" not in said.err


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
