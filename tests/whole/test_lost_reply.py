"""The answer to a renewal is lost on its way, or comes and cannot be read: what becomes of the refresh token."""

from __future__ import annotations

import asyncio

import pytest
from aiohttp import web
from support.issuer import scripted_issuer
from support.process import Program
from support.settings import client_credentials, one_route

LOST = "The grant may be lost: the answer to an earlier renewal never arrived, and the refresh token is refused now"
GUARD = {"Authorization": "Bearer guard"}


@pytest.fixture
async def issuer():
    async with scripted_issuer(live_refresh_token="rt-0") as running:
        yield running


@pytest.fixture
async def program(issuer, upstream, tmp_path):
    credential = client_credentials(
        f"{issuer.url}/token",
        grant_type="refresh_token",
        refresh_token={"value": "rt-0"},
        refresh={"eager": False},
        update={"secret": {"value": "guard"}},
    )
    async with Program(one_route(upstream.url, credential), tmp_path) as running:
        yield running


@pytest.fixture
def renew(program, fetch):
    async def ask():
        return (await fetch(program.admin + "/credentials/main/refresh", "POST"))[0]

    return ask


def sent(issuer):
    return [asked["refresh_token"] for asked in issuer.asked]


async def test_an_issuer_that_never_rotated_gets_the_same_refresh_token_again_at_once(issuer, renew):
    assert await renew() == 200
    issuer.script.append("reset")
    assert await renew() == 200
    assert sent(issuer) == ["rt-0"] * 3


async def test_the_second_loss_in_a_row_waits_its_turn(program, issuer, fetch):
    issuer.script.extend(["reset", "reset"])
    status, headers, _ = await fetch(program.url + "/api/x")
    assert (status, 'details="credential_unavailable"' in headers["Proxy-Status"]) == (503, True)
    assert issuer.count == 2
    async with asyncio.timeout(30):
        while (answer := await fetch(program.url + "/api/x"))[0] == 503:
            await asyncio.sleep(int(answer[1]["Retry-After"]))
    assert (answer[0], issuer.count) == (200, 3)


async def test_an_issuer_that_rotates_is_not_asked_blindly_while_a_token_is_held(
    program, issuer, renew, upstream, fetch
):
    """C4."""
    issuer.rotating = True
    assert await renew() == 200
    issuer.script.append("rotate, then reset")
    assert await renew() == 503
    for _ in range(3):
        assert (await fetch(program.url + "/api/x"))[0] == 200
    assert upstream.requests[-1].field(b"authorization") == b"Bearer at-1"
    assert (sent(issuer), issuer.revoked) == (["rt-0", "rt-1"], False)


async def test_without_a_token_it_is_sent_once_more_and_the_loss_is_called_by_its_name(
    program, issuer, renew, fetch, upstream
):
    """C4."""
    issuer.rotating = True
    issuer.lifetime = 1
    assert await renew() == 200
    await asyncio.sleep(1.1)
    issuer.script.append("rotate, then reset")
    status, headers, _ = await fetch(program.url + "/api/x")
    assert (status, 'details="credential_refused"' in headers["Proxy-Status"]) == (502, True)
    assert (sent(issuer), LOST in program.log) == (["rt-0", "rt-1", "rt-1"], True)
    assert (await fetch(program.url + "/api/x"))[0] == 502
    assert (issuer.count, upstream.requests) == (3, [])


async def test_a_push_brings_a_lost_grant_back_at_once(program, issuer, renew, fetch, upstream):
    issuer.rotating = True
    assert await renew() == 200
    issuer.script.append("rotate, then reset")
    assert await renew() == 503
    pushed = {"access_token": "pushed", "expires_in": 600, "refresh_token": issuer.live_refresh_token}
    assert (await fetch(program.admin + "/credentials/main/token", "PUT", json=pushed, headers=GUARD))[0] == 200
    assert (await fetch(program.url + "/api/x"))[0] == 200
    assert upstream.requests[-1].field(b"authorization") == b"Bearer pushed"
    assert await renew() == 200
    assert (sent(issuer), issuer.revoked) == (["rt-0", "rt-1", "rt-2"], False)


# ---- an answer that cannot be read -----------------------------------------------------------------------------------

SPENT = "The grant may be lost: the answer to an earlier renewal cannot be read"


def rotated(issuer, text="", content_type="application/json", charset="utf-8", promised=None):
    """The issuer has rotated, and says so in its own way; `text` holds `{token}`, `{next}`."""

    async def answer(request):
        form = await request.post()
        if issuer.revoked or form["refresh_token"] != issuer.live_refresh_token:
            issuer.revoked = True
            return web.json_response({"error": "invalid_grant"}, status=400)
        issuer.issued += 1
        issuer.live_refresh_token = f"rt-{issuer.issued}"
        said = text.replace("{token}", f"at-{issuer.issued}").replace("{next}", issuer.live_refresh_token)
        response = web.StreamResponse(headers={"Content-Type": content_type})
        response.content_length = promised or len(said.encode(charset))
        await response.prepare(request)
        await response.write(said.encode(charset))
        if promised:
            request.transport.close()
        return response

    return answer


GOOD = '{"access_token":"{token}","expires_in":600,"refresh_token":"{next}","name":"José"}'


@pytest.mark.parametrize(
    ("content_type", "charset"),
    [
        ("application/json; charset=ISO-8859-1", "latin-1"),
        ("application/json", "latin-1"),
        ("application/json", "utf-16"),
        ("application/json; charset=nonsense", "utf-8-sig"),
    ],
)
async def test_an_answer_in_another_charset_is_an_answer(
    program, issuer, renew, content_type, charset, fetch, upstream
):
    issuer.rotating = True
    issuer.answers = rotated(issuer, GOOD, content_type, charset)
    assert [await renew() for _ in range(3)] == [200] * 3
    assert (sent(issuer), issuer.revoked) == (["rt-0", "rt-1", "rt-2"], False)
    assert (await fetch(program.url + "/api/x"))[0] == 200
    assert upstream.requests[-1].field(b"authorization") == b"Bearer at-3"


@pytest.mark.parametrize(
    ("text", "promised"),
    [(GOOD[:-8], None), (GOOD + "<!-- as-1 -->", None), ("<b>Notice</b>" + GOOD, None), (GOOD[:-8], 9999)],
)
async def test_a_refresh_token_in_an_answer_that_cannot_be_read_is_the_one_that_is_sent_next(
    program, issuer, fetch, text, promised
):
    issuer.rotating = True
    issuer.answers = rotated(issuer, text, promised=promised)
    assert (await fetch(program.url + "/api/x"))[0] == 503
    issuer.answers = None
    async with asyncio.timeout(30):
        while (answer := await fetch(program.url + "/api/x"))[0] == 503:
            await asyncio.sleep(int(answer[1]["Retry-After"]))
    assert (answer[0], sent(issuer), issuer.revoked) == (200, ["rt-0", "rt-1"], False)


@pytest.mark.parametrize(
    "text", ["", "<html>OK</html>", '{"access_token":"', "{}", '{"result":{"t":1}}', "null", "a b"]
)
@pytest.mark.parametrize("known", [True, False])
async def test_after_an_answer_that_cannot_be_read_the_refresh_token_is_not_sent_again_by_itself(
    program, issuer, renew, fetch, text, known
):
    """Whether or not this issuer was seen to rotate before: the first renewal may be the one."""
    issuer.rotating, issuer.lifetime = True, 1
    if known:
        assert await renew() == 200
        await asyncio.sleep(1.1)
    issuer.answers = rotated(issuer, text)
    status, headers, _ = await fetch(program.url + "/api/x")
    assert (status, 'details="credential_unavailable"' in headers["Proxy-Status"]) == (503, True)
    before = len(sent(issuer))
    issuer.answers = None
    async with asyncio.timeout(30):
        while (answer := await fetch(program.url + "/api/x"))[0] == 503:
            await asyncio.sleep(int(answer[1]["Retry-After"]))
    assert (answer[0], 'details="credential_refused"' in answer[1]["Proxy-Status"]) == (502, True)
    assert (len(sent(issuer)), issuer.revoked, SPENT in program.log) == (before, False, True)
    pushed = {"access_token": "pushed", "expires_in": 600, "refresh_token": issuer.live_refresh_token}
    assert (await fetch(program.admin + "/credentials/main/token", "PUT", json=pushed, headers=GUARD))[0] == 200
    assert await renew() == 200
    assert not issuer.revoked


async def test_a_held_token_is_used_on_after_an_answer_that_cannot_be_read(program, issuer, renew, fetch, upstream):
    issuer.rotating = True
    assert await renew() == 200
    issuer.answers = rotated(issuer, "<html>")
    assert await renew() == 503
    for _ in range(3):
        assert (await fetch(program.url + "/api/x"))[0] == 200
    assert upstream.requests[-1].field(b"authorization") == b"Bearer at-1"
    assert (sent(issuer), issuer.revoked) == (["rt-0", "rt-1"], False)


async def test_where_the_issuer_leaves_a_refresh_token_in_use_it_is_sent_again_later(issuer, renew):
    assert await renew() == 200
    issuer.script.append((200, "<html>"))
    assert await renew() == 503
    assert await renew() == 200
    assert sent(issuer) == ["rt-0"] * 3
