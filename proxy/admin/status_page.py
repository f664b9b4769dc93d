"""The status page for people. Rendered anew for every request; it can be read without scripts.

The browser is told to run nothing but the one script that this page carries (Content Security Policy 3), which fetches
the page anew every other second and counts down in between. Everything that is not markup goes through `escape`.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterable, Sequence
from html import escape
from importlib.resources import files
from typing import Any
from urllib.parse import quote

from aiohttp import web

from proxy.admin.health_endpoints import not_ready
from proxy.admin.ports import CredentialView, Program
from proxy.admin.status_endpoints import status

_FILES = files("proxy.admin")
_STYLE = (_FILES / "page.css").read_text()
_SCRIPT = (_FILES / "page.js").read_text()

_SIGNS = {"fresh": "●", "stale": "◐", "failing": "▲", "expired": "✕", "empty": "○"}
"""Each state has a word and a sign: colour alone does not tell everybody."""
_UNITS = (("d", 86_400), ("h", 3_600), ("min", 60))


def routes(program: Program) -> list[web.RouteDef]:
    """`/`."""

    async def show(_: web.Request) -> web.Response:
        nonce = secrets.token_urlsafe(16)
        return web.Response(
            text=page(program, nonce),
            content_type="text/html",
            headers={"Content-Security-Policy": _policy(nonce), "Referrer-Policy": "same-origin"},
        )

    return [web.get("/", show)]


def _policy(nonce: str) -> str:
    return (
        f"default-src 'none'; style-src 'nonce-{nonce}'; script-src 'nonce-{nonce}'; connect-src 'self'; "
        "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
    )


def page(program: Program, nonce: str) -> str:
    """The document. `nonce`: allows its script and style (Content-Security-Policy)."""
    now, uptime = program.clock.wall(), program.clock.elapsed() - program.started
    said = status(program)
    missing = not_ready(program.runtime.entries)
    ready = "draining" if program.draining else "not ready" if missing else "ready"
    return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<title>auth-sidecar: {ready}</title>
<noscript><meta http-equiv="refresh" content="5"></noscript>
<style nonce="{nonce}">{_STYLE}</style>
</head>
<body>
<main data-now="{now:.0f}" data-title="auth-sidecar: {ready}">
<header>
<h1>auth-sidecar <small>{escape(program.version)}</small></h1>
<p><strong class="{"good" if ready == "ready" else "bad"}">{ready}</strong> · up {duration(uptime)}
· {_reloaded(program)}</p>
</header>
{_credentials(program, said["credentials"], now)}
{_routes(said["routes"])}
{_store(said["store"])}
</main>
<script nonce="{nonce}">{_SCRIPT}</script>
</body>
</html>
"""


def duration(seconds: float) -> str:
    """Whole units, the largest that fits, rounded down: 59 s, 59 min, 47 h, 12 d."""
    for unit, size in _UNITS:
        if seconds >= 2 * size or (unit == "min" and seconds >= size):
            return f"{seconds // size:.0f} {unit}"
    return f"{max(0.0, seconds) // 1:.0f} s"


def _reloaded(program: Program) -> str:
    if program.reloaded:
        return "configuration loaded"
    return '<strong class="bad">the last reload failed, the configuration before it runs</strong>'


def _credentials(program: Program, said: dict[str, Any], now: float) -> str:
    rows = [_credential(name, program.runtime.entries[name], one, now) for name, one in said.items()]
    return _table(
        "Credentials",
        ("name", "state", "time left", "next renewal", "last result", "history", "last error", ""),
        rows,
    )


def _credential(name: str, entry: CredentialView, said: dict[str, Any], now: float) -> str:
    state = said["state"]
    attempts = entry.tokens.report().history if entry.tokens else ()
    cells = [
        f"{escape(name)} <small>{escape(entry.type)}</small>",
        f'<span class="state {state}">{_SIGNS[state]} {state}</span>',
        _time_left(entry, said["expires_at"], now),
        _next(said["refresh_at"], now),
        _last(attempts, now),
        _history(attempts),
        f'<span class="error bad">{escape(said["last_error"])}</span>' if said["last_error"] else "",
        _button(name) if entry.tokens and entry.type != "external" else "",
    ]
    return _row(cells)


def _time_left(entry: CredentialView, expires_at: int | None, now: float) -> str:
    held = entry.tokens.held() if entry.tokens else None
    if held is None:
        return ""
    if expires_at is None:
        return "no stated end"
    left = max(0.0, expires_at - now)
    share = min(1.0, left / held.lifetime) if held.lifetime > 0 else 0.0
    return (
        f'<svg class="bar" viewBox="0 0 100 8" preserveAspectRatio="none" role="img" aria-label="{share:.0%} left">'
        f'<rect class="all" width="100" height="8"/><rect class="left" width="{100 * share:.1f}" height="8"/></svg>'
        f'<span data-left="{expires_at}">{duration(left)}</span>'
    )


def _next(moment: int | None, now: float) -> str:
    if moment is None:
        return ""
    return f'<span data-next="{moment}">{f"in {duration(moment - now)}" if moment > now else "now"}</span>'


def _last(attempts: Sequence[tuple[float, bool]], now: float) -> str:
    if not attempts:
        return ""
    when, good = attempts[-1]
    sign = '<span class="good">✓</span>' if good else '<span class="bad">✕</span>'
    return f'{sign} <span data-last="{when:.0f}">{duration(now - when)} ago</span>'


def _history(attempts: Sequence[tuple[float, bool]]) -> str:
    """One bar per attempt, oldest first: a tall one for a token, a short red one for a failure."""
    if not attempts:
        return ""
    failed = sum(not good for _, good in attempts)
    strokes = "".join(
        f'<rect class="{"good" if good else "bad"}" x="{4 * index}" y="{0 if good else 8}" width="3" '
        f'height="{16 if good else 8}"/>'
        for index, (_, good) in enumerate(attempts)
    )
    label = f"{len(attempts)} attempts, {failed} failed"
    return (
        f'<svg class="spark" width="{4 * len(attempts)}" height="16" role="img" aria-label="{label}">'
        f"<title>{label}</title>{strokes}</svg>"
    )


def _button(name: str) -> str:
    action = f"/credentials/{quote(name, safe='')}/refresh"
    return (
        f'<form method="post" action="{escape(action)}"><button id="renew-{escape(name)}">Renew'
        f'<span class="aside"> {escape(name)}</span></button></form>'
    )


def _routes(said: dict[str, Any]) -> str:
    rows = [
        _row(
            [
                escape(name) + _upstream(one.get("upstream")),
                f"{one['rate']:.1f}/s",
                f"{one['client_errors']:.1%}",
                f"{one['server_errors']:.1%}",
                _milliseconds(one["p50"]),
                _milliseconds(one["p95"]),
                str(one["in_flight"]),
                escape(", ".join(f"{reason} {number}" for reason, number in one["retries"].items())),
            ]
        )
        for name, one in said.items()
    ]
    return _table("Routes, last minute", ("name", "rate", "4xx", "5xx", "p50", "p95", "in flight", "retries"), rows)


def _upstream(found: dict[str, Any] | None) -> str:
    """The upstream of a route whose upstream is looked up."""
    if found is None:
        return ""
    said = "not found yet" if found["url"] is None else f"{found['url']}, looked up {duration(found['age'])} ago"
    error = f' <span class="error bad">{escape(found["last_error"])}</span>' if found["last_error"] else ""
    return f" <small>{escape(said)}</small>{error}"


def _milliseconds(seconds: float | None) -> str:
    return "" if seconds is None else f"{1000 * seconds:.1f} ms"


def _store(said: dict[str, Any]) -> str:
    errors = said["errors"]
    trouble = f'<strong class="bad">{errors} errors</strong>' if errors else "no errors"
    last = f" · {escape(said['state'])}: {escape(str(said['last_error']))}" if said.get("last_error") else ""
    return f"<section><h2>Store</h2><p>{escape(said['type'])} · {trouble}{last}</p></section>"


def _table(title: str, heads: Iterable[str], rows: Sequence[str]) -> str:
    head = "".join(f'<th scope="col">{name}</th>' for name in heads)
    body = "\n".join(rows) if rows else f'<tr><td colspan="{head.count("<th")}">none</td></tr>'
    return (
        f"<section><h2>{title}</h2><div><table><thead><tr>{head}</tr></thead>\n"
        f"<tbody>\n{body}\n</tbody></table></div></section>"
    )


def _row(cells: Sequence[str]) -> str:
    first, *others = cells
    return f'<tr><th scope="row">{first}</th>{"".join(f"<td>{cell}</td>" for cell in others)}</tr>'
