from __future__ import annotations

import os

import pytest
from support.program import Kept, StandingProgram, admin_of

from proxy.admin.view import Entry
from proxy.errors import CredentialRefused, CredentialUnavailable
from proxy.model import Token

NOW = StandingProgram().clock.wall()


def _program(*, vend=True, **changed):
    token = Token(**{"access_token": "a", "generation": 4, "expires_wall": NOW + 60.5, "refresh_token": "r", **changed})
    tokens = Kept(token)
    program = StandingProgram(crm=Entry(type="oauth2", tokens=tokens, vend=vend), key=Entry(type="header", vend=vend))
    program.tokens = tokens
    program.secret = "admin"
    return program


async def _ask(program, method, path, **headers):
    async with admin_of(program) as served:
        return await served.ask(method, path, headers={"Authorization": "Bearer admin", **headers})


async def test_a_token_is_handed_out_in_the_shape_of_the_standard_and_without_its_refresh_token():
    answer = await _ask(_program(), "GET", "/credentials/crm/token")

    assert (answer.status, answer.content_type) == (200, "application/json")
    assert answer.json() == {"access_token": "a", "token_type": "Bearer", "expires_in": 60}
    assert (answer.headers["Cache-Control"], answer.headers["Pragma"]) == ("no-store", "no-cache")


async def test_a_token_without_an_end_has_no_lifetime():
    answer = await _ask(_program(expires_wall=None), "GET", "/credentials/crm/token")

    assert answer.json() == {"access_token": "a", "token_type": "Bearer"}


@pytest.mark.parametrize("name", ["nowhere", "key"])
async def test_what_has_no_token_hands_out_none(name):
    assert (await _ask(_program(), "GET", f"/credentials/{name}/token")).status == 404


async def test_a_credential_that_does_not_vend_looks_like_none():
    assert (await _ask(_program(vend=False), "GET", "/credentials/crm/token")).status == 404


async def test_without_the_bearer_no_token_is_handed_out():
    async with admin_of(_program()) as served:
        answer = await served.ask("GET", "/credentials/crm/token")

    assert answer.status == 401
    assert '"a"' not in answer.text


async def test_where_there_is_no_bearer_nobody_on_the_network_is_handed_one():
    program = _program()
    program.secret = None
    async with admin_of(program) as served:
        assert (await served.ask("GET", "/credentials/crm/token")).status == 404


@pytest.mark.parametrize(("uids", "status"), [((os.getuid(),), 200), ((os.getuid() + 1,), 404), ((), 404)])
async def test_over_a_unix_socket_named_users_are_handed_one(tmp_path, uids, status):
    program = _program()
    program.secret = None
    program.unix_uids = uids
    async with admin_of(program, path=str(tmp_path / "admin")) as served:
        assert (await served.ask("GET", "/credentials/crm/token")).status == status


@pytest.mark.parametrize("fields", [{"Origin": "https://evil.example"}, {"Sec-Fetch-Site": "cross-site"}])
async def test_a_browser_on_another_site_is_handed_none(fields):
    assert (await _ask(_program(), "GET", "/credentials/crm/token", **fields)).status == 403


async def test_a_renewal_answers_with_the_new_generation():
    program = _program(vend=False)
    answer = await _ask(program, "POST", "/credentials/crm/refresh")

    assert answer.json() == {"credential": "crm", "generation": 5, "expires_at": int(NOW) + 60}
    assert program.tokens.token.access_token == "renewed"


@pytest.mark.parametrize("name", ["nowhere", "key"])
async def test_what_has_no_token_cannot_be_renewed(name):
    assert (await _ask(_program(), "POST", f"/credentials/{name}/refresh")).status == 404


@pytest.mark.parametrize(
    ("trouble", "status"), [(CredentialUnavailable(retry_after=7), 503), (CredentialRefused("Refused."), 502)]
)
@pytest.mark.parametrize(("method", "path"), [("POST", "/credentials/crm/refresh"), ("GET", "/credentials/crm/token")])
async def test_a_failure_is_told_as_on_the_data_path(trouble, status, method, path):
    program = _program()
    program.tokens.trouble = trouble
    answer = await _ask(program, method, path)

    assert (answer.status, answer.json()["credential"]) == (status, "crm")
    assert answer.headers.get("Retry-After") == ("7" if status == 503 else None)


async def test_a_renewal_takes_post_only():
    answer = await _ask(_program(), "GET", "/credentials/crm/refresh")

    assert (answer.status, answer.headers["Allow"]) == (405, "POST")
