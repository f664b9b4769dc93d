"""`auth-sidecar routes`: the routes of the configuration, as a table."""

from __future__ import annotations

import argparse
import os
from collections.abc import Mapping

from proxy.cli.codes import GOOD
from proxy.cli.table import table
from proxy.config import schema
from proxy.config.load import load
from proxy.config.parse_context import KeyPath


def run(arguments: argparse.Namespace) -> int:
    """Print the table."""
    loaded = load(arguments.config, os.environ)
    print(as_text(loaded.config, loaded.written))
    return GOOD


def as_text(config: schema.Config, written: Mapping[KeyPath, str]) -> str:
    """One line for each route, in the order of the file. `written`: strings as the file has them, by path."""
    rows = [
        (
            str(route.name),
            matched(route.match),
            _upstream(route, ("routes", index), written),
            _credential(route, config),
        )
        for index, route in enumerate(config.routes)
    ]
    return table(("ROUTE", "MATCH", "UPSTREAM", "CREDENTIAL"), rows)


def matched(match: schema.Match) -> str:
    """`GET,HEAD api.example/crm`: methods, host and path, as far as they are given."""
    methods = ",".join(match.methods) + " " if match.methods else ""
    return f"{methods}{match.host or ''}{match.path}"


def _upstream(route: schema.Route, path: KeyPath, written: Mapping[KeyPath, str]) -> str:
    """`${NAME}` as the file has it: its value may be a secret."""
    if isinstance(route.upstream, schema.DiscoveredUpstream):
        if route.upstream.discover is None:
            return f"named by the token at {route.upstream.from_token}"
        url = written.get((*path, "upstream", "discover", "url"), route.upstream.discover.url)
        return f"discovered at {url.partition('?')[0]}"
    shown = written.get((*path, "upstream"), route.upstream)
    return shown if "${" in shown else route.upstream


def _credential(route: schema.Route, config: schema.Config) -> str:
    if route.credential is None:
        return "-"
    kind = config.credentials[route.credential].__struct_config__.tag
    return f"{route.credential} ({kind})"
