"""The address to which a browser brings an answer."""

from __future__ import annotations

import aiohttp
import pytest

from proxy.cli.redirect_listener import RedirectListener


async def asked(url, **how):
    async with aiohttp.ClientSession() as http, http.get(url, **how) as answer:
        return answer.status, answer.headers, await answer.text()


def noting(taken):
    """Whoever waits for the answer."""

    def take(url: str) -> bool:
        taken.append(url)
        return True

    return take


async def test_an_answer_is_taken_and_the_page_holds_nothing_of_it():
    taken: list[str] = []
    async with RedirectListener(0, noting(taken)) as listener:
        status, headers, text = await asked(f"{listener.url}?code=s3cret&state=x")
    assert (status, taken) == (200, ["/callback?code=s3cret&state=x"])
    assert "close this window" in text
    assert "s3cret" not in text
    assert headers["Content-Security-Policy"] == "default-src 'none'"
    assert (headers["Cache-Control"], headers["Referrer-Policy"]) == ("no-store", "no-referrer")


async def test_an_answer_that_nobody_waits_for_is_told_so():
    async with RedirectListener(0, lambda _: False) as listener:
        assert (await asked(listener.url))[0] == 400


async def test_another_path_and_another_host_are_not_heard():
    taken: list[str] = []
    async with RedirectListener(0, noting(taken)) as listener:
        assert (await asked(listener.url.replace("/callback", "/else")))[0] == 404
        assert (await asked(listener.url, headers={"Host": "evil.example"}))[0] == 403
    assert taken == []


async def test_a_port_that_is_taken_is_an_error_and_leaves_nothing_open():
    async with RedirectListener(0, lambda _: True) as listener:
        port = int(listener.url.rpartition(":")[2].partition("/")[0])
        with pytest.raises(OSError, match="address already in use"):
            async with RedirectListener(port, lambda _: True):
                pass
