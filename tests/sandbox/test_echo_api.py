from __future__ import annotations

import asyncio
import hashlib
import io
import json

import aiohttp
import pytest
from joserfc import jwt
from joserfc.jwk import ECKey

from proxy.sandbox.proofs import token_hash

KEY = ECKey.generate_key("P-256")


@pytest.fixture
async def token(ask):
    _, body = await ask(grant_type="client_credentials")
    return body["access_token"]


async def raw(sandbox, request: bytes) -> bytes:
    reader, writer = await asyncio.open_connection("127.0.0.1", int(sandbox.url.rpartition(":")[2]))
    writer.write(request)
    answer = await reader.read()
    writer.close()
    await writer.wait_closed()
    return answer


async def test_the_echo_says_what_came_octet_for_octet(sandbox):
    head = b"PURGE /open/a%2Fb/..%2f%7E?x=%20+&y HTTP/1.1\r\nHost: h\r\nx-ODD: \xff\r\nx-ODD: 2\r\n"
    answer = await raw(sandbox, head + b"Content-Length: 5\r\nConnection: close\r\n\r\nhello")
    echo = json.loads(answer.partition(b"\r\n\r\n")[2])
    assert (echo["method"], echo["target"], echo["version"]) == ("PURGE", "/open/a%2Fb/..%2f%7E?x=%20+&y", "1.1")
    assert echo["headers"][:3] == [["Host", "h"], ["x-ODD", "\xff"], ["x-ODD", "2"]]
    assert (echo["body_length"], echo["body_sha256"]) == (5, hashlib.sha256(b"hello").hexdigest())


async def test_a_large_body_is_counted_and_hashed(http):
    body = bytes(range(256)) * 20_000
    async with http.put("/open/x", data=io.BytesIO(body)) as answer:
        echo = await answer.json()
    assert (echo["body_length"], echo["body_sha256"]) == (len(body), hashlib.sha256(body).hexdigest())


@pytest.mark.parametrize("path", ["/apix", "/", "/openly/x", "/open%2Fx"])
async def test_other_paths_are_not_found(http, path):
    async with http.get(path) as answer:
        assert answer.status == 404


async def test_a_valid_token_opens_the_api_until_it_expires(http, token, clock, sandbox):
    headers = {"Authorization": f"bearer {token}"}
    async with http.get("/api/x", headers=headers) as answer:
        assert answer.status == 200
        assert ["Authorization", f"bearer {token}"] in (await answer.json())["headers"]
    await clock.advance(3600)
    async with http.get("/api/x", headers=headers) as answer:
        assert answer.status == 401
        assert answer.headers["WWW-Authenticate"] == 'Bearer realm="sandbox", error="invalid_token"'
    assert (sandbox.counters.api_accepted, sandbox.counters.api_unauthorized) == (1, 1)


async def test_a_revoked_token_is_refused(http, token, sandbox):
    sandbox.ledger.revoke_access_tokens()
    async with http.get("/api/x", headers={"Authorization": f"Bearer {token}"}) as answer:
        assert answer.status == 401


async def test_a_request_without_a_token_is_told_what_is_wanted_and_no_error(http):
    async with http.get("/api/x") as answer:
        assert answer.status == 401
        assert answer.headers["WWW-Authenticate"].startswith('Bearer realm="sandbox", DPoP algs="')
        assert "error" not in answer.headers["WWW-Authenticate"]


@pytest.mark.parametrize("fields", [["Basic eDp5"], ["Bearer a", "Bearer b"], ["garbage"]])
async def test_other_credentials_are_an_invalid_request(http, fields):
    async with http.get("/api/x", headers=[("Authorization", field) for field in fields]) as answer:
        assert (answer.status, 'error="invalid_request"' in answer.headers["WWW-Authenticate"]) == (401, True)


@pytest.fixture
def signed(sandbox, clock, http):
    """One API request with a proof; `claims` change it."""

    async def send(token, *, scheme="DPoP", key=KEY, **claims):
        header = {"typ": "dpop+jwt", "alg": "ES256", "jwk": key.as_dict(private=False)}
        body = {"jti": clock.octets(9).hex(), "htm": "GET", "htu": f"{sandbox.url}/api/a%2Fb", "ath": token_hash(token)}
        value = jwt.encode(header, {**body, "iat": int(clock.wall()), **claims}, key, algorithms=["ES256"])
        headers = {"Authorization": f"{scheme} {token}", "DPoP": value}
        async with http.get("/api/a%2Fb?q=1", headers=headers) as answer:
            challenge = answer.headers.get("WWW-Authenticate", "")
            return answer.status, challenge, answer.headers.get("DPoP-Nonce")

    return send


@pytest.fixture
async def bound_token(sandbox, http, clock):
    header = {"typ": "dpop+jwt", "alg": "ES256", "jwk": KEY.as_dict(private=False)}
    claims = {"jti": "1", "htm": "POST", "htu": sandbox.token_endpoint, "iat": int(clock.wall())}
    headers = {"DPoP": jwt.encode(header, claims, KEY, algorithms=["ES256"])}
    form = {"grant_type": "client_credentials", "client_id": "sandbox", "client_secret": "sandbox-secret"}
    async with http.post("/oauth2/token", data=form, headers=headers) as answer:
        return (await answer.json())["access_token"]


async def test_a_bound_token_opens_the_api_with_a_proof_of_its_key_and_only_so(signed, bound_token, token, http):
    assert (await signed(bound_token))[0] == 200
    refused = [
        await signed(bound_token, scheme="Bearer"),
        await signed(token),
        await signed(bound_token, key=ECKey.generate_key("P-256")),
        await signed(bound_token, htm="POST"),
        await signed(bound_token, ath=token_hash("other")),
    ]
    assert [(status, challenge.split(",")[-1].split("=")[-1]) for status, challenge, _ in refused[:2]] == [
        (401, '"invalid_token"'),
        (401, '"invalid_token"'),
    ]
    assert [(status, challenge.split('"')[1]) for status, challenge, _ in refused[2:]] == [
        (401, "invalid_token"),
        (401, "invalid_dpop_proof"),
        (401, "invalid_dpop_proof"),
    ]
    async with http.get("/api/a%2Fb", headers={"Authorization": f"DPoP {bound_token}"}) as answer:
        assert (answer.status, "exactly one proof" in answer.headers["WWW-Authenticate"]) == (401, True)


async def test_a_nonce_that_changes_with_every_answer_is_wanted_back_at_once(signed, bound_token, sandbox):
    sandbox.script.change(dpop_nonces="every_request", dpop_nonce_window=1)
    status, challenge, nonce = await signed(bound_token)
    assert (status, challenge.split('"')[1]) == (401, "use_dpop_nonce")
    first = nonce
    for _ in range(3):
        status, _, newer = await signed(bound_token, nonce=nonce)
        assert status == 200
        assert newer != nonce
        nonce = newer
    assert (await signed(bound_token, nonce=first))[0] == 401


async def test_the_nonces_of_the_api_are_not_those_of_the_token_endpoint(signed, bound_token, sandbox, http):
    sandbox.script.change(dpop_nonces="required")
    async with http.post("/oauth2/token", data={}) as answer:
        nonce_of_the_token_endpoint = answer.headers["DPoP-Nonce"]
    status, challenge, _ = await signed(bound_token, nonce=nonce_of_the_token_endpoint)
    assert (status, challenge.split('"')[1]) == (401, "use_dpop_nonce")


async def test_events_come_one_by_one(http, token, clock):
    headers = {"Authorization": f"Bearer {token}"}
    async with http.get("/api/events?count=2&interval=60", headers=headers) as answer:
        assert answer.content_type == "text/event-stream"
        assert await answer.content.readuntil(b"\n\n") == b"id: 1\ndata: event 1\n\n"
        while not clock.sleeping:
            await asyncio.sleep(0)
        await clock.advance(60)
        assert await answer.content.read() == b"id: 2\ndata: event 2\n\n"


async def test_events_are_counted_in_numbers(http):
    async with http.get("/open/events?count=many") as answer:
        assert answer.status == 400


async def test_a_websocket_says_everything_back_and_wants_a_token_under_api(http, token):
    with pytest.raises(aiohttp.WSServerHandshakeError, match="401"):
        await http.ws_connect("/api/socket")
    async with http.ws_connect("/api/socket", headers={"Authorization": f"Bearer {token}"}) as socket:
        await socket.send_str("héllo")
        assert await socket.receive_str() == "héllo"
        await socket.send_bytes(b"\x00\xff")
        assert await socket.receive_bytes() == b"\x00\xff"


async def test_api_faults_strike_with_and_without_a_token(http, token, sandbox):
    sandbox.script.change(api_faults=[{"kind": "status", "status": 503, "times": 2}])
    for path in ("/api/x", "/open/x"):
        async with http.get(path, headers={"Authorization": f"Bearer {token}"}) as answer:
            assert answer.status == 503
    assert sandbox.counters.api_requests.total == 2
