"""Nodes and types to structs, collecting every mistake."""

from __future__ import annotations

import pytest
from support.full_file import SMALLEST, credential_of, errors_of, load_all

from proxy.config.schema import Match


@pytest.mark.parametrize(
    ("lines", "path", "said", "hint"),
    [
        ("log:", "log", "`log` is empty", "leave the key out"),
        ("log: null", "log", "`log` is empty", "leave the key out"),
        ("log: [a]", "log", "must be a mapping, not a list", ""),
        ("log: info", "log", "must be a mapping, not a string", ""),
        ("log: {access: none}", "log.access", "must be all, errors or off", ""),
        ("log: {access: no}", "log.access", "must be all, errors or off", ""),
        ("log: {access: Off}", "log.access", "must be all, errors or off", "`off`"),
        ("log: {5: a}", "log.5", "a key that YAML may read as a number", "quote it"),
        ("log: {~: a}", "log.~", "a key that YAML may read as null", "quote it"),
        ("log: {yes: a}", "log.yes", "a boolean", "quote it"),
        ("log: {[a]: b}", "log.", "a plain word", ""),
        ("log: {level: info, level: debug}", "log.level", "given twice: first in line 12", ""),
        ("log: {'level': info, \"level\": debug}", "log.level", "given twice", ""),
        ("reuse_port: 'true'", "reuse_port", "true or false", "without quotes"),
        ("store: file", "store", "must be a mapping", ""),
        ("store: {path: x}", "store", "needs a `type`", "memory"),
        ("store: {type: fil, path: x}", "store.type", "unknown type `fil`", "`file`"),
        ("store: {type: , path: x}", "store.type", "one of", ""),
        ("store: {type: memory, path: x}", "store.path", "unknown key `path` in store", "type"),
        ("allowed_hosts: localhost", "allowed_hosts", "must be a list", "[value]"),
        ("allowed_hosts: [5]", "allowed_hosts[0]", "is a string, but YAML may read this as a number", "quote it"),
    ],
)
def test_a_mistake_is_named_with_its_place(lines, path, said, hint):
    (error,) = errors_of(SMALLEST + lines + "\n")
    assert (error.line, error.path) == (12, path)
    assert said in error.message
    assert hint in (error.hint or "")


def test_shorthands_stand_for_mappings():
    text = "routes: [{match: {path: /a}, upstream: 'https://a'}, {match: /b, upstream: 'https://a'}]\n"
    assert [route.match for route in load_all(text).config.routes] == [Match(path="/a"), Match(path="/b")]
    one = load_all(SMALLEST + "listen: 127.0.0.1:1\n").config.listen
    assert one == load_all(SMALLEST + "listen: [127.0.0.1:1]\n").config.listen
    assert one == load_all(SMALLEST + "listen: {address: '127.0.0.1:1'}\n").config.listen


def test_null_stands_for_absence_where_absence_is_a_value():
    text = SMALLEST.replace("credential: crm", "credential: null\n    cors:\n    tls: {ca_file: ~}")
    route = load_all(text).config.routes[0]
    assert (route.credential, route.cors) == (None, None)


def test_json_is_taken_as_it_is_and_traps_are_refused_in_it():
    text = SMALLEST + "  j: {type: jwt, key: {env: KEY}, claims: {a: [1, 2.5, true, null, 'NO', {b: -1e3}], y: x}}\n"
    assert credential_of(load_all(text), "j").claims == {"a": [1, 2.5, True, None, "NO", {"b": -1000.0}], "y": "x"}
    for trap in ("NO", "010", "1:30", "2024-01-01", "0x1f"):
        (error,) = errors_of(text.replace("'NO'", trap))
        assert error.hint == "quote it"


def test_a_placeholder_never_reaches_anybody():
    """Whatever is broken in a struct, the rest of it is judged, and nothing is loaded."""
    errors = errors_of(
        SMALLEST.replace("/crm\n", "[]\n").replace("my-app", "{}").replace("https://login", "ftp://login")
    )
    assert [error.path for error in errors] == [
        "routes[0].match",
        "credentials.crm.token_endpoint",
        "credentials.crm.client_id",
    ]


def test_json_that_is_equal_but_not_the_same_stays_what_it_is():
    one = "{type: http, obtain: {url: 'https://i.example/t', json: %s}}"
    loaded = load_all(SMALLEST + f"  b: {one % '1'}\n  c: {one % 'true'}\n")
    assert [credential_of(loaded, name).obtain.json for name in "bc"] == [1, True]
    assert credential_of(loaded, "c").obtain.json is True
