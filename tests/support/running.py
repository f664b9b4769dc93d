"""The program within the test's own event loop, on free ports: for what a subprocess cannot be asked.

async with Running({"routes": […], "credentials": {…}}, tmp_path) as running:
    status, _, body = await running.ask(running.url + "/api/x")
"""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import aiohttp
import yaml

from proxy.app import App
from proxy.clock import Clock, SystemClock
from proxy.config.load import load
from support.process import free_port


class Running:
    """`config` is what a user would write; `listen` and `admin.listen` become free ports where they are not given."""

    def __init__(
        self,
        config: Mapping[str, Any],
        directory: Path,
        *,
        clock: Clock | None = None,
        environ: Mapping[str, str] | None = None,
        **options: Any,
    ) -> None:
        self._port, self._admin_port = free_port(), free_port()
        self.url = f"http://127.0.0.1:{self._port}"
        self.admin = f"http://127.0.0.1:{self._admin_port}"
        self.file = directory / "config.yaml"
        self.write(config)
        environ = environ or {}
        self.app = App(self.file, load(self.file, environ), environ, clock or SystemClock(), **options)
        self._run: asyncio.Task[None] | None = None

    def write(self, config: Mapping[str, Any]) -> None:
        """Put a configuration into its file, with these ports."""
        given = dict(config)
        given.setdefault("listen", f"127.0.0.1:{self._port}")
        given["admin"] = {"listen": f"127.0.0.1:{self._admin_port}", **given.get("admin", {})}
        self.file.write_text(yaml.safe_dump(given, sort_keys=False))

    async def reload(self, config: Mapping[str, Any]) -> None:
        """Write and reload. Raises ConfigurationError."""
        self.write(config)
        await self.app.reload()

    async def ask(self, url: str, method: str = "GET", **how: Any) -> tuple[int, Mapping[str, str], bytes]:
        """One request."""
        async with self._http.request(method, url, allow_redirects=False, **how) as answer:
            return answer.status, answer.headers, await answer.read()

    async def sent(self, path: str) -> dict[str, str]:
        """The fields that a request to the sandbox's echo API arrived with."""
        status, _, body = await self.ask(self.url + path)
        assert status == 200, body
        return dict(json.loads(body)["headers"])

    async def status(self, credential: str | None = None) -> Any:
        """`GET /status`, or one credential of it."""
        document = json.loads((await self.ask(self.admin + "/status"))[2])
        return document if credential is None else document["credentials"][credential]

    async def until_ready(self) -> None:
        """Wait for the first attempts of all credentials."""
        async with asyncio.timeout(30):
            while (await self.ask(self.admin + "/readyz"))[0] != 200:
                await asyncio.sleep(0.01)

    @property
    def ended(self) -> asyncio.Task[None]:
        """The program's run."""
        assert self._run is not None
        return self._run

    async def __aenter__(self) -> Self:
        self._http = aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0, force_close=True))
        try:
            await self.app.start()
        except BaseException:
            await self._http.close()
            raise
        self._run = asyncio.create_task(self.app.run())
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._http.close()
        self.app.quit_by_signal()
        if kind is not None:
            self.app.quit_by_signal()
        with contextlib.suppress(asyncio.CancelledError):
            async with asyncio.timeout(30):
                await self.ended
