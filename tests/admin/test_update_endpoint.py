"""The guarded update endpoint over real sockets, sentence by sentence of its description."""

from __future__ import annotations

import asyncio
import base64
import gzip
import json
import logging

import jwt
import pytest
from aiohttp import web
from cryptography.hazmat.primitives.asymmetric import ec
from hypothesis import given, settings
from hypothesis import strategies as st
from jwt.algorithms import ECAlgorithm
from msgspec import structs
from support.clock import settle
from support.process import free_port
from support.program import Crm, Standing, StandingProgram, admin_of, manager_of, update_of

from proxy.admin import push
from proxy.admin.ports import CredentialView
from proxy.config.schema import Duration, Limits, UpdateGuard, UpdateGuardJwt
from proxy.errors import ProxyError
from proxy.model import Token
from proxy.tokens.store.token_store import Grant
from proxy.tokens.token_response import TokenResponse

NOW = StandingProgram().clock.wall()
RIGHT = {"Authorization": "Bearer right"}
BODY = {"access_token": "pushed", "expires_in": 3600}


def _held(**changed):
    return Token(**{"access_token": "held", "issued_wall": NOW - 100, **changed})


async def _push(served, said=None, *, method="PUT", name="crm", **headers):
    body = json.dumps(BODY if said is None else said) if not isinstance(said, bytes) else said
    headers = {name.replace("_", "-"): value for name, value in headers.items()} or RIGHT
    return await served.ask(method, f"/credentials/{name}/token", data=body, headers=headers)


async def _pushed(crm, said=None, **how):
    async with admin_of(crm.program) as served:
        return await _push(served, said, **how)


@pytest.mark.parametrize("method", ["PUT", "POST"])
async def test_a_token_response_is_taken(method, make_crm):
    crm = await make_crm(_held())
    answer = await _pushed(crm, method=method)

    assert answer.status == 200
    assert answer.json() == {"credential": "crm", "generation": 2, "expires_at": int(NOW) + 3600}
    assert answer.headers["ETag"] == '"2"'
    assert crm.held.access_token == "pushed"


@pytest.mark.parametrize("timestamp", [NOW - 60, (NOW - 60) * 1000])
async def test_what_platforms_push_is_taken_with_its_secret_within(timestamp, make_crm):
    crm = await make_crm()
    said = {"token": BODY, "timestamp": timestamp, "endpointSecret": "right"}
    answer = await _pushed(crm, said, Content_Type="application/json")

    assert (answer.status, answer.json()["expires_at"]) == (200, int(NOW) - 60 + 3600)


async def test_the_admin_bearer_is_neither_wanted_nor_enough(make_crm):
    crm = await make_crm()
    crm.program.secret = "admin"

    assert (await _pushed(crm)).status == 200
    assert (await _pushed(crm, Authorization="Bearer admin")).status == 401


@pytest.mark.parametrize("headers", [{"X": "y"}, {"Authorization": "Bearer wrong"}, {"Authorization": "Basic OnJp"}])
async def test_without_the_guard_nothing_is_taken(headers, make_crm):
    crm = await make_crm(_held())
    answer = await _pushed(crm, **headers)

    assert (answer.status, answer.headers["WWW-Authenticate"]) == (401, 'Bearer realm="auth-sidecar"')
    assert crm.generation == crm.begun


@pytest.mark.parametrize("secret", ["wrong", "", None, 5, ["right"]])
async def test_a_wrong_secret_within_is_refused(secret, make_crm):
    crm = await make_crm()
    said = {"token": BODY, "endpointSecret": secret}

    assert (await _pushed(crm, said, X="y")).status == 401


async def test_names_that_do_not_exist_or_take_no_pushes_answer_like_a_wrong_guard(make_crm):
    crm = await make_crm()
    crm.program.credentials["key"] = CredentialView(type="header")
    crm.program.credentials["unguarded"] = CredentialView(type="oauth2", tokens=Standing())
    crm.program.credentials["many"] = CredentialView(type="oauth2", update=UpdateGuard(), update_secret=lambda: "right")
    async with admin_of(crm.program) as served:
        answers = [
            await _push(served, name="crm", Authorization="Bearer wrong"),
            *[await _push(served, name=name) for name in ("nowhere", "key", "unguarded", "many", "%00", "%2F")],
        ]

    documents = [{**answer.json(), "instance": None} for answer in answers]
    assert [answer.status for answer in answers] == [401] * len(answers)
    assert all(document == documents[0] for document in documents)
    assert len({tuple(sorted(answer.headers)) for answer in answers}) == 1


async def test_a_jwt_guard_opens_with_keys_fetched_from_its_issuer(aiohttp_server, make_crm):
    key = ec.generate_private_key(ec.SECP256R1())
    jwks = {"keys": [{**ECAlgorithm.to_jwk(key.public_key(), as_dict=True), "kid": "1"}]}
    issuer = web.Application()

    async def keys(_):
        return web.json_response(jwks)

    issuer.router.add_get("/jwks", keys)
    uri = str((await aiohttp_server(issuer)).make_url("/jwks"))
    wanted = UpdateGuardJwt(jwks_uri=uri, issuer="https://issuer.example", audience="sidecar", claims={"sub": "me"})
    claims = {"iss": "https://issuer.example", "aud": "sidecar", "sub": "me", "exp": NOW + 60}
    crm = await make_crm(jwt=wanted)
    async with admin_of(crm.program) as served:
        right = jwt.encode(claims, key, "ES256", headers={"kid": "1"})
        wrong = jwt.encode({**claims, "sub": "you"}, key, "ES256", headers={"kid": "1"})

        assert (await _push(served, Authorization=f"Bearer {right}")).status == 200
        assert (await _push(served, Authorization=f"Bearer {wrong}")).status == 401
        assert (await _push(served)).status == 200


@pytest.mark.parametrize("header", [{"alg": ["ES256"]}, {"alg": {}}, {"alg": "ES256", "kid": {}}, [], 5])
async def test_a_guard_of_any_type_is_refused_throttled_and_counted_and_tells_no_name(header, make_crm, caplog):
    def part(said):
        return base64.urlsafe_b64encode(json.dumps(said).encode()).decode().rstrip("=")

    uri = f"http://127.0.0.1:{free_port()}/jwks"
    wanted = UpdateGuardJwt(jwks_uri=uri, issuer="https://issuer.example", audience="sidecar", claims={"sub": "me"})
    crm = await make_crm(jwt=wanted)
    bearer = {"Authorization": f"Bearer {part(header)}.{part({})}.AAAA"}
    async with admin_of(crm.program) as served:
        answers = {name: [await _push(served, name=name, **bearer) for _ in range(11)] for name in ("crm", "nowhere")}
        counted = (await served.ask("GET", "/metrics")).text

    for of_one_name in answers.values():
        assert [answer.status for answer in of_one_name] == [401] * 10 + [429]
    assert 'token_updates_total{credential="crm",result="refused"} 10.0' in counted
    assert "Traceback" not in caplog.text


async def test_a_look_up_of_keys_tells_no_name(aiohttp_server, make_crm):
    """Each name waits for the same look-ups: the first refusal pays for all, whatever it names."""
    fetched = []

    async def keys(request):
        fetched.append(request.path)
        return web.json_response({"keys": []})

    issuer = web.Application()
    issuer.router.add_get("/jwks", keys)
    uri = str((await aiohttp_server(issuer)).make_url("/jwks"))
    wanted = UpdateGuardJwt(jwks_uri=uri, issuer="https://issuer.example", audience="sidecar", claims={"sub": "me"})
    key = ec.generate_private_key(ec.SECP256R1())
    bearer = {"Authorization": "Bearer " + jwt.encode({"sub": "me"}, key, "ES256", headers={"kid": "1"})}
    for name in ("crm", "nowhere", "plain"):
        crm = await make_crm(jwt=wanted)
        crm.program.credentials["plain"] = CredentialView(
            type="external", tokens=Standing(), update=UpdateGuard(), update_secret=lambda: "right"
        )
        async with admin_of(crm.program) as served:
            assert (await _push(served, name=name, **bearer)).status == 401
        assert len(fetched) == 1
        fetched.clear()


_JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(10**40), 10**40)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(), max_size=8)
    | st.sampled_from(["pushed", "Bearer", "3600", "soon", "2026-11-21T12:00:00Z"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=5,
)
_MEMBERS = [
    "access_token",
    "accessToken",
    "token",
    "refresh_token",
    "token_type",
    "expires_in",
    "expires_at",
    "expiresOn",
    "timestamp",
    "endpointSecret",
    "error",
]


@settings(max_examples=300)
@given(st.dictionaries(st.sampled_from(_MEMBERS), _JSON), st.booleans())
async def test_a_body_of_any_type_is_taken_or_refused_and_never_fails(said, within):
    """Against the program's own objects, without sockets: what is thrown has a status of ours."""
    crm = Crm()
    crm.tokens = manager_of(crm.program.clock, crm.issuer, crm.store)
    await crm.tokens.start()
    status = 200
    try:
        said = {"access_token": "t", **said}
        document = push.document(json.dumps({"token": said} if within else said).encode())
        assert isinstance(push.inner_secret(document), str)
        pushed = push.read(document)
        push.refuse_stale(pushed, wall=NOW, max_age=300.0, held=_held())
        await crm.tokens.adopt(push.token(pushed, wall=NOW, elapsed=0.0, assumed=300.0), None)
    except ProxyError as error:
        status = error.status
    finally:
        await crm.tokens.stop()

    assert status in {200, 400, 409, 422}


@pytest.mark.parametrize(
    "body",
    [
        b"[" * 16_000,
        b'{"access_token":' * 900,
        b'{"access_token": ' + b"1" * 5000 + b"}",
        b'{"access_token": "t", "expires_in": 1e999}',
        b'{"access_token": "t", "expires_in": ' + b"9" * 400 + b"}",
        b'{"access_token": "t", "timestamp": -1e308}',
        b'{"access_token": "\\ud800"}',
        b'{"access_token": "t", "refresh_token": "\\ud800"}',
        b'{"access_token": "t", "expires_in": NaN}',
        b"\xef\xbb\xbf[]",
        b"\xff\xfe",
        b"null",
        b"5",
    ],
)
async def test_json_that_breaks_readers_is_400_with_a_guard_and_401_without(body, make_crm, caplog):
    crm = await make_crm(_held())
    async with admin_of(crm.program) as served:
        assert (await _push(served, body)).status == 400
        assert (await _push(served, body, Authorization="Bearer wrong")).status == 401
        assert (await _push(served, body, name="nowhere")).status == 401

    assert crm.generation == crm.begun
    assert "Traceback" not in caplog.text


async def test_a_list_of_addresses_refuses_with_401(make_crm):
    assert (await _pushed(await make_crm(allow_from=("10.0.0.0/8",)))).status == 401
    assert (await _pushed(await make_crm(allow_from=("127.0.0.1",)))).status == 200


async def test_a_push_over_a_unix_socket_comes_from_this_machine(tmp_path, make_crm):
    async with admin_of((await make_crm()).program, path=str(tmp_path / "admin")) as served:
        assert (await _push(served)).status == 200
    async with admin_of((await make_crm(allow_from=("10.0.0.0/8",))).program, path=str(tmp_path / "other")) as served:
        assert (await _push(served)).status == 401


async def test_the_same_timestamp_and_token_again_keeps_the_generation(make_crm):
    crm = await make_crm(_held())
    said = {"token": BODY, "timestamp": NOW - 5}
    first = await _pushed(crm, said)
    again = await _pushed(crm, said)

    assert (again.status, again.json(), again.headers["ETag"]) == (200, first.json(), first.headers["ETag"])
    assert crm.generation == crm.begun + 1


async def test_another_token_with_the_same_timestamp_replaces(make_crm):
    crm = await make_crm()
    await _pushed(crm, {"token": BODY, "timestamp": NOW - 5})
    answer = await _pushed(crm, {"token": {**BODY, "access_token": "other"}, "timestamp": NOW - 5})

    assert (answer.status, answer.json()["generation"]) == (200, 2)
    assert crm.held.access_token == "other"


async def test_a_pushed_refresh_token_replaces_ours_and_without_one_ours_stays(make_crm):
    crm = await make_crm(_held(), refresh_token="ours")
    await _pushed(crm)
    kept = (await crm.store.load("crm")).refresh_token
    await _pushed(crm, {"access_token": "next", "refresh_token": "theirs"})

    assert (kept, (await crm.store.load("crm")).refresh_token) == ("ours", "theirs")


async def test_an_external_credential_drops_a_pushed_refresh_token(make_crm):
    crm = await make_crm(kind="external")
    await _pushed(crm, {**BODY, "refresh_token": "theirs"})

    assert (crm.held.access_token, (await crm.store.load("crm")).refresh_token) == ("pushed", None)


async def test_a_push_wakes_the_requests_that_wait(make_crm):
    crm = await make_crm()
    crm.issuer.gate.clear()
    waiting = [asyncio.create_task(crm.tokens.current()) for _ in range(5)]
    await settle()
    await _pushed(crm)

    assert [token.access_token for token in await asyncio.gather(*waiting)] == ["pushed"] * 5


async def test_a_push_wins_over_a_renewal_in_flight(make_crm):
    crm = await make_crm(_held(), refresh_token="ours")
    crm.issuer.gate.clear()
    renewal = asyncio.create_task(crm.tokens.renew_now())
    await settle()
    await _pushed(crm)
    crm.issuer.gate.set()
    await renewal
    await settle()

    assert crm.held.access_token == "pushed"


async def test_a_push_older_than_a_renewal_that_came_first_is_409(make_crm):
    crm = await make_crm()
    await crm.tokens.current()

    assert (await _pushed(crm, {"token": BODY, "timestamp": NOW - 1})).status == 409
    assert crm.held.access_token == "renewed-1"


async def test_a_seed_that_holds_no_token_makes_no_push_stale(make_crm):
    crm = await make_crm()
    await crm.store.save("crm", Grant(revision=1, refresh_token="seed", issued_at=NOW))
    await crm.tokens.look()

    assert (await _pushed(crm, {"token": BODY, "timestamp": NOW - 1})).status == 200


async def test_a_pushed_token_is_used_until_it_ends_and_no_longer(make_crm):
    crm = await make_crm(kind="external")
    await _pushed(crm, {"token": BODY, "timestamp": NOW - 3000})

    assert crm.tokens.ready().access_token == "pushed"
    await crm.program.clock.advance(600)
    assert crm.tokens.ready() is None


@pytest.mark.parametrize("said", [b"", b"no json", b"[]", {}, {"access_token": "a\r\n"}, {**BODY, "expires_in": -1}])
async def test_what_holds_no_token_is_400(said, make_crm):
    crm = await make_crm(_held())

    assert (await _pushed(crm, said)).status == 400
    assert crm.generation == crm.begun


@pytest.mark.parametrize("timestamp", [NOW - 101, NOW + 61])
async def test_a_push_older_than_what_is_held_or_from_the_future_is_409(timestamp, make_crm):
    crm = await make_crm(_held())

    assert (await _pushed(crm, {"token": BODY, "timestamp": timestamp})).status == 409
    assert crm.generation == crm.begun


async def test_a_push_older_than_max_age_is_409(make_crm):
    crm = await make_crm(max_age=300.0)

    assert (await _pushed(crm, {"token": BODY, "timestamp": NOW - 301})).status == 409
    assert (await _pushed(crm, {"token": BODY, "timestamp": NOW - 299})).status == 200


@pytest.mark.parametrize("expires_in", [0, 50])
async def test_an_expired_token_is_422(expires_in, make_crm):
    said = {"token": {**BODY, "expires_in": expires_in}, "timestamp": NOW - 50}

    assert (await _pushed(await make_crm(), said)).status == 422


async def test_a_body_over_16_kib_is_413_and_one_of_16_kib_is_not(make_crm):
    crm = await make_crm()
    full = json.dumps(BODY).encode().ljust(16 * 1024)

    assert (await _pushed(crm, full)).status == 200
    assert (await _pushed(crm, full + b" ")).status == 413


async def test_a_small_body_that_unpacks_to_a_large_one_is_413(make_crm):
    body = gzip.compress(json.dumps(BODY).encode().ljust(1024 * 1024))
    headers = {**RIGHT, "Content-Encoding": "gzip"}

    assert (await _pushed(await make_crm(), body, **headers)).status == 413


async def test_a_body_that_is_not_what_its_coding_says_is_400(make_crm):
    headers = {**RIGHT, "Content-Encoding": "gzip"}

    assert (await _pushed(await make_crm(), b"no gzip", **headers)).status == 400


@pytest.mark.parametrize(
    ("if_match", "status"),
    [
        ('"1"', 200),
        ("*", 200),
        ('"7", "1"', 200),
        ('"7"', 412),
        ('"10"', 412),
        ('W/"1"', 412),
        ("1", 412),
        ("", 412),
        ('"7", W/"1"', 412),
    ],
)
async def test_if_match_names_the_generation_that_must_be_held(if_match, status, make_crm):
    crm = await make_crm(_held())

    assert (await _pushed(crm, If_Match=if_match, **RIGHT)).status == status
    assert crm.generation - crm.begun == (status == 200)


async def test_while_nothing_is_held_any_generation_is_another(make_crm):
    for if_match in ("*", '"1"'):
        assert (await _pushed(await make_crm(), If_Match=if_match, **RIGHT)).status == 412


async def test_if_match_is_looked_at_after_the_guard_and_before_all_else(make_crm):
    crm = await make_crm(_held())
    async with admin_of(crm.program) as served:
        for said in (b"no json", {"token": BODY, "timestamp": 1}, {**BODY, "expires_in": 0}):
            assert (await _push(served, said, If_Match='"7"', **RIGHT)).status == 412
        assert (await _push(served, If_Match='"7"', Authorization="Bearer wrong")).status == 401


async def test_the_time_is_looked_at_before_the_expiry(make_crm):
    crm = await make_crm(_held())

    assert (await _pushed(crm, {"token": {**BODY, "expires_in": 1}, "timestamp": NOW - 200})).status == 409


async def test_of_two_pushes_at_once_with_the_same_if_match_one_wins(make_crm):
    crm = await make_crm(_held())
    async with admin_of(crm.program) as served:
        answers = await asyncio.gather(*(_push(served, If_Match='"1"', **RIGHT) for _ in range(10)))

    assert sorted(answer.status for answer in answers) == [200] + [412] * 9
    assert crm.generation == crm.begun + 1


async def test_if_match_holds_even_against_a_renewal_that_is_just_being_saved(make_crm):
    crm = await make_crm(_held())
    crm.store.gate.clear()
    async with admin_of(crm.program) as served:
        renewal = asyncio.create_task(crm.tokens.renew_now())
        while crm.issuer.issued == 0:
            await asyncio.sleep(0)
        push = asyncio.create_task(_push(served, If_Match='"1"', **RIGHT))
        await asyncio.sleep(0.05)
        crm.store.gate.set()
        answer = await push
        await renewal

    assert (answer.status, crm.held.access_token) == (412, "renewed-1")


async def test_of_pushes_at_once_the_newest_stays(make_crm):
    crm = await make_crm(_held())
    said = [{"token": {**BODY, "access_token": f"t{age}"}, "timestamp": NOW - age} for age in (5, 50, 1, 99, 20)]
    async with admin_of(crm.program) as served:
        await asyncio.gather(*(_push(served, one) for one in said))

    assert crm.held.access_token == "t1"


async def test_ten_refused_guards_a_minute_are_told_so_and_then_it_is_429(make_crm):
    crm = await make_crm()
    async with admin_of(crm.program) as served:
        statuses = [(await _push(served, Authorization="Bearer wrong")).status for _ in range(11)]
        last = await _push(served, Authorization="Bearer wrong")
        right = [(await _push(served)).status for _ in range(15)]
        await crm.program.clock.advance(60)
        later = await _push(served, Authorization="Bearer wrong")

    assert statuses == [401] * 10 + [429]
    assert last.headers["Retry-After"] == "60"
    assert right == [200] * 15
    assert later.status == 401


async def test_the_limit_does_not_tell_which_names_exist(make_crm):
    crm = await make_crm()
    async with admin_of(crm.program) as served:
        wrong = {"Authorization": "Bearer wrong"}
        answers = {
            name: [(await _push(served, name=name, **wrong)).status for _ in range(11)] for name in ("x1", "crm", "x2")
        }

    assert set(map(tuple, answers.values())) == {(401,) * 10 + (429,)}


async def test_the_update_listener_serves_pushes_alone_to_any_host(make_crm):
    crm = await make_crm()
    async with update_of(crm.program) as served:
        answer = await _push(served, Host="sidecar.example:9903", **RIGHT)
        others = [await served.ask("GET", path) for path in ("/", "/healthz", "/status", "/metrics", "/config")]
        mutations = [await served.ask("POST", path) for path in ("/reload", "/quit", "/credentials/crm/refresh")]
        read = await served.ask("GET", "/credentials/crm/token")

    assert answer.status == 200
    assert {other.status for other in (*others, *mutations)} == {404}
    assert (read.status, read.headers["Allow"]) == (405, "POST, PUT")


async def test_a_browser_on_another_site_cannot_push_even_with_the_guard(make_crm):
    assert (await _pushed(await make_crm(), Origin="https://evil.example", **RIGHT)).status == 403


async def test_every_outcome_is_counted_for_credentials_that_exist(make_crm):
    crm = await make_crm(_held())
    async with admin_of(crm.program) as served:
        said = {"token": BODY, "timestamp": NOW - 5}
        for _ in range(2):
            await _push(served, said)
        await _push(served, b"no json")
        await _push(served, {"token": BODY, "timestamp": 1})
        await _push(served, {**BODY, "expires_in": 0})
        await _push(served, If_Match='"1"', **RIGHT)
        await _push(served, b" " * 20_000)
        for _ in range(11):
            await _push(served, Authorization="Bearer wrong")
        await _push(served, name="nowhere")
        text = (await served.ask("GET", "/metrics")).text

    counted = {line.split("result=")[1] for line in text.splitlines() if line.startswith("auth_sidecar_token_updates")}
    assert counted == {
        '"accepted"} 1.0',
        '"unchanged"} 1.0',
        '"malformed"} 1.0',
        '"stale"} 1.0',
        '"expired"} 1.0',
        '"mismatched"} 1.0',
        '"too_large"} 1.0',
        '"refused"} 10.0',
        '"limited"} 1.0',
    }
    assert "nowhere" not in text


async def test_a_push_is_logged_without_what_it_brought(caplog, make_crm):
    caplog.set_level(logging.DEBUG)
    crm = await make_crm()
    async with admin_of(crm.program) as served:
        answer = await _push(served, {"access_token": "s3cret-a", "refresh_token": "s3cret-r"})
        await _push(served, Authorization="Bearer s3cret-g")
        await _push(served, {"access_token": "s3cret\n"})

    assert "token pushed" in caplog.text
    assert "wrong or missing guard" in caplog.text
    assert "s3cret" not in caplog.text + answer.text


async def test_a_body_that_does_not_come_in_time_is_408(make_crm):
    crm = await make_crm()
    crm.program.limits = Limits(header_timeout=Duration(0.05))
    async with admin_of(crm.program) as served:
        reader, writer = await asyncio.open_connection("127.0.0.1", served.port)
        writer.write(b"PUT /credentials/crm/token HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9\r\n\r\n{")
        head = await reader.readline()
        writer.write(b"        ")
        writer.close()
        await writer.wait_closed()

    assert b" 408 " in head
    assert crm.generation == crm.begun


async def test_a_caller_that_goes_away_in_the_middle_of_its_body_leaves_no_trace(caplog, make_crm):
    crm = await make_crm()
    async with admin_of(crm.program) as served:
        _, writer = await asyncio.open_connection("127.0.0.1", served.port)
        head = "PUT /credentials/crm/token HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer right\r\n"
        writer.write(f'{head}Content-Length: 100\r\n\r\n{{"access'.encode())
        await writer.drain()
        writer.close()
        await writer.wait_closed()
        assert (await _push(served)).status == 200

    assert crm.generation == crm.begun + 1
    assert "Traceback" not in caplog.text


@pytest.mark.parametrize("restarted", [False, True])
async def test_a_clock_that_was_a_day_ahead_makes_no_right_push_stale(restarted, make_crm):
    """Whatever was taken under it, here or by the process before."""
    crm = await make_crm()
    crm.program.clock.step_wall(86400)
    await crm.tokens.adopt(TokenResponse(_held(issued_wall=NOW + 86400, expires_wall=NOW + 90000, lifetime=3600.0)))
    crm.program.clock.step_wall(-86400)
    if restarted:
        await crm.tokens.stop()
        crm.tokens = manager_of(crm.program.clock, crm.issuer, crm.store)
        await crm.tokens.start()
        crm.program.credentials["crm"] = structs.replace(crm.program.credentials["crm"], tokens=crm.tokens)
    answer = await _pushed(crm, {"token": BODY, "timestamp": NOW - 2})
    assert (answer.status, crm.held.access_token) == (200, "pushed")
    assert answer.json()["expires_at"] == int(NOW) - 2 + 3600
    older = await _pushed(crm, {"token": {**BODY, "access_token": "older"}, "timestamp": NOW - 3})
    assert older.status == 409, "from then on the order is known"
