"""`auth-sidecar login` against a real authorization server: a person in a real browser, a device, and who says no."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from contextlib import asynccontextmanager
from urllib.parse import parse_qs, urlencode, urlsplit

import aiohttp
import pytest
from support.browser import browser
from support.oidc_provider.provider import OidcProvider
from support.process import Program, free_port
from support.settings import one_route

KEY = "MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE="
pytestmark = pytest.mark.peer("oidc_provider")


@pytest.fixture
async def provider():
    async with OidcProvider(interactive=True) as running:
        yield running


def config(provider, **more):
    credential = {
        "type": "oauth2",
        "grant_type": "refresh_token",
        "issuer": provider.issuer,
        "client_id": "login",
        "token_endpoint_auth_method": "none",
        "scope": "openid offline_access",
        "authorization_parameters": {"prompt": "consent"},
        **more,
    }
    return one_route("http://127.0.0.1:1", credential)


def stored(given, tmp_path):
    return {**given, "store": {"type": "file", "path": str(tmp_path / "state"), "encryption_key": {"value": KEY}}}


class Login:
    """One run of the command. `said`: what it has printed so far."""

    def __init__(self, process):
        self.process = process
        self.said = ""

    async def until(self, text: str) -> str:
        """The first line that holds a text."""
        async with asyncio.timeout(60):
            while line := (await self.process.stdout.readline()).decode():
                self.said += line
                if text in line:
                    return line.strip()
        raise AssertionError(self.said)

    async def end(self) -> int:
        async with asyncio.timeout(60):
            self.said += (await self.process.stdout.read()).decode()
            return await self.process.wait()

    async def paste(self, text: str) -> None:
        self.process.stdin.write(text.encode() + b"\n")
        await self.process.stdin.drain()


@asynccontextmanager
async def logging_in(program, *options):
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "proxy", "login", "main", "-c", str(program.file), *options),
        env={**os.environ, "BROWSER": "true", "PUSH": "guard"},
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    login = Login(process)
    try:
        yield login
    finally:
        if process.returncode is None:
            process.kill()
        await process.communicate()


async def says_yes(window, url):
    await window.open(url)
    await window.type("input[name=login]", "ann")
    await window.type("input[name=password]", "any")
    await window.click("button.login-submit")
    await window.see("body", "offline access")
    await window.click("button.login-submit")


@pytest.mark.peer("chromedriver")
async def test_a_person_says_yes_in_a_browser_and_the_running_instance_has_the_token(provider, tmp_path, fetch):
    given = stored(config(provider), tmp_path)
    async with Program(given, tmp_path) as program, browser(tmp_path / "profile") as window:
        async with logging_in(program) as login:
            url = await login.until("http")
            await says_yes(window, url)
            await window.see("p", "The answer has arrived")
            assert await login.end() == 0, login.said
        assert "logged in; the token is good for" in login.said
        assert "renewed from now on" in login.said
        _, _, status = await fetch(f"{program.admin}/status")
        assert json.loads(status)["credentials"]["main"]["state"] == "fresh"
        stats = await provider.stats()
        assert stats["by_grant"]["authorization_code"] == 1
        assert stats["grants_revoked"] == 0


@pytest.mark.peer("chromedriver")
async def test_a_device_code_is_entered_elsewhere_and_the_token_is_pushed_into_the_running_instance(
    provider, tmp_path, fetch
):
    given = config(provider, update={"secret": {"env": "PUSH"}})
    async with Program(given, tmp_path, environ={"PUSH": "guard"}) as program, browser(tmp_path / "profile") as window:
        async with logging_in(program, "--device") as login:
            url = await login.until("http")
            code = (await login.until("enter this code")).rpartition(" ")[2]
            await window.open(url)
            await window.type("input[name=user_code]", code)
            await window.click("button[type=submit]")
            await window.see("h1", "Confirm Device")
            await window.click("button[autofocus]")
            await window.type("input[name=login]", "ann")
            await window.type("input[name=password]", "any")
            await window.click("button.login-submit")
            await window.see("body", "offline access")
            await window.click("button.login-submit")
            assert await login.end() == 0, login.said
        _, _, status = await fetch(f"{program.admin}/status")
        assert json.loads(status)["credentials"]["main"]["state"] == "fresh"
        assert "guard" not in login.said


async def _answered(program, answer, *, paste=False):
    """Run a login whose browser comes back with `answer(state)`; exit code, what was said, and the page's status."""
    async with logging_in(program, "--timeout", "20") as login:
        url = await login.until("http")
        asked = {name: values[0] for name, values in parse_qs(urlsplit(url).query).items()}
        back = f"{asked['redirect_uri']}?{urlencode(answer(asked['state']))}"
        page = None
        if paste:
            await login.paste(back)
        else:
            async with aiohttp.ClientSession() as http, http.get(back) as answered:
                page = answered.status
        code = await login.end() if page != 400 else None
        return code, login.said, page


@pytest.mark.parametrize("paste", [False, True])
async def test_a_person_who_says_no_ends_the_login_with_that(provider, tmp_path, paste):
    async with Program(stored(config(provider), tmp_path), tmp_path) as program:
        code, said, _ = await _answered(
            program,
            lambda state: {"state": state, "error": "access_denied", "iss": provider.issuer},
            paste=paste,
        )
    assert code == 1
    assert "said no" in said


async def test_an_answer_of_another_login_ends_nothing_and_is_told_so(provider, tmp_path):
    async with Program(stored(config(provider), tmp_path), tmp_path) as program:
        _, _, page = await _answered(program, lambda state: {"state": state + "x", "code": "c"})
    assert page == 400


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        ({"code": "c"}, "does not come from the configured issuer"),
        ({"code": "c", "iss": "https://evil.example"}, "does not come from the configured issuer"),
        ({"code": "spent"}, "it serves once"),
        ({"error": "temporarily_unavailable"}, "answered with temporarily_unavailable"),
        ({"error": "s3cret"}, "an error that is not registered"),
    ],
)
async def test_what_an_authorization_server_refuses_is_said_and_nothing_more(provider, tmp_path, answer, message):
    def complete(state):
        issuer = {} if message.startswith("does not") else {"iss": provider.issuer}
        return {"state": state, **issuer, **answer}

    async with Program(stored(config(provider), tmp_path), tmp_path) as program:
        code, said, _ = await _answered(program, complete)
    assert (code, message in said) == (1, True), said
    assert "s3cret" not in said


async def test_nobody_is_asked_where_the_token_would_be_lost(provider, tmp_path):
    async with Program(config(provider), tmp_path, ready="/healthz") as program, logging_in(program) as login:
        assert await login.end() == 1
    assert "its token would be lost" in login.said
    assert "update: {secret: …}" in login.said


async def test_nobody_is_asked_while_the_instance_that_would_take_the_token_does_not_run(provider, tmp_path):
    program = Program(config(provider, update={"secret": {"env": "PUSH"}}), tmp_path)
    async with logging_in(program) as login:
        assert await login.end() == 3
    assert "no running instance" in login.said


async def test_a_person_who_never_answers_and_a_port_that_is_taken_end_it(provider, tmp_path):
    async with Program(stored(config(provider), tmp_path), tmp_path, ready="/healthz") as program:
        async with logging_in(program, "--timeout", "0.5") as login:
            assert await login.end() == 1
        assert "nobody answered within 0.5 seconds" in login.said
        port = free_port()
        server = await asyncio.start_server(lambda *_: None, "127.0.0.1", port)
        async with server:
            program.write(stored(config(provider, redirect_port=port), tmp_path))
            async with logging_in(program) as login:
                assert await login.end() == 1
        assert "redirect_port" in login.said


async def test_a_credential_that_no_person_can_fill_is_told(provider, tmp_path):
    given = stored(config(provider, grant_type="client_credentials"), tmp_path)
    for key in ("authorization_parameters",):
        given["credentials"]["main"].pop(key)
    async with Program(given, tmp_path, ready="/healthz") as program, logging_in(program) as login:
        assert await login.end() == 1
    assert "grant_type: refresh_token" in login.said
