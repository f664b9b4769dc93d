"""Liveness and readiness for probes. Neither touches the network."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Mapping
from typing import Any

from aiohttp import web

from proxy.admin.ports import CredentialView, Program

_UNUSABLE = frozenset({"empty", "expired"})


def routes(program: Program) -> list[web.RouteDef]:
    """`/healthz` and `/readyz`."""
    return [web.get("/healthz", _alive), web.get("/readyz", _ready(program))]


async def _alive(_: web.Request) -> web.Response:
    """Answer 200: a process that answers is alive."""
    return web.json_response({"status": "ok"})


def _ready(program: Program) -> Callable[[web.Request], Coroutine[Any, Any, web.Response]]:
    async def ready(_: web.Request) -> web.Response:
        missing = not_ready(program.runtime.entries)
        draining = program.draining
        return web.json_response(
            {"status": "unavailable" if missing or draining else "ready", "draining": draining, "credentials": missing},
            status=503 if missing or draining else 200,
        )

    return ready


def not_ready(credentials: Mapping[str, CredentialView]) -> dict[str, str]:
    """The credentials that keep us from being ready, with the reason for each.

    These are eager ones until their first attempt has ended, even in failure, and required ones without a usable token.
    """
    missing = {}
    for name, entry in credentials.items():
        if entry.tokens is None:
            continue
        report = entry.tokens.report()
        if entry.required and report.state in _UNUSABLE:
            missing[name] = f"required, and its token is {report.state}"
        elif entry.eager and not report.attempted:
            missing[name] = "its first token is being fetched"
    return missing
