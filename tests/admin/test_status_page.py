from __future__ import annotations

import asyncio
from html.parser import HTMLParser

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.browser import browser
from support.program import Standing, StandingProgram, admin_of

from proxy.admin.ports import CredentialView, Discovered
from proxy.admin.status_page import duration, page
from proxy.errors import CredentialUnavailable
from proxy.model import Token
from proxy.stats import RouteStats
from proxy.tokens.token_response import TokenResponse

NOW = StandingProgram().clock.wall()
PUSHED = Token(
    access_token="a",
    expires_wall=NOW + 90,
    expires_elapsed=1_090.0,
    lifetime=90.0,
    issued_wall=NOW,
    issued_elapsed=1_000.0,
)


class Reader(HTMLParser):
    """Collects tags and text, and checks that every tag is closed."""

    VOID = frozenset({"meta", "rect"})

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        if tag not in self.VOID:
            assert self.open.pop() == tag

    def handle_data(self, data):
        if "script" not in self.open and "style" not in self.open:
            self.text += data + " "


class HeldResponse(Standing):
    """Holds a token of an hour."""

    def held(self):
        return Token(access_token="s3cret", lifetime=3600.0)


def _read(program):
    return Reader(page(program, "nonce"))


def _program(**figures):
    return StandingProgram(crm=CredentialView(type="oauth2", tokens=HeldResponse(**figures)))


def test_a_credential_is_told_whole():
    history = [(NOW - 700, True), (NOW - 65, False)]
    said = _read(
        _program(
            state="failing",
            expires_at=NOW + 1800,
            refresh_at=NOW + 30,
            history=history,
            last_error="The token endpoint answered 503",
        )
    )

    for word in ("crm", "oauth2", "failing", "30 min", "in 30 s", "✕", "1 min ago", "The token endpoint answered 503"):
        assert word in said.text
    assert ("rect", {"class": "left", "width": "50.0", "height": "8"}) in said.tags
    assert "2 attempts, 1 failed" in said.text


@pytest.mark.parametrize("state", ["empty", "expired", "failing", "stale", "fresh"])
def test_every_state_has_a_word_and_a_sign(state):
    assert state in _read(_program(state=state)).text


def test_a_token_without_an_end_says_so():
    assert "no stated end" in _read(_program(expires_at=None)).text


def test_an_overdue_renewal_is_due_now():
    assert "now" in _read(_program(refresh_at=NOW - 5)).text


def test_only_what_can_be_renewed_has_a_button():
    program = _program()
    program.credentials["key"] = CredentialView(type="header")
    program.credentials["pushed"] = CredentialView(type="external", tokens=HeldResponse())

    forms = [attributes for tag, attributes in _read(program).tags if tag == "form"]

    assert forms == [{"method": "post", "action": "/credentials/crm/refresh"}]


def test_routes_and_the_store_are_told():
    program = _program()
    stats = RouteStats()
    stats.sample(program.clock.elapsed() - 10)
    for status in [200] * 8 + [404, 503]:
        stats.count(b"GET", status, 0.02)
    stats.retried("unauthorized")
    program.routes = {"crm-route": stats}
    program.store.errors = 3

    text = _read(program).text

    for word in ("crm-route", "1.0/s", "10.0%", "ms", "unauthorized 1", "memory", "3 errors"):
        assert word in text


def test_where_a_route_leads_is_told_if_that_is_looked_up():
    program = _program()
    program.routes = {name: RouteStats() for name in ("found", "lost")}
    program.found = {
        "found": Discovered(url="https://va.example.net/v1", age=125.0, last_error=None),
        "lost": Discovered(url=None, age=None, last_error="The directory <cannot> be reached"),
    }

    text = _read(program).text

    for word in (
        "https://va.example.net/v1, looked up 2 min ago",
        "not found yet",
        "The directory <cannot> be reached",
    ):
        assert word in text


@pytest.mark.parametrize(("draining", "required", "word"), [(True, False, "draining"), (False, True, "not ready")])
def test_readiness_stands_on_top(draining, required, word):
    program = StandingProgram(crm=CredentialView(type="oauth2", tokens=Standing(state="empty"), required=required))
    program.draining = draining

    assert word in _read(program).text


def test_a_failed_reload_is_told():
    program = _program()
    program.reloaded = False

    assert "the last reload failed" in _read(program).text


def test_no_part_of_a_token_is_on_the_page():
    assert "s3cret" not in page(_program(), "nonce")


@given(st.text(), st.text())
def test_no_name_and_no_error_can_bend_the_page(name, error):
    for hostile in (name, f"<script>{name}", f'"><img src=x onerror={name}>', f"</main>{name}", "'&amp;" + name):
        program = StandingProgram(
            **{hostile: CredentialView(type="oauth2", tokens=HeldResponse(last_error=error + hostile))}
        )
        program.routes = {hostile: RouteStats()}
        said = _read(program)

        assert [tag for tag, _ in said.tags].count("script") == 1
        assert not {tag for tag, _ in said.tags} & {"img", "iframe"}
        assert not any(name.startswith("on") for _, attributes in said.tags for name in attributes)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (-1, "0 s"),
        (0.9, "0 s"),
        (59.9, "59 s"),
        (60, "1 min"),
        (7199, "119 min"),
        (7200, "2 h"),
        (172_799, "47 h"),
        (172_800, "2 d"),
    ],
)
def test_a_duration_has_one_unit(seconds, text):
    assert duration(seconds) == text


async def test_the_browser_may_run_nothing_but_what_the_page_carries():
    async with admin_of(_program()) as served:
        first, second = await served.ask("GET", "/"), await served.ask("GET", "/")

    policy = first.headers["Content-Security-Policy"]
    nonces = {attributes.get("nonce") for tag, attributes in Reader(first.text).tags if tag in {"script", "style"}}
    assert first.content_type == "text/html"
    assert len(nonces) == 1
    assert f"script-src 'nonce-{nonces.pop()}'" in policy
    assert "default-src 'none'" in policy
    assert "frame-ancestors 'none'" in policy
    assert "unsafe" not in policy
    assert second.headers["Content-Security-Policy"] != policy


async def test_the_page_wants_the_bearer_too():
    program = _program()
    program.secret = "right"
    async with admin_of(program) as served:
        assert (await served.ask("GET", "/")).status == 401


async def test_the_button_leads_back_to_the_page_whatever_came_of_it(make_crm):
    crm = await make_crm()
    crm.issuer.trouble = CredentialUnavailable("The token endpoint answered 503")
    async with admin_of(crm.program) as served:
        asked = {"headers": {"Accept": "text/html,*/*"}, "allow_redirects": False}
        failed = await served.ask("POST", "/credentials/crm/refresh", **asked)
        told = (await served.ask("GET", "/")).text
        crm.issuer.trouble = None
        renewed = await served.ask("POST", "/credentials/crm/refresh", **asked)

    assert (failed.status, failed.headers["Location"]) == (303, "/")
    assert "The token endpoint answered 503" in told
    assert (renewed.status, crm.generation) == (303, 1)


@pytest.mark.peer("chromedriver")
async def test_in_a_browser_the_page_lives_and_its_button_renews(make_crm, tmp_path):
    crm = await make_crm()
    crm.program.credentials["<script>document.title='bent'</script>"] = CredentialView(type="header")
    async with admin_of(crm.program) as served, browser(tmp_path) as window:
        await window.open(f"http://127.0.0.1:{served.port}/")
        assert "empty" in await window.text("tbody tr")
        await window.run("window.same = true")
        await crm.tokens.adopt(TokenResponse(PUSHED))
        await window.see("tbody tr", "fresh")
        assert await window.run("return window.same")
        await window.see("[data-left]", "1 min")

        await window.press("#renew-crm")
        await window.run("window.asked = 0; const ask = fetch; window.fetch = (...what) => (asked++, ask(...what))")
        async with asyncio.timeout(60):
            while await window.run("return asked") < 2:  # the first answer has come by then
                await asyncio.sleep(0.1)
        await window.release()
        await window.see("tbody tr", "✓")
        assert crm.issuer.issued == 1
        assert await window.run("return document.title") == "auth-sidecar: ready"
        assert await window.complaints() == []


@pytest.mark.peer("chromedriver")
async def test_in_a_browser_without_scripts_the_page_is_read_and_its_button_renews(make_crm, tmp_path):
    crm = await make_crm()
    async with admin_of(crm.program) as served, browser(tmp_path, scripts=False) as window:
        await window.open(f"http://127.0.0.1:{served.port}/")
        assert "state empty" in await window.source()
        await window.click("#renew-crm")
        async with asyncio.timeout(30):
            while "state fresh" not in await window.source():
                await asyncio.sleep(0.1)

    assert crm.issuer.issued == 1
