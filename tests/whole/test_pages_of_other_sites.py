"""What a real browser makes of `cors`: pages that may, pages that may not, and what they get to read."""

from __future__ import annotations

import json

import pytest
from support.browser import browser
from support.front import Gate
from support.recording_upstream import RecordingUpstream

from proxy.config import schema
from proxy.forward.caller_guard import CallerGuard

BLANK = b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: 15\r\n\r\n<!doctype html>"
ANSWER = (
    b"HTTP/1.1 200 OK\r\nX-Id: 7\r\nX-Own: 8\r\nAccess-Control-Allow-Origin: https://a\r\nContent-Length: 2\r\n\r\nok"
)
ASK = """return (async () => {
    try {
        const answer = await fetch(%s, %s);
        const fields = ['x-id', 'x-own'].map(name => answer.headers.get(name));
        return [answer.status, ...fields, (await answer.text()).slice(0, 2)];
    } catch (error) { return 'the browser keeps it'; }
})()"""
BEARER = {"Authorization": "Bearer phantom"}
KEPT = "the browser keeps it"


@pytest.mark.peer("chromedriver")
async def test_a_browser_lets_pages_do_and_read_what_the_route_says_and_no_more(upstream, tmp_path):
    async with RecordingUpstream(answer=BLANK) as pages:
        port = pages.port
        origins = (f"http://localhost:{port}", f"http://*.app.localhost:{port}")
        shared = schema.Cors(
            allow_origins=origins,
            allow_credentials=True,
            allow_headers=("X-A", "Authorization"),
            expose_headers=("X-Id",),
        )
        anyone = schema.Cors(allow_origins=("*",))
        upstream.answer = ANSWER
        gate = Gate(
            upstream.url,
            route={"cors": shared},
            more_routes=(
                {"match": schema.Match(path="/any"), "cors": anyone},
                {"match": schema.Match(path="/none")},
                {"match": schema.Match(path="/get", methods=("GET",)), "cors": shared},
            ),
            callers=CallerGuard(lambda: "phantom", frozenset()),
        )
        async with gate, browser(tmp_path) as window:

            async def ask(path: str, **how: object) -> object:
                url = json.dumps(f"http://127.0.0.1:{gate.port}{path}")
                return await window.run(ASK % (url, json.dumps(how)))

            with_cookies = {"credentials": "include", "headers": BEARER}
            for page in (origins[0], origins[1].replace("*", "a.b")):
                await window.open(page)
                assert await ask("/crm", **with_cookies) == [200, "7", None, "ok"]
                put = {"method": "PUT", "body": "x", **with_cookies}
                assert await ask("/crm", **{**put, "headers": {**BEARER, "X-A": "1"}}) == [200, "7", None, "ok"]
                assert await ask("/crm", **{**put, "headers": {**BEARER, "X-B": "1"}}) == KEPT, "not allowed"
                assert await ask("/crm", credentials="include") == [401, None, None, '{"'], "it may know why"
                assert await ask("/get", **put) == KEPT
                assert await ask("/any", headers={**BEARER, "X-B": "1"}) == [200, None, None, "ok"]
                assert await ask("/any", **with_cookies) == KEPT, "not with cookies"
                assert await ask("/none", headers=BEARER) == KEPT
            seen = len(upstream.requests)
            for page in (f"http://app.localhost:{port}", f"http://evil.localhost:{port}"):
                await window.open(page)
                assert await ask("/crm", **with_cookies) == KEPT
                assert await ask("/crm", mode="no-cors") == [0, None, None, ""], "an answer that no page can look into"
            assert len(upstream.requests) == seen
    assert {one.line.split()[0] for one in upstream.requests} == {b"GET", b"PUT"}
    assert not any(b"phantom" in one.octets for one in upstream.requests)
