"""What goes out with which credential, and what its answer says about it."""

from __future__ import annotations

import asyncio

import pytest
from support.front import Gate, ScriptedTokens, request
from support.recording_upstream import READ, Received

from proxy.auth.bearer import BearerScheme
from proxy.auth.oauth1 import OAuth1Scheme
from proxy.auth.signature import OAuth1Keys
from proxy.config import schema
from proxy.errors import CallerUnknown
from proxy.model import Token, Verdict

NO = b"HTTP/1.1 401 No\r\nContent-Length: 2\r\n\r\nno"


class Inconstant(BearerScheme):
    """Signs each attempt anew; `verdicts`: what it says of the answers, in order."""

    constant = False
    learns = False

    def __init__(self, *verdicts: Verdict) -> None:
        super().__init__()
        self.verdicts = list(verdicts)
        self.judged: list[tuple[int, bytes]] = []

    def judge(self, request, answer, signed=()):  # noqa: ARG002
        self.judged.append((answer.status, answer.body))
        return self.verdicts.pop(0) if self.verdicts else Verdict.PASS


class Learning(Inconstant):
    learns = True


async def test_a_new_signature_is_granted_once(upstream):
    upstream.answer = NO
    scheme = Inconstant(Verdict.RESIGN, Verdict.RESIGN)
    tokens = ScriptedTokens("t", "never")
    async with Gate(upstream.url, scheme=scheme, tokens=tokens) as gate:
        assert (await gate.ask(request())).status == 401
        assert gate.live_route.stats.retries == {"nonce": 1}
    assert len(upstream.requests) == 2
    assert tokens.refused == []


async def test_a_new_signature_and_a_new_token_are_three_sends_at_most(upstream):
    upstream.answer = NO
    scheme = Inconstant(Verdict.RESIGN, Verdict.RENEW, Verdict.RENEW)
    async with Gate(upstream.url, scheme=scheme, tokens=ScriptedTokens("t", "u")) as gate:
        assert (await gate.ask(request())).status == 401
    assert [one.field(b"authorization") for one in upstream.requests] == [b"Bearer t", b"Bearer t", b"Bearer u"]


async def test_the_body_of_a_refusal_is_there_when_it_is_judged(upstream):
    rest = asyncio.Event()
    upstream.script(b"HTTP/1.1 400 No\r\nContent-Length: 9\r\n\r\ntime", rest, b"stamp")
    scheme = Inconstant()
    async with Gate(upstream.url, scheme=scheme) as gate, gate.client() as client:
        await client.send(request())
        await upstream.received()
        asyncio.get_running_loop().call_later(0.05, rest.set)
        assert (await client.answer()).body == b"timestamp"
    assert scheme.judged == [(400, b"timestamp")]


async def test_a_refusal_whose_body_does_not_end_is_judged_by_what_there_is(upstream, later):
    upstream.script(b"HTTP/1.1 403 No\r\nContent-Length: 9\r\n\r\ntime", asyncio.Event())
    scheme = Inconstant()
    async with Gate(upstream.url, clock=later, scheme=scheme) as gate, gate.client() as client:
        await client.send(request())
        async with asyncio.timeout(30):
            while not any(one.exchange is not None and one.exchange.held for one in gate.apps):
                await asyncio.sleep(0.005)
        later(61)
        assert (await client.reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 403 No")
        assert await client.reader.readexactly(4) == b"time"
    assert scheme.judged == [(403, b"time")]


async def test_a_scheme_that_learns_sees_every_answer_at_once_and_its_nonce_goes_no_further(upstream):
    rest = asyncio.Event()
    upstream.script(b"HTTP/1.1 200 OK\r\nDPoP-Nonce: n\r\nContent-Length: 4\r\n\r\nab", rest, b"cd")
    scheme = Learning()
    async with Gate(upstream.url, scheme=scheme) as gate, gate.client() as client:
        await client.send(request())
        head = await client.reader.readuntil(b"ab")
        assert b"nonce" not in head.lower()
        assert scheme.judged == [(200, b"ab")]
        rest.set()
        assert await client.reader.readexactly(2) == b"cd"


async def test_an_oauth_1_refusal_passes_untouched(upstream):
    """E9."""
    upstream.answer = NO
    scheme = OAuth1Scheme("k", OAuth1Keys(consumer_secret="s"))
    tokens = ScriptedTokens("unused", "never")
    async with Gate(upstream.url, scheme=scheme, tokens=tokens) as gate:
        assert (await gate.ask(request())).status == 401
    assert tokens.refused == []
    assert len(upstream.requests) == 1
    assert (upstream.requests[0].field(b"authorization") or b"").startswith(b"OAuth ")


async def test_a_route_without_the_plain_rule_renews_on_no_401(upstream):
    upstream.answer = NO
    rules = (schema.RefreshRule(status=403, body_contains="TokenExpired"),)
    tokens = ScriptedTokens("t", "u")
    async with Gate(upstream.url, tokens=tokens, route={"refresh_on": rules}) as gate:
        assert (await gate.ask(request())).status == 401
    assert tokens.refused == []


async def test_without_repeating_the_token_is_renewed_for_the_next_request(upstream):
    upstream.script(NO)
    tokens = ScriptedTokens("t", "u")
    route = {"retry": schema.Retry(on_unauthorized=False)}
    async with Gate(upstream.url, tokens=tokens, route=route) as gate:
        assert (await gate.ask(request())).status == 401
        assert (await gate.ask(request())).status == 200
    assert [one.field(b"authorization") for one in upstream.requests] == [b"Bearer t", b"Bearer u"]


class ByTenant:
    """Tokens by the value of a field."""

    strips: tuple[bytes, ...] = (b"x-tenant",)

    def __init__(self) -> None:
        self.tokens: dict[bytes, ScriptedTokens] = {}

    def pick(self, request, field):  # noqa: ARG002
        tenant = field(b"x-tenant")
        if tenant is None:
            raise CallerUnknown("Who is it for?")
        return self.tokens.setdefault(tenant, ScriptedTokens(None, tenant.decode() + "-1", tenant.decode() + "-2"))

    def whose(self, tokens):
        return tokens


async def test_each_tenant_has_its_own_token_and_its_name_goes_no_further(upstream):
    def answer(received: Received):
        return (
            (NO,)
            if (received.field(b"authorization") or b"").endswith(b"b-1")
            else (b"HTTP/1.1 204 No Content\r\n\r\n",)
        )

    upstream.answer = answer
    async with Gate(upstream.url, picker=ByTenant()) as gate, gate.client() as client:
        for tenant in ("a", "b", "a", "b"):
            assert (await client.ask(request("GET", "/crm", f"X-Tenant: {tenant}", "x_tenant: z"))).status == 204
        assert (await client.ask(request())).status == 401
    seen = [one.field(b"authorization") for one in upstream.requests]
    assert seen == [b"Bearer " + one for one in (b"a-1", b"b-1", b"b-2", b"a-1", b"b-2")]
    assert all(b"tenant" not in one.head.lower() for one in upstream.requests)


async def test_the_refusals_of_one_tenant_stop_the_renewals_of_no_other(upstream):
    def answer(received: Received):
        sent = received.field(b"authorization") or b""
        return (NO,) if b"bad" in sent or sent.endswith(b"-1") else (b"HTTP/1.1 204 No Content\r\n\r\n",)

    upstream.answer = answer
    picker = ByTenant()
    async with Gate(upstream.url, picker=picker) as gate, gate.client() as client:
        for tenant, status in (("bad", 401), ("bad", 401), ("good", 204), ("bad", 401)):
            assert (await client.ask(request("GET", "/crm", f"X-Tenant: {tenant}"))).status == status
    assert picker.tokens[b"bad"].refused == ["bad-1"], "its own have stopped"
    assert picker.tokens[b"good"].refused == ["good-1"]


async def test_ready_made_fields_replace_the_apps_copies_and_their_aliases(upstream):
    tokens = ScriptedTokens("unused")
    tokens.token = Token(access_token="", fields=((b"X-Sign", b"ours"), (b"X-Date", b"now")))
    async with Gate(upstream.url, tokens=tokens) as gate:
        await gate.ask(request("GET", "/crm", "x-sign: evil", "X_Sign: evil", "X-DATE: evil", "X-Signed: fine"))
    assert upstream.requests[0].head.endswith(b"\r\nX-Signed: fine\r\nX-Sign: ours\r\nX-Date: now\r\n\r\n")
    assert b"evil" not in upstream.requests[0].head


@pytest.mark.parametrize(("buffer", "status"), [(4, 200), (3, 401)])
async def test_a_body_is_repeated_up_to_the_routes_buffer(upstream, buffer, status):
    upstream.script(READ, NO)
    route = {"retry": schema.Retry(buffer=schema.Size(buffer))}
    async with Gate(upstream.url, tokens=ScriptedTokens("t", "u"), route=route) as gate:
        assert (await gate.ask(request("POST", body=b"four"))).status == status
