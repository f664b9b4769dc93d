"""The structs are the reference; the page in docs/ follows them."""

from __future__ import annotations

import re
import textwrap
from pathlib import Path

import pytest
from msgspec.structs import fields
from support.full_file import errors_of, load_all

from proxy.config import schema
from proxy.config.kinds import all_keys
from proxy.config.scalars import format_duration, format_size
from proxy.config.walker import CONFIG

PAGE = (Path(__file__).parents[2] / "docs" / "configuration.md").read_text()
WORDS = set(re.findall(r"[\w-]+", " ".join(re.findall(r"`([^`\n]+)`", PAGE))))


@pytest.mark.parametrize("key", sorted(all_keys(CONFIG)))
def test_the_page_names_every_key(key):
    assert key in WORDS


@pytest.mark.parametrize(
    ("struct", "prefix"),
    [
        (schema.Route, ""),
        (schema.Retry, "retry."),
        (schema.RouteTimeouts, "timeouts."),
        (schema.Refresh, "refresh."),
        (schema.RouteLimits, "limits."),
        (schema.Log, "log."),
        (schema.Admin, "admin."),
        (schema.Config, ""),
    ],
)
def test_the_page_gives_the_defaults_as_they_are(struct, prefix):
    """Wherever a row has one key and its default is a word, a number, an amount or a switch."""
    rows = dict(re.findall(r"^\| `([a-z_.]+)` \| `([^`|]+)` \|", PAGE, re.MULTILINE))
    checked = 0
    for field in fields(struct):
        shown = rows.get(prefix + field.encode_name)
        written = spelled(field.default)
        if shown is not None and written is not None and (prefix or struct is schema.Route or field.name == "version"):
            amounts = {shown, shown.replace("60s", "1m")}
            assert written in amounts, field.name
            checked += 1
    assert checked


def spelled(value: object) -> str | None:
    match value:
        case None:
            return None
        case bool():
            return str(value).lower()
        case schema.Duration():
            return format_duration(value)
        case schema.Size():
            return format_size(value)
        case str() | int() | float():
            return str(value)
    return None


def test_the_examples_of_the_page_are_good():
    example, _, proxied, shared, looked_up, *types = re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL)
    assert load_all(example).config.routes[0].credential == "crm"
    proxied = textwrap.indent(proxied.replace("{file: egress-password}", "{env: KEY}"), "    ")
    via_proxy = load_all(f"routes:\n  - match: /\n    upstream: https://a.example\n{proxied}")
    assert via_proxy.config.routes[0].via_proxy is not None
    cors = load_all(shared).config.routes[0].cors
    assert cors is not None
    assert cors.allow_credentials
    credentials = "credentials: {liveperson: {type: bearer, token: {env: KEY}}}\n"
    upstream = load_all(looked_up + credentials).config.routes[0].upstream
    assert isinstance(upstream, schema.DiscoveredUpstream)
    assert upstream.discover.json_pointer == "/baseURI"
    kinds = []
    for more in types:
        given = re.sub(r"\{(env|file): [^}]*\}", "{env: KEY}", more)
        routes = "" if "routes:" in given else "routes: [{match: /, upstream: 'https://a.example'}]\n"
        kinds += [type(one).__struct_config__.tag for one in load_all(routes + given).config.credentials.values()]
    assert {"basic", "header", "oauth1", "body"} <= set(kinds)


@pytest.mark.parametrize("trap", ["NO", "yes", "on", "010", "0x1f", "1_000", "1:30", "2024-01-01", "1.2"])
def test_the_traps_that_the_page_names_are_refused(trap):
    assert f"`{trap}`" in PAGE
    (error,) = errors_of(f"routes: [{{match: /, upstream: 'https://a', name: {trap}}}]\n")
    assert error.hint == "quote it"


def test_a_secret_cannot_be_printed():
    assert "hush" not in repr(schema.Secret(value="hush", exec=("hush",)))
    assert repr(schema.SubjectToken(request_header="X")) == "Secret(request_header)"
    assert repr(schema.Assertion(key=schema.Secret(value="hush"))) == "Secret(key)"
