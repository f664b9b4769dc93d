"""A credential that is moved to another issuer or client: nothing that was got from the one is sent to the other."""

from __future__ import annotations

import json
from typing import Any

import pytest
from aiohttp import web
from support.issuer import scripted_issuer
from support.process import Program
from support.settings import client_credentials, one_route

KEPT = "got from another issuer or as another client than is configured now"


@pytest.fixture
async def issuers():
    """Both rotate, and each would withdraw the grant of whoever sends what is not its own."""
    async with (
        scripted_issuer(rotating=True, live_refresh_token="seed") as a,
        scripted_issuer(rotating=True, live_refresh_token="seed") as b,
    ):
        a.issued, b.issued = 100, 200
        yield a, b


@pytest.fixture
def config(upstream, tmp_path):
    """For a token endpoint, with a store of either type."""

    def make(url: str, store: str = "file", **more: Any) -> dict[str, Any]:
        credential = client_credentials(
            f"{url}/token",
            grant_type="refresh_token",
            refresh_token={"value": "seed"},
            update={"secret": {"value": "guard"}},
            **more,
        )
        places = {"file": {"type": "file", "path": str(tmp_path / "tokens")}, "memory": {"type": "memory"}}
        return {**one_route(upstream.url, credential), "store": places[store]}

    return make


@pytest.fixture
def place(tmp_path):
    def make(name: str):
        (tmp_path / name).mkdir()
        return tmp_path / name

    return make


@pytest.fixture
def move(fetch):
    """Let a running program go on with another configuration."""

    async def reload(program: Program, config: dict[str, Any]) -> None:
        program.write(config)
        assert (await fetch(f"{program.admin}/reload", "POST"))[0] == 200

    return reload


@pytest.fixture
def renew(fetch):
    async def ask(program: Program) -> int:
        return (await fetch(f"{program.admin}/credentials/main/refresh", "POST"))[0]

    return ask


@pytest.fixture
def bearer(fetch, upstream):
    """The token that a request goes out with."""

    async def ask(program: Program) -> str:
        assert (await fetch(f"{program.url}/api/x"))[0] == 200
        return upstream.requests[-1].field(b"authorization").decode()

    return ask


def sent(issuer) -> list[str | None]:
    return [asked["refresh_token"] for asked in issuer.asked]


async def test_a_restart_with_another_issuer_begins_anew_and_the_way_back_goes_on(issuers, config, place, renew):
    a, b = issuers
    async with Program(config(a.url), place("one")) as program:
        assert await renew(program) == 200
    assert sent(a) == ["seed", "rt-101"]
    async with Program(config(b.url), place("two")) as program:
        await program.logged(KEPT)
        assert await renew(program) == 200
    assert sent(b) == ["seed", "rt-201"]
    async with Program(config(a.url), place("three")) as program:
        await program.logged("goes on with what was kept")
        assert await renew(program) == 200
    assert (sent(a)[2], a.revoked, b.revoked) == ("rt-102", False, False)


@pytest.mark.parametrize("store", ["file", "memory"])
async def test_a_reload_with_another_issuer_begins_anew_and_the_way_back_goes_on(
    issuers, config, place, renew, move, bearer, store
):
    a, b = issuers
    async with Program(config(a.url, store), place("one")) as program:
        assert await renew(program) == 200
        await move(program, config(b.url, store))
        assert await bearer(program) == "Bearer at-201"
        await program.logged(KEPT)
        assert await renew(program) == 200
        await move(program, config(a.url, store))
        assert await bearer(program) == "Bearer at-102"
        assert await renew(program) == 200
    assert (sent(a), sent(b)) == (["seed", "rt-101", "rt-102"], ["seed", "rt-201"])
    assert (a.revoked, b.revoked) == (False, False)


@pytest.mark.parametrize("store", ["file", "memory"])
async def test_another_scope_keeps_the_refresh_token_and_fetches_the_access_token_anew(
    issuers, config, place, move, bearer, store
):
    a, _ = issuers
    async with Program(config(a.url, store), place("one")) as program:
        assert await bearer(program) == "Bearer at-101"
        await move(program, config(a.url, store, scope="more"))
        assert await bearer(program) == "Bearer at-102"
        assert KEPT not in program.log
    assert sent(a) == ["seed", "rt-101"]


async def test_another_client_of_the_same_server_never_sends_the_seed_that_was_replaced(
    issuers, config, place, fetch, move, renew
):
    """The server would take it for stolen, and withdraw the grant that a mistyped client id left behind."""
    a, _ = issuers
    async with Program(config(a.url), place("one")) as program:
        assert await renew(program) == 200
        await move(program, config(a.url, client_id="mistyped"))
        await program.logged("is not sent again: configure a new one, or put the configuration back")
        assert (await fetch(f"{program.url}/api/x"))[0] == 502
        await move(program, config(a.url))
        assert await renew(program) == 200
    assert (sent(a), a.revoked) == (["seed", "rt-101", "rt-102"], False)


async def test_a_seed_that_came_with_the_move_counts(issuers, config, place, renew):
    a, b = issuers
    b.live_refresh_token = "seed of b"
    async with Program(config(a.url), place("one")) as program:
        assert await renew(program) == 200
    moved = config(b.url)
    moved["credentials"]["main"]["refresh_token"] = {"value": "seed of b"}
    async with Program(moved, place("two")) as program:
        assert await renew(program) == 200
    assert sent(b) == ["seed of b", "rt-201"]


async def test_what_was_pushed_belongs_to_the_issuer_that_was_configured_then(
    issuers, config, place, fetch, move, bearer
):
    a, b = issuers
    a.live_refresh_token = "pushed"
    async with Program(config(a.url), place("one"), ready="/healthz") as program:
        code, _, _ = await fetch(
            f"{program.admin}/credentials/main/token",
            "PUT",
            headers={"Authorization": "Bearer guard"},
            data=json.dumps({"access_token": "at-pushed", "refresh_token": "pushed", "expires_in": 3600}),
        )
        assert code == 200
        await move(program, config(b.url))
        assert await bearer(program) == "Bearer at-201"
        await move(program, config(a.url))
        assert await bearer(program) == "Bearer at-pushed"
    assert sent(b) == ["seed"]


async def test_a_record_of_version_0_1_is_bound_before_anything_is_done_with_it(
    issuers, config, place, tmp_path, fetch
):
    a, b = issuers
    (tmp_path / "tokens").mkdir(mode=0o700)
    record = {"revision": 4, "generation": 2, "access_token": "at-old", "expires_at": 4e9, "lifetime": 3600.0}
    record |= {"issued_at": 1.7e9, "refresh_token": "rt-old", "rotates": True, "identity": "0123"}
    (tmp_path / "tokens" / "main.json").write_text(json.dumps({"format": 1, "record": record}))
    lazy = {"refresh": {"eager": False}}
    first, second = config(a.url, **lazy), config(b.url, **lazy)
    for moved in (first, second):
        del moved["credentials"]["main"]["refresh_token"]
        moved["credentials"]["main"]["initial_token"] = {"access_token": {"value": "at-first"}, "expires_in": 3600}
        moved["credentials"]["main"]["grant_type"] = "client_credentials"
    async with Program(first, place("one")):
        pass
    async with Program(second, place("two")) as program:
        await program.logged(KEPT)
        assert (await fetch(f"{program.admin}/credentials/main/refresh", "POST"))[0] == 200
    assert sent(b) == [None]


# ---- any token API ---------------------------------------------------------------------------------------------------


class Api:
    """A token API that rotates. `asked`: path and body of each request."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.url = ""
        self.asked: list[tuple[str, Any]] = []

    async def answer(self, request: web.Request) -> web.Response:
        self.asked.append((request.path, await request.json()))
        number = len(self.asked)
        return web.json_response(
            {"access_token": f"at-{self.name}-{number}", "refresh_token": f"rt-{self.name}-{number}"}
        )


@pytest.fixture
async def apis():
    found, runners = [], []
    for name in "ab":
        api, app = Api(name), web.Application()
        app.router.add_post("/{what}", api.answer)
        runner = web.AppRunner(app, shutdown_timeout=0.1)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        api.url = "http://{}:{}".format(*runner.addresses[0][:2])
        found.append(api)
        runners.append(runner)
    yield found
    for runner in runners:
        await runner.cleanup()


@pytest.mark.parametrize("how", ["restart", "reload"])
async def test_a_token_api_gets_only_what_it_gave_itself(apis, upstream, place, tmp_path, move, renew, how):
    a, b = apis

    def config(refresh: str) -> dict[str, Any]:
        credential = {
            "type": "http",
            "obtain": {"url": f"{a.url}/token", "json": {"user": "u"}},
            "refresh": {"url": refresh, "json": {"token": "{refresh_token}", "old": "{access_token}"}, "eager": False},
        }
        store = {"type": "file", "path": str(tmp_path / "tokens")}
        return {**one_route(upstream.url, credential), "store": store}

    async def twice(program: Program) -> None:
        assert [await renew(program), await renew(program)] == [200, 200]

    async with Program(config(f"{a.url}/refresh"), place("one")) as program:
        await twice(program)
        if how == "reload":
            await move(program, config(f"{b.url}/refresh"))
            await twice(program)
    if how == "restart":
        async with Program(config(f"{b.url}/refresh"), place("two")) as program:
            await twice(program)
            assert KEPT in program.log
    obtained = ("/token", {"user": "u"})
    assert a.asked == [obtained, ("/refresh", {"token": "rt-a-1", "old": "at-a-1"}), obtained]
    assert b.asked == [("/refresh", {"token": "rt-a-3", "old": "at-a-3"})], "obtained after the move, for this way on"


@pytest.mark.parametrize("how", ["restart", "reload"])
async def test_the_grant_of_one_user_of_a_token_api_serves_no_other(apis, upstream, place, tmp_path, move, renew, how):
    api, _ = apis

    def config(user: str) -> dict[str, Any]:
        credential = {
            "type": "http",
            "obtain": {"url": f"{api.url}/token", "json": {"user": user}},
            "refresh": {"url": f"{api.url}/refresh", "json": {"token": "{refresh_token}"}, "eager": False},
        }
        store = {"type": "file", "path": str(tmp_path / "tokens")}
        return {**one_route(upstream.url, credential), "store": store}

    async with Program(config("u"), place("one")) as program:
        assert await renew(program) == 200
        if how == "reload":
            await move(program, config("v"))
            assert await renew(program) == 200
            await move(program, config("u"))
            assert await renew(program) == 200
    if how == "restart":
        for number, user in enumerate("vu"):
            async with Program(config(user), place(f"more-{number}")) as program:
                assert await renew(program) == 200
    assert api.asked == [
        ("/token", {"user": "u"}),
        ("/token", {"user": "v"}),
        ("/refresh", {"token": "rt-a-1"}),
    ]


# ---- tokens that are made here ---------------------------------------------------------------------------------------

PRINTED = '{"apiVersion": "client.authentication.k8s.io/v1", "kind": "ExecCredential", "status": {"token": "%s"}}'


@pytest.mark.parametrize("store", ["file", "memory"])
@pytest.mark.parametrize("kind", ["jwt", "exec"])
async def test_a_token_that_was_made_for_one_is_never_sent_to_another(
    upstream, place, tmp_path, fetch, move, bearer, kind, store
):
    """Its claims or its command have changed; one that was pushed is for the configuration that it was pushed to."""

    def config(whom: str) -> dict[str, Any]:
        made: dict[str, dict[str, Any]] = {
            "jwt": {"type": "jwt", "key": {"value": "k" * 32}, "alg": "HS256", "claims": {"aud": whom}},
            "exec": {"type": "exec", "command": ["echo", PRINTED % whom]},
        }
        places = {"file": {"type": "file", "path": str(tmp_path / "tokens")}, "memory": {"type": "memory"}}
        credential = {**made[kind], "update": {"secret": {"value": "guard"}}}
        return {**one_route(upstream.url, credential), "store": places[store]}

    async with Program(config("one"), place("first")) as program:
        code, _, _ = await fetch(
            f"{program.admin}/credentials/main/token",
            "PUT",
            headers={"Authorization": "Bearer guard"},
            data=json.dumps({"access_token": "pushed-for-one", "refresh_token": "rt-one", "expires_in": 3600}),
        )
        assert (code, await bearer(program)) == (200, "Bearer pushed-for-one")
        await move(program, config("other"))
        assert await bearer(program) != "Bearer pushed-for-one"
    if store == "file":
        async with Program(config("one"), place("second")) as program:
            moved = await bearer(program)
        async with Program(config("other"), place("third")) as program:
            assert await bearer(program) not in {moved, "Bearer pushed-for-one"}
