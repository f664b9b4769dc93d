"""Where a browser brings the answer of an authorization server: one path on this machine's loopback address.

What comes with another `state` belongs to somebody else's request: it ends nothing (RFC 6749 §10.12).
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from types import TracebackType
from typing import Self

from aiohttp import web

_HEADERS = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": "default-src 'none'",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}
PATH = "/callback"


class RedirectListener:
    """Listens on 127.0.0.1. `port`: 0 for any; `take` is given the URL of each answer, and says whether it was ours.

    Raises OSError where the port is taken.
    """

    def __init__(self, port: int, take: Callable[[str], bool]) -> None:
        self._port = port
        self._take = take
        app = web.Application()
        app.router.add_get(PATH, self._answer)
        self._runner = web.AppRunner(app, access_log=None, handle_signals=False, shutdown_timeout=1.0)

    @property
    def url(self) -> str:
        """The redirect URI."""
        return f"http://127.0.0.1:{self._port}{PATH}"

    async def _answer(self, request: web.Request) -> web.Response:
        if request.host not in (f"127.0.0.1:{self._port}", f"localhost:{self._port}"):
            return _page(403, "This address is not asked by that name.")
        if self._take(request.path_qs):
            return _page(200, "The answer has arrived. You can close this window and go back to the terminal.")
        return _page(400, "This answer belongs to no login that is waiting. Start again from the terminal.")

    async def __aenter__(self) -> Self:
        """Listen."""
        await self._runner.setup()
        try:
            site = web.TCPSite(self._runner, "127.0.0.1", self._port)
            await site.start()
        except OSError:
            await self._runner.cleanup()
            raise
        self._port = self._runner.addresses[0][1]
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Listen no more."""
        await asyncio.shield(self._runner.cleanup())


def _page(status: int, text: str) -> web.Response:
    html = f'<!doctype html><html lang="en"><title>auth-sidecar</title><p>{text}</p></html>\n'
    return web.Response(status=status, text=html, content_type="text/html", headers=_HEADERS)
