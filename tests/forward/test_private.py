"""Connections that carry an identity serve one app connection: the upstream knows who it is by where it comes from."""

from __future__ import annotations

import asyncio
import base64
from typing import Any

import pytest
from support.front import Gate, request
from support.recording_upstream import CLOSE, ECHO, RESET, Received, RecordingUpstream

from proxy.auth.bearer import BearerScheme
from proxy.config import schema
from proxy.forward import private

CHALLENGE = b"HTTP/1.1 401 No\r\nWWW-Authenticate: %b\r\nContent-Length: 0\r\n\r\n"
UPGRADE = ("Connection: Upgrade", "Upgrade: websocket")
PLAIN: dict[str, Any] = {"credential": False}
KEEPING: dict[str, Any] = {"route": {"on_client_authorization": "keep"}}


class Ntlm:
    """An API that authenticates connections: who has said its third message may do anything over that connection.

    It answers with the name that it knows the connection by. `seen`: of each request, its connection and that name.
    """

    def __init__(self, scheme: bytes = b"NTLM") -> None:
        self.scheme = scheme
        self.known: dict[int, bytes] = {}
        self.seen: list[tuple[int, bytes]] = []

    def __call__(self, received: Received):
        said = received.field(b"authorization") or b""
        word, _, message = said.partition(b" ")
        name = self.known.get(received.connection, b"nobody")
        if word.lower() == self.scheme.lower():
            kind, _, who = base64.b64decode(message).partition(b":")
            if kind == b"1":
                return (CHALLENGE % (self.scheme + b" " + base64.b64encode(b"2:")),)
            name = self.known[received.connection] = who
        self.seen.append((received.connection, name))
        if name == b"nobody":
            return (CHALLENGE % self.scheme,)
        return (b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(name), name),)


def message(kind: int, who: str = "", scheme: str = "NTLM") -> str:
    return f"Authorization: {scheme} " + base64.b64encode(f"{kind}:{who}".encode()).decode()


async def shake_hands(client, who: str, scheme: str = "NTLM") -> None:
    """The three messages (MS-NTHT), over whatever connection they are given."""
    assert (await client.ask(request("GET", "/crm", message(1, scheme=scheme)))).status == 401
    answer = await client.ask(request("GET", "/crm", message(3, who, scheme)))
    assert (answer.status, answer.body) == (200, who.encode())


@pytest.fixture(params=["NTLM", "Negotiate", "ntlm", "NEGOTIATE"])
def scheme(request):
    return request.param


@pytest.fixture
async def ntlm(scheme):
    async with RecordingUpstream(answer=Ntlm(scheme.encode())) as upstream:
        yield upstream


@pytest.mark.parametrize("how", [PLAIN, KEEPING], ids=["pass through", "keep"])
async def test_nobody_is_answered_as_another(ntlm, scheme, how):
    async with Gate(ntlm.url, **how) as gate, gate.client() as alice, gate.client() as bob, gate.client() as eve:
        assert (await alice.ask(request())).status == 401
        await shake_hands(alice, "alice", scheme)
        assert (await eve.ask(request())).status == 401
        await shake_hands(bob, "bob", scheme)
        for client, who in ((alice, b"alice"), (bob, b"bob")) * 3:
            assert (await client.ask(request())).body == who
            assert (await client.ask(request("POST", body=b"x"))).body == who
        assert (await eve.ask(request())).status == 401
    assert {name for _, name in ntlm.answer.seen} == {b"alice", b"bob", b"nobody"}


async def test_the_connection_ends_with_the_app_and_is_nobodys_afterwards(ntlm, scheme):
    async with Gate(ntlm.url, **PLAIN) as gate:
        async with gate.client() as alice:
            await shake_hands(alice, "alice", scheme)
            assert gate.pool._idle == []
            assert ntlm.open_connections == 1
        async with asyncio.timeout(30):
            await ntlm.until(lambda: True if not ntlm.open_connections else None)
            while gate.pool.open:
                await asyncio.sleep(0.005)
        async with gate.client() as eve:
            assert (await eve.ask(request())).status == 401
    assert [name for _, name in ntlm.answer.seen] == [b"alice", b"nobody"]


async def test_a_challenge_alone_makes_it_the_apps_own(upstream):
    """The messages that follow belong on the connection that asked for them."""
    upstream.script(
        b"HTTP/1.1 401 No\r\nWWW-Authenticate: Basic realm=a, Negotiate\r\n"
        b"www-authenticate: NTLM\r\nContent-Length: 0\r\n\r\n"
    )
    async with Gate(upstream.url, **PLAIN) as gate, gate.client() as alice, gate.client() as eve:
        await alice.ask(request())
        await eve.ask(request())
        await alice.ask(request())
    assert [one.connection for one in upstream.requests] == [1, 2, 1]


@pytest.mark.parametrize(
    "challenge", [b"Basic realm=x", b"Bearer", b'Digest nonce="NTLMish"', b"NTLMv9", b"NegotiateX a"]
)
async def test_other_schemes_are_shared_as_before(upstream, challenge):
    upstream.script(CHALLENGE % challenge)
    async with Gate(upstream.url, **PLAIN) as gate, gate.client() as alice, gate.client() as eve:
        await alice.ask(request("GET", "/crm", "Authorization: Basic TlRMTQ=="))
        await eve.ask(request("GET", "/crm", "Authorization: Bearer NTLM"))
        await alice.ask(request("GET", "/crm", "X-Authorization: NTLM a", "X: Negotiate"))
    assert [one.connection for one in upstream.requests] == [1, 1, 1]


async def test_an_identity_that_is_not_passed_on_makes_nothing_private(upstream):
    """The credential takes its place, and what the upstream says of the app's scheme is not the app's to answer."""
    upstream.script(CHALLENGE % b"NTLM")
    async with Gate(upstream.url, tokens=None) as gate, gate.client() as alice, gate.client() as eve:
        await alice.ask(request("GET", "/crm", message(1)))
        await eve.ask(request())
    assert {one.connection for one in upstream.requests} == {1}


@pytest.mark.parametrize("value", ["Negotiate YII=", "ntlm TlRM"])
async def test_an_identity_that_we_set_is_no_more_shared(upstream, value):
    """Another route without it leads to the same origin."""
    more = ({"match": schema.Match(path="/plain")},)
    gate = Gate(upstream.url, credential=False, set_fields={"Authorization": value}, more_routes=more)
    async with gate, gate.client() as alice, gate.client() as eve:
        await alice.ask(request())
        await eve.ask(request())
        await alice.ask(request())
    assert [one.connection for one in upstream.requests] == [1, 2, 1]


@pytest.mark.parametrize("prefix", ["Negotiate ", "NTLM "])
async def test_nor_is_one_of_our_credential(upstream, prefix):
    scheme = BearerScheme(prefix=prefix)
    async with Gate(upstream.url, scheme=scheme) as gate, gate.client() as alice, gate.client() as eve:
        for client in (alice, eve, alice, eve):
            await client.ask(request())
    assert [one.connection for one in upstream.requests] == [1, 2, 1, 2]


async def test_routes_to_one_origin_share_it_and_other_origins_do_not(ntlm, scheme):
    async with RecordingUpstream() as other:
        more = ({"match": schema.Match(path="/b")}, {"match": schema.Match(path="/c"), "upstream": other.url})
        async with Gate(ntlm.url, **PLAIN, more_routes=more) as gate, gate.client() as alice:
            await shake_hands(alice, "alice", scheme)
            assert (await alice.ask(request("GET", "/b/x"))).body == b"alice"
            assert (await alice.ask(request("GET", "/c/x"))).body == b"ok"
            assert (await alice.ask(request())).body == b"alice"


@pytest.mark.parametrize("end", [CLOSE, RESET])
async def test_one_that_died_is_replaced_by_one_without_an_identity(ntlm, scheme, end):
    async with Gate(ntlm.url, **PLAIN) as gate, gate.client() as alice:
        await shake_hands(alice, "alice", scheme)
        ntlm.script(end)
        assert (await alice.ask(request())).status == 401
        await shake_hands(alice, "alice", scheme)
        assert (await alice.ask(request())).body == b"alice"
        assert len(gate.pool.open) == 1


async def test_one_that_is_used_for_a_tunnel_is_the_tunnels_and_the_others_end(upstream):
    upstream.script(CHALLENGE % b"NTLM")
    upstream.script(b"HTTP/1.1 101 Go\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n", ECHO)
    async with RecordingUpstream(answer=CHALLENGE % b"NTLM") as other:
        more = ({"match": schema.Match(path="/other"), "upstream": other.url},)
        async with Gate(upstream.url, **PLAIN, more_routes=more) as gate, gate.client() as alice:
            await alice.ask(request())
            await alice.ask(request("GET", "/other"))
            assert other.open_connections == 1
            assert (await alice.ask(request("GET", "/crm", *UPGRADE))).status == 101
            await other.until(lambda: True if not other.open_connections else None)
            await alice.send(b"hello")
            assert await alice.reader.readexactly(5) == b"hello"
    assert [one.connection for one in upstream.requests] == [1, 1]


async def test_one_of_a_configuration_that_is_gone_is_not_kept(ntlm, scheme):
    async with Gate(ntlm.url, **PLAIN) as gate, gate.client() as alice:
        await shake_hands(alice, "alice", scheme)
        gate.pool.retire()
        await ntlm.until(lambda: True if not ntlm.open_connections else None)
        await alice.ask(request())
        await ntlm.until(lambda: True if not ntlm.open_connections or ntlm.connections == 2 else None)


async def test_an_app_that_pipelines_has_one_connection_for_all_of_it(ntlm, scheme):
    async with Gate(ntlm.url, **PLAIN) as gate, gate.client() as alice:
        await alice.send(
            request("GET", "/crm", message(1, scheme=scheme))
            + request("GET", "/crm", message(3, "a", scheme))
            + request()
        )
        assert [(await alice.answer()).status for _ in range(3)] == [401, 200, 200]
        assert ntlm.connections == 1


@pytest.mark.parametrize(
    ("section", "does"),
    [
        (b"\r\nAuthorization: NTLM x\r\n", True),
        (b"\r\nauthorization:\tnegotiate\r\n", True),
        (b"\r\nAuthorization: Bearer NTLM\r\n", False),
        (b"\r\nProxy-Authorization: NTLM x\r\n", False),
        (b"\r\nX: a\r\nAUTHORIZATION:Negotiate x\r\n", True),
        (b"\r\nAuthorization: NTLMx\r\n", False),
    ],
)
def test_what_authenticates_a_connection(section, does):
    assert private.authenticates(section) is does
