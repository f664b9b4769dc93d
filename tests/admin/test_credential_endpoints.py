from __future__ import annotations

import os

import pytest
from support.program import StandingProgram, admin_of

from proxy.admin.ports import CredentialView
from proxy.errors import CredentialRefused, CredentialUnavailable
from proxy.model import Token

NOW = StandingProgram().clock.wall()


@pytest.fixture
def crm(make_crm):
    async def make(*, vend=True, **changed):
        token = {"access_token": "a", "expires_wall": NOW + 60.5, "expires_elapsed": 1_060.5}
        crm = await make_crm(Token(**{**token, **changed}), refresh_token="r", vend=vend)
        crm.program.credentials["key"] = CredentialView(type="header", vend=vend)
        crm.program.secret = "admin"
        return crm

    return make


async def _ask(crm, method, path, **headers):
    async with admin_of(crm.program) as served:
        return await served.ask(method, path, headers={"Authorization": "Bearer admin", **headers})


async def test_a_token_is_handed_out_in_the_shape_of_the_standard_and_without_its_refresh_token(crm):
    answer = await _ask(await crm(), "GET", "/credentials/crm/token")

    assert (answer.status, answer.content_type) == (200, "application/json")
    assert answer.json() == {"access_token": "a", "token_type": "Bearer", "expires_in": 60}
    assert (answer.headers["Cache-Control"], answer.headers["Pragma"]) == ("no-store", "no-cache")


async def test_a_token_without_an_end_has_no_lifetime(crm):
    answer = await _ask(await crm(expires_wall=None), "GET", "/credentials/crm/token")

    assert answer.json() == {"access_token": "a", "token_type": "Bearer"}


@pytest.mark.parametrize("name", ["nowhere", "key"])
async def test_what_has_no_token_hands_out_none(crm, name):
    assert (await _ask(await crm(), "GET", f"/credentials/{name}/token")).status == 404


async def test_a_credential_that_does_not_vend_looks_like_none(crm):
    assert (await _ask(await crm(vend=False), "GET", "/credentials/crm/token")).status == 404


async def test_without_the_bearer_no_token_is_handed_out(crm):
    async with admin_of((await crm()).program) as served:
        answer = await served.ask("GET", "/credentials/crm/token")

    assert answer.status == 401
    assert '"a"' not in answer.text


async def test_where_there_is_no_bearer_nobody_on_the_network_is_handed_one(crm):
    one = await crm()
    one.program.secret = None
    async with admin_of(one.program) as served:
        assert (await served.ask("GET", "/credentials/crm/token")).status == 404


@pytest.mark.parametrize(("uids", "status"), [((os.getuid(),), 200), ((os.getuid() + 1,), 404), ((), 404)])
async def test_over_a_unix_socket_named_users_are_handed_one(crm, tmp_path, uids, status):
    one = await crm()
    one.program.secret = None
    one.program.unix_uids = uids
    async with admin_of(one.program, path=str(tmp_path / "admin")) as served:
        assert (await served.ask("GET", "/credentials/crm/token")).status == status


@pytest.mark.parametrize("fields", [{"Origin": "https://evil.example"}, {"Sec-Fetch-Site": "cross-site"}])
async def test_a_browser_on_another_site_is_handed_none(crm, fields):
    assert (await _ask(await crm(), "GET", "/credentials/crm/token", **fields)).status == 403


async def test_a_renewal_answers_with_the_new_generation(crm):
    one = await crm(vend=False)
    answer = await _ask(one, "POST", "/credentials/crm/refresh")

    assert answer.json() == {"credential": "crm", "generation": 2, "expires_at": int(NOW) + 3600}
    assert one.held.access_token == "renewed-1"


@pytest.mark.parametrize("name", ["nowhere", "key"])
async def test_what_has_no_token_cannot_be_renewed(crm, name):
    assert (await _ask(await crm(), "POST", f"/credentials/{name}/refresh")).status == 404


@pytest.mark.parametrize(
    ("trouble", "status"), [(CredentialUnavailable(retry_after=7), 503), (CredentialRefused("Refused."), 502)]
)
@pytest.mark.parametrize(("method", "path"), [("POST", "/credentials/crm/refresh"), ("GET", "/credentials/crm/token")])
async def test_a_failure_is_told_as_on_the_data_path(crm, trouble, status, method, path):
    one = await crm(access_token="")
    one.issuer.trouble = trouble
    answer = await _ask(one, method, path)

    assert (answer.status, answer.json()["credential"]) == (status, "crm")
    assert ("Retry-After" in answer.headers) == (status == 503)


async def test_a_renewal_takes_post_only(crm):
    answer = await _ask(await crm(), "GET", "/credentials/crm/refresh")

    assert (answer.status, answer.headers["Allow"]) == (405, "POST")
