from __future__ import annotations

import pytest

from proxy.sandbox.control import MintedGrant


async def post(http, path, document):
    async with http.post(path, json=document) as answer:
        return answer.status, await answer.json()


async def test_settings_are_set_by_name_and_shown(http):
    assert (await post(http, "/control", {"expires_in": 5, "rotation": False}))[0] == 200
    async with http.get("/control") as answer:
        settings = await answer.json()
    assert (settings["expires_in"], settings["rotation"], settings["outage"]) == (5, False, "none")


@pytest.mark.parametrize(
    "document",
    [{"expires_im": 5}, {"revoke": "some"}, {"reset": "yes"}, {"api_faults": [{"kind": "x"}]}, [], "x", {"outage": 1}],
)
async def test_what_is_unknown_is_refused_and_changes_nothing(http, document, sandbox):
    before = sandbox.script.settings
    status, body = await post(http, "/control", document)
    assert (status, list(body)) == (400, ["error"])
    assert sandbox.script.settings == before


@pytest.mark.parametrize(("data", "media_type"), [(b"{", "application/json"), (b"{}", "text/plain")])
async def test_only_json_is_read(http, data, media_type):
    async with http.post("/control", data=data, headers={"Content-Type": media_type}) as answer:
        assert answer.status == 400


async def test_revoking_access_tokens_leaves_refresh_tokens_and_revoking_everything_does_not(http, ask, sandbox):
    _, body = await ask(grant_type="password", username="sandbox-user", password="sandbox-password")
    await post(http, "/control", {"revoke": "access_tokens"})
    assert sandbox.ledger.access(body["access_token"]) is None
    assert sandbox.ledger.refresh(body["refresh_token"]) is not None
    await post(http, "/control", {"revoke": "everything"})
    assert sandbox.ledger.refresh(body["refresh_token"]) is None


async def test_a_reset_comes_before_the_settings_that_are_sent_with_it(http):
    await post(http, "/control", {"expires_in": 5, "api_faults": [{"kind": "reset"}]})
    _, settings = await post(http, "/control", {"reset": True, "rotation": False})
    assert (settings["expires_in"], settings["rotation"], settings["api_faults"]) == (3600, False, [])


async def test_the_counters_are_shown_and_can_be_set_to_nought(http, ask):
    await ask(grant_type="client_credentials")
    async with http.get("/control/stats") as answer:
        stats = await answer.json()
    assert stats["token_requests"] == {"total": 1, "now": 0, "most": 1}
    assert stats["grants"] == {"client_credentials": 1}
    async with http.delete("/control/stats") as answer:
        assert (await answer.json())["grants"] == {}


async def test_a_registered_client_gets_tokens_at_once(http, ask):
    status, body = await post(http, "/control/clients", {"client_id": "mine", "client_secret": "s"})
    assert (status, body["clients"][-1]) == (201, "mine")
    assert (await ask(client_id="mine", client_secret="s", grant_type="client_credentials"))[0] == 200
    assert (await post(http, "/control/clients", {"client_secret": "nameless"}))[0] == 400


async def test_a_refresh_token_is_minted_without_a_browser(http, ask):
    status, body = await post(http, "/control/refresh-token", {"subject": "ann", "refresh_token": "chosen"})
    assert (status, body) == (201, {"refresh_token": "chosen"})
    _, minted = await post(http, "/control/refresh-token", {})
    for token in ("chosen", minted["refresh_token"]):
        assert (await ask(grant_type="refresh_token", refresh_token=token))[0] == 200
    assert (await post(http, "/control/refresh-token", {"for": "ann"}))[0] == 400


def test_a_minted_grant_shows_no_token():
    assert "hush" not in repr(MintedGrant(refresh_token="hush"))
