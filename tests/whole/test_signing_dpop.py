"""DPoP through the whole program: keys from files, and APIs that want nonces in every way there is."""

from __future__ import annotations

import asyncio
import base64
import hashlib

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from joserfc.jwk import ECKey, OKPKey, RSAKey
from support.dpop import verified
from support.front import Client
from support.issuer import scripted_issuer
from support.oidc_provider.resource_server import ResourceServer
from support.process import Program
from support.recording_upstream import ECHO, OK, RecordingUpstream
from support.settings import client_credentials, one_route

BOUND = {"access_token": "bound", "token_type": "DPoP", "expires_in": 3600}
WANTED = (
    b'HTTP/1.1 401 No\r\nWWW-Authenticate: DPoP error="use_dpop_nonce"\r\nDPoP-Nonce: %b\r\nContent-Length: 0\r\n\r\n'
)

SWITCHING = b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
KINDS: dict[str, type[ECKey | OKPKey | RSAKey]] = {"ES384": ECKey, "EdDSA": OKPKey, "PS256": RSAKey}


@pytest.fixture
async def issuer():
    async with scripted_issuer() as running:
        running.script.extend([BOUND] * 10)
        yield running


@pytest.fixture
def program(issuer, upstream, tmp_path):
    """A program with a bound token for what comes below /api."""

    def make(base="", **dpop):
        made = client_credentials(f"{issuer.url}/token", dpop=dpop or True)
        return Program(one_route(upstream.url + base, made), tmp_path)

    return make


async def octets(program, sent):
    """What comes back for one request on a connection of its own, octet for octet, until its last chunk."""
    host, _, port = program.url.removeprefix("http://").partition(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    writer.write(sent)
    said = await reader.readuntil(b"the end\r\n\r\n")
    writer.close()
    return said


def proofs(upstream):
    """The claims of every proof that came, each verified with the key that it carries."""
    return [verified(one.field(b"dpop")) for one in upstream.requests]


def nonces(upstream):
    return [claims.get("nonce") for claims in proofs(upstream)]


def changing():
    """An API that takes nothing but the nonce of its last answer."""
    newest = [b"nonce-0"]
    statuses = []

    def answer(one):
        good = verified(one.field(b"dpop")).get("nonce") == newest[0].decode()
        newest[0] = b"nonce-%d" % (int(newest[0][6:]) + 1)
        statuses.append(200 if good else 401)
        return (OK.replace(b"\r\n", b"\r\nDPoP-Nonce: %b\r\n" % newest[0], 1) if good else WANTED % newest[0],)

    upstream = RecordingUpstream(answer=answer)
    return upstream, statuses


@pytest.mark.peer("oidc_provider")
@pytest.mark.parametrize(
    ("alg", "generate"),
    [
        ("ES384", lambda: ec.generate_private_key(ec.SECP384R1())),
        ("EdDSA", ed25519.Ed25519PrivateKey.generate),
        ("PS256", lambda: rsa.generate_private_key(65537, 2048)),
    ],
)
async def test_a_key_from_a_file_binds_the_token_and_only_the_first_request_is_refused(
    provider, tmp_path, fetch, alg, generate
):
    pem = generate().private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    (tmp_path / "dpop.pem").write_bytes(pem)
    await provider.set(require_nonce=True)
    dpop = {"alg": alg, "key": {"file": "dpop.pem"}}
    made = client_credentials(provider.token_endpoint, "dpop", provider.secrets["dpop"], dpop=dpop)
    async with ResourceServer(provider, dpop=True) as api, Program(one_route(api.url, made), tmp_path) as running:
        for number in range(10):
            assert (await fetch(f"{running.url}/api/{number}?q"))[0] == 200
        bound = await provider.introspect(api.tokens[0])
    assert api.statuses == [401] + [200] * 10
    assert (await provider.stats())["statuses"] == {"400": 1, "200": 1}
    assert bound["cnf"]["jkt"] == KINDS[alg].import_key(pem).thumbprint()


async def test_every_proof_is_for_one_attempt_and_names_it(program, upstream, fetch):
    """D1, D2 and D3."""
    async with program("/v2") as running:
        await fetch(f"{running.url}/api/a%2Fb;c/%7E?secret=1")
        await fetch(f"{running.url}/api/x", "DELETE")
    first, second = proofs(upstream)
    assert (first["htm"], first["htu"]) == ("GET", f"{upstream.url}/v2/a%2Fb;c/%7E")
    assert (second["htm"], second["htu"]) == ("DELETE", f"{upstream.url}/v2/x")
    assert first["jti"] != second["jti"]
    assert first["ath"] == base64.urlsafe_b64encode(hashlib.sha256(b"bound").digest()).rstrip(b"=").decode()
    assert {one.field(b"authorization") for one in upstream.requests} == {b"DPoP bound"}


async def test_htu_is_the_url_that_the_verifier_sees(program, upstream, fetch):
    """D3."""
    async with program("/internal", htu_base="https://Public.example:443/base") as running:
        assert (await fetch(f"{running.url}/api/a%2Fb?q=1"))[0] == 200
    assert upstream.requests[0].target == b"/internal/a%2Fb?q=1"
    assert proofs(upstream)[0]["htu"] == "https://public.example/base/a%2Fb"


async def test_two_apis_of_one_token_have_their_own_nonces(issuer, tmp_path, fetch):
    """D5 and D7."""
    (one, of_one), (two, of_two) = changing(), changing()
    async with one, two:
        config = one_route(one.url, client_credentials(f"{issuer.url}/token", dpop=True))
        config["routes"].append({"match": "/two", "upstream": two.url, "credential": "main"})
        async with Program(config, tmp_path) as running:
            for _ in range(5):
                assert (await fetch(running.url + "/api/x"))[0] == 200
                assert (await fetch(running.url + "/two/x", "POST", data=b"body"))[0] == 200
    assert of_one == of_two == [401] + [200] * 5
    assert issuer.count == 1
    assert [bytes(one.body) for one in two.requests] == [b"body"] * 6


async def test_a_wish_that_never_ends_is_granted_once_per_request(program, upstream, issuer, fetch):
    """D6."""
    made = iter(range(100))
    upstream.answer = lambda _: (WANTED % b"n%d" % next(made),)
    async with program() as running:
        for _ in range(2):
            assert (await fetch(running.url + "/api/x"))[0] == 401
    assert nonces(upstream) == [None, "n0", "n1", "n2"]
    assert issuer.count == 1


async def test_the_same_nonce_again_is_no_reason_to_ask_again(program, upstream, issuer, fetch):
    """D6."""
    upstream.answer = WANTED % b"same"
    async with program() as running:
        for _ in range(2):
            assert (await fetch(running.url + "/api/x"))[0] == 401
    assert nonces(upstream) == [None, "same", "same"]
    assert issuer.count == 1


CHALLENGES = [
    b'WWW-Authenticate: Bearer realm="a, b", error="invalid_token", DPoP algs="ES256", error="use_dpop_nonce"',
    b'WWW-Authenticate: DPoP error="use_dpop_nonce", Bearer realm="x"',
    b'WWW-Authenticate: Bearer error="invalid_token"\r\nwww-authenticate: dpop algs="x" , Error = use_dpop_nonce',
    b'WWW-Authenticate: Negotiate abc==, DPoP error_description="a \\" DPoP error=x", error="use_dpop_nonce"',
]


async def test_the_wish_for_a_nonce_is_found_among_other_challenges(program, upstream, issuer, fetch):
    """D8."""
    expected: list[str | None] = [None]
    async with program() as running:
        for number, challenge in enumerate(CHALLENGES):
            nonce = f"n{number}"
            refusal = b"HTTP/1.1 401 No\r\n%b\r\nDPoP-Nonce: %b\r\nContent-Length: 0\r\n\r\n"
            upstream.script(refusal % (challenge, nonce.encode()))
            assert (await fetch(running.url + "/api/x"))[0] == 200
            expected += [nonce, nonce]
    assert (nonces(upstream), issuer.count) == (expected[:-1], 1)


async def test_no_nonce_reaches_the_app_in_any_part_of_an_answer(program, upstream):
    """D14."""
    upstream.answer = (
        b"HTTP/1.1 103 Early\r\nLink: </a>\r\nDPoP-Nonce: early\r\n\r\n"
        b"HTTP/1.1 200 OK\r\ndpop-nonce: head\r\nX-Mine: 1\r\nTransfer-Encoding: chunked\r\nTrailer: DPoP-Nonce\r\n\r\n"
        b"2\r\nok\r\n0\r\nDPoP-Nonce: trailer\r\nX-End: the end\r\n\r\n"
    )
    async with program() as running:
        said = await octets(running, b"GET /api/x HTTP/1.1\r\nHost: localhost\r\n\r\n")
    assert b"HTTP/1.1 103 " in said
    assert b"Link: </a>" in said
    assert b"X-Mine: 1" in said
    assert b"dpop-nonce" not in said.lower().replace(b"trailer: dpop-nonce", b"")
    assert b": trailer" not in said


async def test_a_websocket_is_opened_with_a_nonce_and_its_answer_teaches_the_next(program, upstream, fetch):
    """D13."""
    upstream.script(WANTED % b"first")
    upstream.script(SWITCHING + b"DPoP-Nonce: second\r\n\r\n", ECHO)
    async with program() as running:
        host, _, port = running.url.removeprefix("http://").partition(":")
        client = Client(*await asyncio.open_connection(host, int(port)))
        answer = await client.ask(
            b"GET /api/ws HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
            b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
        )
        assert (answer.status, answer.all(b"dpop-nonce")) == (101, [])
        await client.send(b"both ways")
        assert await client.reader.readexactly(9) == b"both ways"
        assert (await fetch(running.url + "/api/x"))[0] == 200
        client.writer.close()
    assert nonces(upstream) == [None, "first", "second"]
    assert [claims["htu"] for claims in proofs(upstream)] == [f"{upstream.url}/{path}" for path in ("ws", "ws", "x")]


async def test_a_token_that_is_not_bound_is_a_failure(program, upstream, issuer, fetch):
    """D9."""
    issuer.script.clear()
    async with program() as running:
        status, headers, body = await fetch(running.url + "/api/x")
        assert status in (502, 503)
        assert "at-1" not in f"{list(headers.items())}{body!r}{running.log}"
    assert upstream.requests == []
