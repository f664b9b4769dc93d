"""`auth-sidecar status`: how the running instance stands."""

from __future__ import annotations

import argparse
import json
import sys
import time
from typing import Any

from proxy.cli.codes import FAILED, GOOD
from proxy.cli.command_errors import RefusedError
from proxy.cli.running import Running, find
from proxy.cli.table import span, table
from proxy.clock import SystemClock

_EVERY = 2.0
_CLEAR = "\x1b[H\x1b[2J"


def run(arguments: argparse.Namespace) -> int:
    """Exit code 0; 1 if the instance refuses; 3 if it cannot be reached."""
    running = find(arguments.config)
    try:
        _show(running, arguments)
        while arguments.watch:
            time.sleep(_EVERY)
            if sys.stdout.isatty():
                print(_CLEAR, end="")
            _show(running, arguments)
    except RefusedError as error:
        print(f"the running instance refused: {error}", file=sys.stderr)
        return FAILED
    return GOOD


def _show(running: Running, arguments: argparse.Namespace) -> None:
    document = running.must("GET", "/status")
    text = json.dumps(document, indent=2) if arguments.json else as_text(document, SystemClock.wall())
    print(text, flush=True)


def as_text(document: dict[str, Any], now: float) -> str:
    """The document of `GET /status` for people; `now` in epoch seconds."""
    context = [f"auth-sidecar {document['version']}, up {span(document['uptime'])}, store {_store(document['store'])}"]
    if document["credentials"]:
        head = ("CREDENTIAL", "TYPE", "STATE", "EXPIRES", "RENEWAL", "GENERATION", "LAST ERROR")
        context.append(table(head, [_credential(name, one, now) for name, one in document["credentials"].items()]))
    columns = ("ROUTE", "REQUESTS", "IN FLIGHT", "PER SECOND", "4XX", "5XX", "P50", "P95")
    context.append(table(columns, [_route(name, one) for name, one in document["routes"].items()]))
    found = {name: one["upstream"] for name, one in document["routes"].items() if "upstream" in one}
    if found:
        context.append(
            table(("ROUTE", "FOUND UPSTREAM", "AGE", "LAST ERROR"), [_upstream(*item) for item in found.items()])
        )
    return "\n\n".join(context)


def _store(store: dict[str, Any]) -> str:
    return str(store["type"]) + (f" ({store['state']}: {store['last_error']})" if store["last_error"] else "")


def _credential(name: str, one: dict[str, Any], now: float) -> tuple[str, ...]:
    return (
        name,
        one["type"],
        one["state"],
        _when(one["expires_at"], now),
        _when(one["refresh_at"], now),
        str(one["generation"]) if one["generation"] else "-",
        one["last_error"] or "-",
    )


def _when(moment: float | None, now: float) -> str:
    return "-" if moment is None else f"in {span(moment - now)}" if moment >= now else f"{span(now - moment)} ago"


def _route(name: str, one: dict[str, Any]) -> tuple[str, ...]:
    return (
        name,
        str(one["requests"]),
        str(one["in_flight"]),
        f"{one['rate']:.1f}",
        f"{one['client_errors']:.0%}",
        f"{one['server_errors']:.0%}",
        _took(one["p50"]),
        _took(one["p95"]),
    )


def _upstream(name: str, one: dict[str, Any]) -> tuple[str, ...]:
    age = "-" if one["age"] is None else span(one["age"])
    return name, one["url"] or "-", age, one["last_error"] or "-"


def _took(seconds: float | None) -> str:
    return "-" if seconds is None else f"{seconds * 1000:.1f} ms"
