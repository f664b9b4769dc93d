"""A file in, structs out, or one report of all that is wrong with it."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from support.full_file import ENVIRON, SMALLEST, credential_of, errors_of, load_all

from proxy.config.load import load, load_text, located
from proxy.config.report import InvalidConfigurationError
from proxy.config.schema import Duration, FileStore, OAuth2, Secret
from proxy.errors import ConfigurationError

BOMB = b"""\
a: &a [x,x,x,x,x,x,x,x,x]
b: &b [*a,*a,*a,*a,*a,*a,*a,*a]
c: &c [*b,*b,*b,*b,*b,*b,*b,*b]
d: &d [*c,*c,*c,*c,*c,*c,*c,*c]
e: &e [*d,*d,*d,*d,*d,*d,*d,*d]
f: &f [*e,*e,*e,*e,*e,*e,*e,*e]
"""


def test_the_smallest_useful_file_loads_with_every_default_filled_in(tmp_path):
    path = tmp_path / "config.yaml"
    path.write_text(SMALLEST)
    loaded = load(path, ENVIRON)
    assert (loaded.warnings, loaded.directory) == ((), tmp_path)
    route = loaded.config.routes[0]
    assert (route.name, route.match.path, route.upstream) == ("crm", "/crm", "https://api.crm.example/v2")
    credential = loaded.config.credentials["crm"]
    assert isinstance(credential, OAuth2)
    assert credential.client_secret == Secret(env="CRM_CLIENT_SECRET")
    assert (credential.token_endpoint_auth_method, credential.header_prefix) == ("client_secret_basic", "Bearer ")
    assert loaded.config.listen[0].address == "127.0.0.1:8080"
    assert loaded.config.routes[0].timeouts.response_header == Duration(60)


def test_every_mistake_of_a_file_comes_in_one_report_in_the_order_of_the_file():
    text = (
        SMALLEST.replace("token_endpoint", "token_endpont").replace("my-app", "NO") + "vresion: 1\nlog: {level: loud}\n"
    )
    with pytest.raises(ConfigurationError) as caught:
        load_text(text, name="c.yaml", directory=Path("/"), environ={})
    assert (
        str(caught.value)
        == """\
c.yaml:9:5: unknown key `token_endpont` in credentials.crm
    token_endpont: ***
    ^
  did you mean `token_endpoint`?
c.yaml:10:16: `client_id` is a string, but YAML may read this as a boolean
    client_id: NO
               ^
  quote it
c.yaml:11:26: the environment variable CRM_CLIENT_SECRET is not set
    client_secret: {env: CRM_CLIENT_SECRET}
                         ^
c.yaml:12:1: unknown key `vresion`
    vresion: ***
    ^
  did you mean `version`?
c.yaml:13:14: `level` must be debug, error, info or warning
    log: {level: loud}
                 ^"""
    )


@pytest.mark.parametrize(
    ("octets", "line", "column", "said"),
    [
        (b"", 1, 1, "empty"),
        (b"\n# nothing\n", 1, 1, "empty"),
        (b"---\n", 1, 1, "empty"),
        (b"hello", 1, 1, "must be a mapping"),
        (b"- a\n", 1, 1, "must be a mapping"),
        (b"routes: []\n---\nroutes: []\n", 2, 1, "second document"),
        (b"a: \xff\n", 1, 4, "not UTF-8"),
        (b"a: b\nc: d\0\n", 2, 5, "NUL"),
        (b"a: b\x07", 1, 5, "U+0007"),
        ("routes: []".encode("utf-16"), 1, 1, "not UTF-8"),
        (b"log:\n\tlevel: info\n", 2, 1, "no value can start"),
        (b'a: "b\nc: d\n', 1, 4, "never closed"),
        (b"a: b: c\n", 1, 5, "cannot stand here"),
        (b"a: [b\nc: d\n", 2, 2, "closing bracket"),
        (b"a:\n  - b\n c: d\n", 3, 2, "does not fit"),
        (b'a: "\\q"\n', 1, 5, "escape"),
        (b"a: !!str b\n", 1, 4, "tags"),
        (b"a: *b\n", 1, 4, "no anchor"),
        (b"a: &b [*b]\n", 1, 8, "stands inside"),
        (b"[" * 100_000, 1, 65, "64 levels"),
        (b"a: {" * 3000, 1, 256, "64 levels"),
        (b"x" * (1024 * 1024 + 1), 1, 1, "1 MiB"),
        (b"%YAML 3.0\n---\na: b\n", 1, 1, "not YAML"),
        (b"? [a]\n: b\n", 1, 3, "plain word"),
        (b"<<: 5\n", 1, 1, "`<<` takes a mapping"),
        (BOMB, 6, 4, "aliases"),
    ],
)
def test_what_is_no_configuration_at_all_is_told_with_its_place(tmp_path, octets, line, column, said):
    path = tmp_path / "c.yaml"
    path.write_bytes(octets)
    with pytest.raises(InvalidConfigurationError) as caught:
        load(path, {})
    problem = caught.value.problems[0]
    found = [p for p in caught.value.problems if said in p.message]
    assert found, problem
    assert (found[0].line, found[0].column) == (line, column)


@pytest.mark.parametrize("what", ["missing", "directory", "forbidden name"])
def test_a_file_that_cannot_be_read_is_a_configuration_error(tmp_path, what):
    path = {"missing": tmp_path / "no.yaml", "directory": tmp_path, "forbidden name": Path("a\0b")}[what]
    with pytest.raises(ConfigurationError, match="cannot be read"):
        load(path, {})


def test_a_byte_order_mark_and_windows_line_ends_are_good(tmp_path):
    path = tmp_path / "c.yaml"
    path.write_bytes(b"\xef\xbb\xbf" + SMALLEST.replace("\n", "\r\n").encode())
    assert load(path, ENVIRON).config.routes[0].name == "crm"


def test_aliases_and_merge_keys_are_good_and_a_key_of_its_own_wins():
    text = (
        SMALLEST
        + """\
  other: &base {type: bearer, token: {env: KEY}}
  third: *base
  fourth: {<<: *base, token: {env: SEED}}
"""
    )
    loaded = load_all(text)
    credentials = loaded.config.credentials
    assert credentials["third"] == credentials["other"]
    assert credential_of(loaded, "fourth").token == Secret(env="SEED")


def test_a_key_merged_twice_is_taken_once_and_a_foreign_one_is_refused():
    text = (
        SMALLEST
        + "  a: &a {type: bearer, token: {env: KEY}}\n"
        + "  b: {<<: [*a, *a]}\n  c: {<<: {typo: 1}, type: bearer, token: {env: KEY}}\n"
    )
    errors = errors_of(text)
    assert [(error.line, error.path) for error in errors] == [(14, "credentials.c.typo")]


def test_strings_take_the_environment_after_parsing_and_show_it_unsubstituted():
    text = SMALLEST.replace("my-app", "app-${STAGE}-${REGION:-eu}-$${x}-$5")
    environ = {**ENVIRON, "STAGE": 'x: {"evil"}'}
    loaded = load_all(text, environ=environ)
    assert credential_of(loaded, "crm").client_id == 'app-x: {"evil"}-eu-${x}-$5'
    assert loaded.shown["credentials"]["crm"]["client_id"] == "app-${STAGE}-${REGION:-eu}-$${x}-$5"


def test_a_variable_that_is_not_set_is_an_error_with_its_place():
    (error,) = errors_of(SMALLEST.replace("/crm\n", "/${NOWHERE}\n"))
    assert (error.line, error.column, error.path) == (2, 12, "routes[0].match.path")
    assert "NOWHERE is not set" in error.message


def test_nothing_is_substituted_in_keys_and_names_of_environment_variables():
    errors = errors_of(SMALLEST.replace("{env: CRM_CLIENT_SECRET}", "{env: '${KEY}'}").replace("client_id", "${KEY}"))
    assert any("${KEY} is not set" in error.message for error in errors)
    assert any("unknown key `${KEY}`" in error.message for error in errors)


def test_paths_are_relative_to_the_file(tmp_path):
    (tmp_path / "secret").write_text("s\n")
    text = (
        SMALLEST.replace("{env: CRM_CLIENT_SECRET}", "{file: ./sub/../secret}")
        + "store: {type: file, path: state}\nlisten: unix:run/s\n"
    )
    loaded = load_all(text, tmp_path)
    assert credential_of(loaded, "crm").client_secret.file == str(tmp_path / "secret")
    assert loaded.shown["store"]["path"] == "state"
    assert loaded.config.store == FileStore(path=str(tmp_path / "state"))
    assert loaded.config.listen[0].address == f"unix:{tmp_path}/run/s"


def test_a_thousand_mistakes_make_a_report_that_can_be_read():
    text = "\n".join(f"key{n}: x" for n in range(1000))
    assert len(errors_of(text)) == 200


@pytest.mark.parametrize(
    "text",
    [
        "\n".join(f"key{n}: x" for n in range(6_000)),
        "{" + ", ".join(f"key{n}: x" for n in range(4_500)) + "}",
        "routes:\n" + "- {mach: /, upstreem: x}\n" * 2_000,
        "routes: [" + "{match: /}," * 2_000 + "]",
        "x" * 900_000,
        "a: '" + "x\n" * 400_000 + "'",
        "? " * 100,
        "credentials: {" + ", ".join(f"c{n}: {{type: beare}}" for n in range(2_000)) + "}",
    ],
    ids=lambda text: text[:12],
)
def test_a_huge_heap_of_mistakes_is_reported_in_seconds(text):
    started = time.process_time()
    assert 1 <= len(errors_of(text)) <= 200
    assert time.process_time() - started < 20


def test_loading_brings_no_event_loop_and_no_network_library():
    """Start-up counts: the room is imported by every command."""
    heavy = ("asyncio", "aiohttp", "ssl", "cryptography")
    code = f"import sys, proxy.config.load; print(*(m for m in {heavy} if m in sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == ""


def test_what_cannot_be_used_is_told_where_the_file_names_it(tmp_path):
    path = tmp_path / "config.yaml"
    path.write_text(SMALLEST)
    here, nowhere = ConfigurationError("no such module"), ConfigurationError("busy")
    here.at = ("credentials", "crm", "client_secret", "file")
    found = located(path, ENVIRON, [here, nowhere]).problems
    assert [(problem.line, problem.column, problem.path) for problem in found] == [
        (1, 1, ""),
        (SMALLEST[: SMALLEST.index("client_secret")].count("\n") + 1, 5, "credentials.crm.client_secret.file"),
    ]
    assert [problem.excerpt.strip() for problem in found] == ["routes:", "client_secret: {env: CRM_CLIENT_SECRET}"]


@pytest.mark.parametrize("text", [None, "", "routes: ["])
def test_it_is_told_without_a_place_where_the_file_is_another_by_now(tmp_path, text):
    path = tmp_path / "config.yaml"
    if text is not None:
        path.write_text(text)
    error = ConfigurationError("no such module")
    error.at = ("credentials", "crm")
    assert str(located(path, {}, [error])) == f"{path}:1:1: credentials.crm: no such module"


def test_a_pipe_is_not_read_a_second_time(tmp_path):
    """Nobody writes into it any more: opening it would take for ever, and a reload happens among requests."""
    path = tmp_path / "config.yaml"
    os.mkfifo(path)
    error = ConfigurationError("no such module")
    error.at = ("credentials", "crm")
    found: list[str] = []
    looking = threading.Thread(target=lambda: found.append(str(located(path, {}, [error]))), daemon=True)
    looking.start()
    looking.join(10)
    if not found:
        os.close(os.open(path, os.O_WRONLY | os.O_NONBLOCK))
    assert found == [f"{path}:1:1: credentials.crm: no such module"]
