"""A real browser without a screen, through chromedriver (W3C WebDriver). Tests need `peer("chromedriver")`."""

from __future__ import annotations

import asyncio
import contextlib
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from aiohttp import ClientSession

_STARTED = re.compile(rb"started successfully on port (\d+)")
_ELEMENT = "element-6066-11e4-a52e-4f735466cecf"  # WebDriver §12.2
_PATIENCE = 60.0


class GoneError(Exception):
    """The element is not in the page any more, or not yet."""


class Browser:
    """One window. The page exchanges its parts now and then: an element that is gone by then is looked for again."""

    def __init__(self, session: ClientSession, base: str) -> None:
        self._session = session
        self._base = base

    async def ask(self, method: str, path: str, **said: Any) -> Any:
        json = said if method == "POST" else None
        async with self._session.request(method, self._base + path, json=json) as answer:
            value = (await answer.json())["value"]
            if answer.status != 200 and value["error"] in ("stale element reference", "no such element"):
                raise GoneError
            assert answer.status == 200, value
            return value

    async def open(self, url: str) -> None:
        await self.ask("POST", "/url", url=url)

    async def text(self, selector: str) -> str:
        return await self._element(selector, "GET", "text")

    async def source(self) -> str:
        return await self.ask("GET", "/source")

    async def click(self, selector: str) -> None:
        await self._element(selector, "POST", "click")

    async def type(self, selector: str, text: str) -> None:
        await self._element(selector, "POST", "value", text=text)

    async def press(self, selector: str) -> None:
        """Move the mouse there and press; it is held until `release`."""
        middle = "const at = document.querySelector(%r).getBoundingClientRect(); return [at.x + at.width / 2, at.y + 9]"
        x, y = await self.run(middle % selector)
        move = {"type": "pointerMove", "duration": 0, "x": round(x), "y": round(y)}
        await self._mouse(move, {"type": "pointerDown", "button": 0})

    async def release(self) -> None:
        """Let go of the mouse's button."""
        await self._mouse({"type": "pointerUp", "button": 0})

    async def run(self, script: str) -> Any:
        return await self.ask("POST", "/execute/sync", script=script, args=[])

    async def _element(self, selector: str, method: str, path: str, **said: Any) -> Any:
        async with asyncio.timeout(_PATIENCE):
            while True:
                with contextlib.suppress(GoneError):
                    found = await self.ask("POST", "/element", using="css selector", value=selector)
                    return await self.ask(method, f"/element/{found[_ELEMENT]}/{path}", **said)
                await asyncio.sleep(0.05)

    async def _mouse(self, *actions: dict[str, Any]) -> None:
        await self.ask("POST", "/actions", actions=[{"type": "pointer", "id": "mouse", "actions": actions}])

    async def complaints(self) -> list[str]:
        """What the browser wrote to its console: errors, and violations of a page's policy."""
        return [entry["message"] for entry in await self.ask("POST", "/se/log", type="browser")]

    async def see(self, selector: str, wanted: str) -> None:
        """Wait until an element says what is wanted."""
        until = asyncio.get_running_loop().time() + _PATIENCE
        while wanted not in (seen := await self.run(f"return document.querySelector({selector!r})?.innerText ?? ''")):
            assert asyncio.get_running_loop().time() < until, f"{wanted!r} was never seen, but {seen!r}"
            await asyncio.sleep(0.1)


@asynccontextmanager
async def browser(folder: Path, *, scripts: bool = True) -> AsyncIterator[Browser]:
    """A browser with nothing in it. `scripts`: whether pages may run any."""
    driver = await asyncio.create_subprocess_exec(
        "chromedriver", "--port=0", stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.DEVNULL
    )
    try:
        port = await asyncio.wait_for(_port(driver), _PATIENCE)
        options = {
            "args": [
                *("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"),
                *("--window-size=1250,900", f"--user-data-dir={folder}"),
            ],
            "prefs": {} if scripts else {"profile.managed_default_content_settings.javascript": 2},
        }
        wanted = {"alwaysMatch": {"goog:chromeOptions": options, "goog:loggingPrefs": {"browser": "ALL"}}}
        async with ClientSession() as session:
            made = Browser(session, f"http://127.0.0.1:{port}")
            name = (await made.ask("POST", "/session", capabilities=wanted))["sessionId"]
            window = Browser(session, f"http://127.0.0.1:{port}/session/{name}")
            try:
                yield window
            finally:
                await window.ask("DELETE", "")
    finally:
        driver.terminate()
        await driver.communicate()


async def _port(driver: asyncio.subprocess.Process) -> int:
    assert driver.stdout
    async for line in driver.stdout:
        if match := _STARTED.search(line):
            return int(match[1])
    raise AssertionError("chromedriver did not start")
