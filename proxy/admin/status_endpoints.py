"""State and effective configuration as JSON. This file has no access to any secret."""

from __future__ import annotations

from typing import Any

from aiohttp import web

from proxy.admin.ports import CredentialView, Discovered, Program
from proxy.stats import RouteStats
from proxy.tokens.store.token_store import TokenStore


def routes(program: Program) -> list[web.RouteDef]:
    """`/status` and `/config`."""

    async def show_status(_: web.Request) -> web.Response:
        return web.json_response(status(program))

    async def show_config(_: web.Request) -> web.Response:
        return web.json_response(program.runtime.loaded.shown)

    return [web.get("/status", show_status), web.get("/config", show_config)]


def status(program: Program) -> dict[str, Any]:
    """The document of `/status`. Times in whole epoch seconds, durations in seconds."""
    elapsed, runtime, store = program.clock.elapsed(), program.runtime, program.store
    discovered = runtime.discovered(elapsed)
    return {
        "version": program.version,
        "uptime": round(elapsed - program.started, 3),
        "credentials": {name: credential_status(entry) for name, entry in runtime.entries.items()},
        "routes": {
            name: _route_status(stats, elapsed) | _upstream(discovered.get(name))
            for name, stats in runtime.stats.items()
        },
        "store": {
            "type": store.type,
            "state": store_state(store),
            "errors": store.errors,
            "last_error": store.last_error,
        },
    }


def store_state(store: TokenStore) -> str:
    """`ok`; while it fails `degraded`, or `unavailable` where the program must not go on without it."""
    if store.last_error is None:
        return "ok"
    return "unavailable" if store.essential else "degraded"


def credential_status(entry: CredentialView) -> dict[str, Any]:
    """The state of one credential; always `fresh` if it has no token that is renewed."""
    if entry.tokens is None:
        return {
            "type": entry.type,
            "state": "fresh",
            "expires_at": None,
            "refresh_at": None,
            "generation": 0,
            "last_refresh": None,
            "last_error": None,
            "fingerprint": None,
        }
    report = entry.tokens.report()
    return {
        "type": entry.type,
        "state": report.state,
        "expires_at": whole(report.expires_at),
        "refresh_at": whole(report.refresh_at),
        "generation": report.generation,
        "last_refresh": whole(report.last_refresh),
        "last_error": report.last_error,
        "fingerprint": report.fingerprint,
    }


def whole(moment: float | None) -> int | None:
    """A time in whole seconds, rounded down."""
    return None if moment is None else int(moment)


def _route_status(stats: RouteStats, elapsed: float) -> dict[str, Any]:
    recent = stats.recent(elapsed)
    return {
        "requests": sum(stats.counts.values()),
        "in_flight": stats.in_flight,
        "retries": dict(sorted(stats.retries.items())),
        "rate": round(recent.rate, 3),
        "client_errors": round(recent.client_errors, 4),
        "server_errors": round(recent.server_errors, 4),
        "p50": _rounded(recent.p50),
        "p95": _rounded(recent.p95),
    }


def _upstream(found: Discovered | None) -> dict[str, Any]:
    """The upstream of a route whose upstream is looked up; nothing for other routes."""
    if found is None:
        return {}
    age = None if found.age is None else round(found.age, 3)
    return {"upstream": {"url": found.url, "age": age, "last_error": found.last_error}}


def _rounded(seconds: float | None) -> float | None:
    return None if seconds is None else round(seconds, 6)
