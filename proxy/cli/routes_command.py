"""`auth-sidecar routes`: the routes of the configuration, as a table."""

from __future__ import annotations

import argparse
import os

from proxy.cli.codes import GOOD
from proxy.cli.table import table
from proxy.config import schema
from proxy.config.load import load


def run(arguments: argparse.Namespace) -> int:
    """Print the table."""
    config = load(arguments.config, os.environ).config
    print(as_text(config))
    return GOOD


def as_text(config: schema.Config) -> str:
    """One line for each route, in the order of the file."""
    rows = [
        (str(route.name), matched(route.match), _upstream(route), _credential(route, config)) for route in config.routes
    ]
    return table(("ROUTE", "MATCH", "UPSTREAM", "CREDENTIAL"), rows)


def matched(match: schema.Match) -> str:
    """`GET,HEAD api.example/crm`: methods, host and path, as far as they are given."""
    methods = ",".join(match.methods) + " " if match.methods else ""
    return f"{methods}{match.host or ''}{match.path}"


def _upstream(route: schema.Route) -> str:
    if isinstance(route.upstream, schema.DiscoveredUpstream):
        return f"discovered at {route.upstream.discover.url.partition('?')[0]}"
    return route.upstream


def _credential(route: schema.Route, config: schema.Config) -> str:
    if route.credential is None:
        return "-"
    kind = config.credentials[route.credential].__struct_config__.tag
    return f"{route.credential} ({kind})"
