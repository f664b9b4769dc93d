"""`auth-sidecar token`: the token of one credential of the running instance, through its admin listener.

A token is printed only where the configuration says `vend: true`; one that is pushed comes from standard input, so that
neither stands in a list of processes or in a shell's history.
"""

from __future__ import annotations

import argparse
import json
import sys
from typing import Any
from urllib.parse import quote

from proxy.cli.codes import FAILED, GOOD, NO_MATCH
from proxy.cli.command_errors import RefusedError
from proxy.cli.running import Running, find, secret_of
from proxy.cli.table import span
from proxy.clock import SystemClock
from proxy.config import schema

_NOT_FOUND = 404


def run(arguments: argparse.Namespace) -> int:
    """Exit code 0; 1 if refused; 3 if there is no running instance; 4 if it has no such credential."""
    running = find(arguments.config)
    known = running.must("GET", "/status")["credentials"] if arguments.action != "push" else None
    if known is not None and arguments.name not in known:
        print(f"there is no credential {arguments.name}; there are: {', '.join(known) or 'none'}", file=sys.stderr)
        return NO_MATCH
    try:
        return _ACTIONS[arguments.action](running, arguments)
    except RefusedError as error:
        print(f"{arguments.name}: {_WHY.get((arguments.action, error.status), error)}", file=sys.stderr)
        if arguments.action == "show" and known is not None:
            one = known[arguments.name]
            print(f"it is {one['state']}, fingerprint {one['fingerprint'] or 'none'}", file=sys.stderr)
        return FAILED


def _show(running: Running, arguments: argparse.Namespace) -> int:
    print(running.must("GET", _path(arguments.name, "token"))["access_token"])
    return GOOD


def _refresh(running: Running, arguments: argparse.Namespace) -> int:
    _told(running.must("POST", _path(arguments.name, "refresh")))
    return GOOD


def _push(running: Running, arguments: argparse.Namespace) -> int:
    document = pushed(sys.stdin.read(), arguments.expires_in)
    if document is None:
        print("nothing came on standard input", file=sys.stderr)
        return FAILED
    guard = _guard(running.config, arguments) if "endpointSecret" not in document else ""
    _told(running.must("PUT", _path(arguments.name, "token"), document, bearer=guard))
    return GOOD


def pushed(text: str, expires_in: int | None) -> dict[str, Any] | None:
    """The document to push: JSON as it is, a bare token as `access_token` of one; None for empty input."""
    text = text.strip()
    if not text:
        return None
    try:
        document = json.loads(text)
    except ValueError:
        document = None
    if isinstance(document, dict):
        return document
    wrapped: dict[str, Any] = {"access_token": text}
    return wrapped if expires_in is None else {**wrapped, "expires_in": expires_in}


def _guard(config: schema.Config, arguments: argparse.Namespace) -> str:
    if arguments.guard_file is not None:
        return secret_of(schema.Secret(file=str(arguments.guard_file)))
    credential = config.credentials.get(arguments.name)
    update = credential.update if isinstance(credential, schema.Renewed) else None
    return secret_of(update.secret) if update is not None and update.secret is not None else ""


def _path(name: str, what: str) -> str:
    return f"/credentials/{quote(name, safe='')}/{what}"


def _told(answer: dict[str, Any]) -> None:
    ends = answer["expires_at"]
    life = "no stated end" if ends is None else f"expires in {span(ends - SystemClock.wall())}"
    print(f"{answer['credential']}: generation {answer['generation']}, {life}")


_ACTIONS = {"show": _show, "refresh": _refresh, "push": _push}
_WHY = {
    ("show", _NOT_FOUND): "its token is not handed out: that needs `vend: true`, and admin.bearer or a unix socket",
    ("refresh", _NOT_FOUND): "it has no token that could be renewed",
    ("push", 401): "the guard refused: no credential of that name takes pushes, or its secret is another",
}
