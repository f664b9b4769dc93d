"""Liveness and readiness for probes. Neither touches the network."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Mapping
from typing import Any

from aiohttp import web

from proxy.admin.ports import CredentialView, Program
from proxy.admin.status_endpoints import store_state

_UNUSABLE = frozenset({"empty", "expired"})


def routes(program: Program) -> list[web.RouteDef]:
    """`/healthz` and `/readyz`."""
    return [web.get("/healthz", _alive), web.get("/readyz", _ready(program))]


async def _alive(_: web.Request) -> web.Response:
    """Answer 200: a process that answers is alive."""
    return web.json_response({"status": "ok"})


def _ready(program: Program) -> Callable[[web.Request], Coroutine[Any, Any, web.Response]]:
    async def ready(_: web.Request) -> web.Response:
        store = store_state(program.store)
        missing = not_ready(program.runtime.entries, store)
        draining = program.draining
        unable = bool(missing or draining)
        said = {"status": "unavailable" if unable else "ready", "draining": draining, "credentials": missing}
        return web.json_response(said if store == "ok" else {**said, "store": store}, status=503 if unable else 200)

    return ready


def not_ready(credentials: Mapping[str, CredentialView], store: str = "ok") -> dict[str, str]:
    """The credentials that keep us from being ready, with the reason for each.

    These are eager ones until their first attempt has ended, even in failure, and required ones without a usable token
    or whose store (`store_state`) is unavailable.
    """
    missing = {}
    for name, entry in credentials.items():
        if entry.tokens is None:
            continue
        report = entry.tokens.report()
        if entry.required and report.state in _UNUSABLE:
            missing[name] = f"required, and its token is {report.state}"
        elif entry.required and store == "unavailable":
            missing[name] = "required, and the token store is unavailable"
        elif entry.eager and not report.attempted:
            missing[name] = "its first token is being fetched"
    return missing
