"""The way there: the token, the connection, the body."""

from __future__ import annotations

import asyncio

import pytest
from msgspec.structs import replace
from support.front import Gate, ScriptedTokens, request
from support.recording_upstream import CLOSE, READ, RESET, Received

from proxy.auth.bearer import BearerScheme
from proxy.config import schema
from proxy.errors import CallerUnknown
from proxy.forward import proxy_server
from proxy.forward.dial import Origin
from proxy.forward.live_route import LiveRoute
from proxy.forward.pool import Pool, Waiter
from proxy.model import WantsBody

EXPECTING = b"POST /crm HTTP/1.1\r\nHost: localhost\r\nContent-Length: 3\r\nExpect: 100-continue\r\n\r\n"
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"


async def test_expect_is_passed_on_and_so_is_the_upstreams_consent(upstream):
    """Row 36."""
    upstream.script(CONTINUE, READ, OK)
    async with Gate(upstream.url) as gate, gate.client() as client:
        assert (await client.ask(EXPECTING)).raw == CONTINUE
        assert (await client.ask(b"abc")).status == 200
        assert await _nothing_more(client)
    assert upstream.requests[0].field(b"expect") == b"100-continue"
    assert upstream.requests[0].body == b"abc"


async def test_an_upstream_that_knows_nothing_of_expect_gets_its_body_after_a_second(upstream):
    """Row 36: we ask for the body ourselves, once."""
    upstream.script(READ, CONTINUE, OK)
    async with Gate(upstream.url) as gate, gate.client() as client:
        started = asyncio.get_running_loop().time()
        assert (await client.ask(EXPECTING)).raw == CONTINUE
        assert 0.9 < asyncio.get_running_loop().time() - started < 10
        assert (await client.ask(b"abc")).status == 200, "and the upstream's late 100 is not passed on"


async def test_a_refusal_instead_of_consent_ends_the_connection_and_no_body_was_sent(upstream):
    """Row 36."""
    upstream.script(b"HTTP/1.1 417 No\r\nContent-Length: 0\r\n\r\n", READ)
    async with Gate(upstream.url) as gate, gate.client() as client:
        answer = await client.ask(EXPECTING)
        assert answer.status == 417
        assert answer.field(b"connection") == b"close"
    assert not upstream.requests[0].complete


async def test_a_401_before_the_body_renews_and_the_body_goes_out_once(upstream):
    """Row 36: Expect is the cheap way to learn of a 401 before the body is spent."""
    upstream.script(b"HTTP/1.1 401 No\r\nContent-Length: 0\r\n\r\n", READ)
    upstream.script(CONTINUE, READ, OK)
    tokens = ScriptedTokens("old", "new")
    async with Gate(upstream.url, tokens=tokens) as gate, gate.client() as client:
        assert (await client.ask(EXPECTING)).raw == CONTINUE
        assert (await client.ask(b"abc")).status == 200
    assert [bytes(one.body) for one in upstream.requests] == [b"", b"abc"]
    assert tokens.refused == ["old"]


async def test_http_1_0_knows_no_expect(upstream):
    async with Gate(upstream.url) as gate:
        await gate.ask(EXPECTING.replace(b"1.1", b"1.0", 1) + b"abc")
    assert upstream.requests[0].field(b"expect") is None


@pytest.mark.parametrize("size", [100, 300_000, 3_000_000])
async def test_a_401_while_the_upload_still_goes_on(upstream, size):
    """The body is kept back while the token is renewed; what cannot be repeated gets the refusal."""
    upstream.script(b"HTTP/1.1 401 No\r\nContent-Length: 6\r\n\r\nno way", READ)
    tokens = ScriptedTokens("old", "new")
    tokens.gate.clear()
    body = bytes(range(250)) * (size // 250)
    async with Gate(upstream.url, tokens=tokens) as gate, gate.client() as client:
        await client.send(
            b"POST /crm HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n\r\n" % len(body) + body[:50]
        )
        async with asyncio.timeout(30):
            while not tokens.refused:
                await asyncio.sleep(0.005)
        sending = asyncio.create_task(client.send(body[50:]))
        await asyncio.sleep(0.05)
        tokens.gate.set()
        assert (await client.answer()).status == 200
        await sending
    assert bytes(upstream.requests[-1].body) == body


async def test_an_upload_that_ends_while_its_token_is_renewed_in_vain_leaves_no_half_request_behind(upstream):
    """The connection that never got the rest of the body must not be used again."""
    upstream.script(b"HTTP/1.1 401 No\r\nContent-Length: 6\r\n\r\nno way", READ)
    tokens = ScriptedTokens("old", CallerUnknown("The caller's token was refused"))
    tokens.gate.clear()
    async with Gate(upstream.url, tokens=tokens) as gate:
        async with gate.client() as client:
            await client.send(b"POST /crm HTTP/1.1\r\nHost: localhost\r\nContent-Length: 4\r\n\r\nab")
            async with asyncio.timeout(30):
                while not tokens.refused:
                    await asyncio.sleep(0.005)
            await client.send(b"cd")
            await asyncio.sleep(0.05)
            tokens.gate.set()
            assert (await client.answer()).status == 401
        assert (await gate.ask(request())).status == 200
    assert upstream.requests[-1].connection == 2


async def test_a_token_that_is_waited_for_is_waited_for_no_longer_than_the_request_may_last(upstream):
    tokens = ScriptedTokens(None, "late")
    tokens.gate.clear()
    timeouts = replace(schema.RouteTimeouts(), total=schema.Duration(0.05))
    async with Gate(upstream.url, tokens=tokens, route={"timeouts": timeouts}) as gate:
        assert (await gate.ask(request())).status == 504
    assert upstream.requests == []


async def test_a_body_that_stalls_is_408(upstream, later):
    """Row 59."""
    limits = {"body_idle_timeout": schema.Duration(100)}
    async with Gate(upstream.url, clock=later, limits=limits) as gate, gate.client() as client:
        await client.send(b"POST /crm HTTP/1.1\r\nHost: localhost\r\nContent-Length: 3\r\n\r\na")
        await upstream.until(lambda: upstream.requests or None)
        later(101)
        answer = await client.answer()
        assert answer.status == 408
        assert answer.field(b"connection") == b"close"
        assert await client.ended() == b""
    assert not upstream.requests[0].complete


async def test_a_body_that_keeps_coming_never_times_out(upstream, later):
    limits = {"body_idle_timeout": schema.Duration(100)}
    async with Gate(upstream.url, clock=later, limits=limits) as gate, gate.client() as client:
        await client.send(b"POST /crm HTTP/1.1\r\nHost: localhost\r\nContent-Length: 4\r\n\r\n")
        for count in range(4):
            await upstream.until(
                lambda count=count: [one for one in upstream.requests if len(one.raw_body) == count] or None
            )
            later(60)
            await asyncio.sleep(2 * proxy_server.SWEEP_EVERY)
            await client.send(b"x")
        assert (await client.answer()).status == 200


async def test_total_bounds_everything(upstream, later):
    """Row 47."""
    upstream.script(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", *([b"1\r\nx\r\n"] * 3), asyncio.Event())
    timeouts = replace(schema.RouteTimeouts(), total=schema.Duration(100))
    async with Gate(upstream.url, clock=later, route={"timeouts": timeouts}) as gate, gate.client() as client:
        await client.send(request())
        await client.reader.readuntil(b"\r\n\r\n")
        came = b""
        while came.count(b"x") < 3:
            came += await client.reader.read(100)
        later(101)
        with pytest.raises((asyncio.IncompleteReadError, ConnectionResetError)):
            await client.reader.readexactly(1)


@pytest.mark.parametrize("many", [1, 400])
async def test_a_token_that_cannot_be_sent_fails_each_request_and_spoils_no_connection(upstream, many):
    tokens = ScriptedTokens("bad\r\nX: y")
    async with Gate(upstream.url, tokens=tokens) as gate:
        answers = await asyncio.gather(*(gate.ask(request()) for _ in range(many)))
        assert {answer.status for answer in answers} == {502}
        tokens.token = None
        tokens.values = ["good"]
        assert (await gate.ask(request())).status == 200
    assert len(upstream.requests) == 1


class FormScheme(BearerScheme):
    """Wants what OAuth 1 wants."""

    wants_body: WantsBody = "form"
    constant = False

    def sign(self, request, token, moment):
        self.seen = request
        return super().sign(request, token, moment)


FORM = ("Content-Type: application/x-www-form-urlencoded; charset=utf-8",)


async def test_a_form_is_gathered_and_signed_whole(upstream):
    scheme = FormScheme()
    async with Gate(upstream.url + "/v2", scheme=scheme) as gate, gate.client() as client:
        await client.send(request("POST", "/crm/a?b", *FORM, body=b"a=1&b=2")[:-3])
        await asyncio.sleep(0.02)
        assert (await client.ask(b"b=2")).status == 200
    assert scheme.seen.body == upstream.requests[0].body == b"a=1&b=2"
    assert scheme.seen.target == b"/v2/a?b"
    assert scheme.seen.base_path == b"/v2"


async def test_a_form_that_waits_for_consent_gets_it_from_us(upstream):
    octets = request("POST", "/crm", *FORM, "Expect: 100-continue", body=b"a=1")
    async with Gate(upstream.url, scheme=FormScheme()) as gate, gate.client() as client:
        assert (await client.ask(octets[:-3])).raw == CONTINUE
        assert (await client.ask(octets[-3:])).status == 200


async def test_what_is_no_form_is_streamed(upstream):
    scheme = FormScheme()
    async with Gate(upstream.url, scheme=scheme) as gate, gate.client() as client:
        await client.send(b"POST /crm HTTP/1.1\r\nHost: localhost\r\nContent-Length: 3\r\n\r\na")
        async with asyncio.timeout(30):
            await upstream.until(lambda: True if upstream.requests and upstream.requests[0].raw_body == b"a" else None)
        assert (await client.ask(b"bc")).status == 200
    assert scheme.seen.body is None


async def test_a_form_too_large_to_be_signed_is_413(upstream):
    async with Gate(upstream.url, scheme=FormScheme()) as gate:
        answer = await gate.ask(request("POST", "/crm", *FORM, body=b"a" * (1024 * 1024 + 1)))
    assert answer.status == 413
    assert upstream.requests == []


async def test_the_upstream_may_hang_up_while_a_body_waits_for_its_token(upstream):
    upstream.script(RESET)
    async with Gate(upstream.url) as gate, gate.client() as client:
        assert (await client.ask(request("POST", body=b"x"))).status == 502


@pytest.mark.parametrize("framing", ["length", "chunked"])
async def test_an_early_answer_ends_the_upload_in_every_framing(upstream, framing):
    """Row 37."""
    rest = {
        "length": b"Content-Length: 3\r\n\r\nbig",
        "chunked": b"Transfer-Encoding: chunked\r\n\r\n3\r\nbig\r\n0\r\n\r\n",
    }
    upstream.script(b"HTTP/1.1 413 No\r\n" + rest[framing], CLOSE, READ)
    async with Gate(upstream.url) as gate, gate.client() as client:
        await client.send(b"POST /crm HTTP/1.1\r\nHost: localhost\r\nContent-Length: 90000000\r\n\r\n" + bytes(400_000))
        sending = asyncio.create_task(client.send(bytes(4_000_000)))
        answer = await client.answer()
        assert (answer.status, answer.body) == (413, b"big")
        await asyncio.gather(sending, return_exceptions=True)


async def test_an_upload_whose_upstream_hangs_up_is_502(upstream):
    upstream.script(RESET, READ)
    async with Gate(upstream.url) as gate, gate.client() as client:
        await client.send(b"POST /crm HTTP/1.1\r\nHost: localhost\r\nContent-Length: 90000000\r\n\r\n" + bytes(40_000))
        assert (await client.answer()).status == 502


async def test_chunks_stay_chunks_and_a_length_stays_a_length(upstream):
    """Row 33."""
    async with Gate(upstream.url) as gate:
        await gate.ask(
            b"POST /crm HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\nTE: trailers\r\n\r\n"
            b"1\r\na\r\n0\r\n\r\n"
        )
        await gate.ask(request("POST", body=b"a"))
        await gate.ask(request("GET", body=b"a"))
    chunked, plain, with_get = upstream.requests
    assert chunked.field(b"transfer-encoding") == b"chunked"
    assert chunked.raw_body == b"1\r\na\r\n0\r\n\r\n"
    assert chunked.field(b"te") is None
    for one in (plain, with_get):
        assert one.field(b"content-length") == b"1"
        assert one.raw_body == b"a"


@pytest.mark.parametrize("method", ["GET", "DELETE", "POST"])
async def test_a_request_without_a_body_stays_one(upstream, method):
    """Rows 22 and 33: no field is invented."""
    async with Gate(upstream.url, credential=False) as gate:
        await gate.ask(request(method))
    assert [name for name, _ in upstream.requests[0].fields] == [b"Host"]


async def test_malformed_chunks_reach_no_upstream_as_a_whole_body(upstream):
    async with Gate(upstream.url) as gate:
        answer = await gate.ask(
            b"POST /crm HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabcd\r\n"
        )
    assert answer.status == 400
    assert not any(one.complete for one in upstream.requests)


async def test_the_same_token_is_signed_once_and_another_one_anew(upstream):
    def field(received: Received):
        return received.field(b"authorization")

    tokens = ScriptedTokens("a")
    async with Gate(upstream.url, tokens=tokens) as gate, gate.client() as client:
        await client.ask(request())
        await client.ask(request())
        tokens.token = None
        tokens.values = ["b"]
        await client.ask(request())
    assert list(map(field, upstream.requests)) == [b"Bearer a", b"Bearer a", b"Bearer b"]


class Crossroads:
    """In the place of a pool, until a test shows the way."""

    def __init__(self, live_route: LiveRoute, pool: Pool) -> None:
        self.forwards = None
        self.origin = Origin("https", "undiscovered.invalid", 443, 1.0)
        self.way = (pool, live_route.base)
        self.waiting: list[Waiter] = []
        live_route._lead(self, live_route.prefix if live_route.config.strip_prefix else b"")
        live_route.unresolved = True

    def take(self, now: float) -> None:
        """Nothing leads anywhere yet."""

    def wait(self, waiter: Waiter) -> None:
        self.waiting.append(waiter)

    def forget(self, waiter: Waiter) -> None:
        self.waiting.remove(waiter)

    async def reached(self, many: int = 1) -> None:
        async with asyncio.timeout(30):
            while len(self.waiting) != many:
                await asyncio.sleep(0.005)

    def show(self) -> None:
        while self.waiting:
            self.waiting.pop(0).upstream_resolved(*self.way)


@pytest.mark.parametrize(
    ("strip", "target", "sent"),
    [
        (True, "/crm/x?a=b", b"/v2/x?a=b"),
        (True, "/crm", b"/v2"),
        (True, "/crm?a", b"/v2?a"),
        (True, "/crm/%2e/x", b"/v2/%2e/x"),
        (False, "/crm/x", b"/v2/crm/x"),
    ],
)
async def test_a_request_of_a_route_that_leads_nowhere_yet_goes_out_once_the_way_is_known(
    upstream, strip, target, sent
):
    async with Gate(upstream.url + "/v2", route={"strip_prefix": strip}) as gate, gate.client() as client:
        crossroads = Crossroads(gate.live_route, gate.pool)
        await client.send(request("GET", target))
        await crossroads.reached()
        crossroads.show()
        assert (await client.answer()).status == 200
    (received,) = upstream.requests
    assert received.target == sent
    assert received.field(b"host") == upstream.authority.encode()
    assert received.field(b"authorization") == b"Bearer t0ken"


async def test_a_body_that_comes_while_the_way_is_not_known_is_sent_whole(upstream):
    async with Gate(upstream.url) as gate, gate.client() as client:
        crossroads = Crossroads(gate.live_route, gate.pool)
        await client.send(b"POST /crm HTTP/1.1\r\nHost: localhost\r\nContent-Length: 200000\r\n\r\n" + b"a" * 150_000)
        await crossroads.reached()
        crossroads.show()
        assert (await client.ask(b"b" * 50_000)).status == 200
    assert upstream.requests[0].body == b"a" * 150_000 + b"b" * 50_000


async def test_who_hangs_up_or_has_no_more_time_waits_for_the_way_no_longer(upstream, later):
    timeouts = replace(schema.RouteTimeouts(), total=schema.Duration(100))
    async with Gate(upstream.url, clock=later, route={"timeouts": timeouts}) as gate:
        crossroads = Crossroads(gate.live_route, gate.pool)
        async with gate.client() as impatient, gate.client() as slow:
            await impatient.send(request())
            await slow.send(request())
            await crossroads.reached(2)
            impatient.reset()
            await crossroads.reached(1)
            later(101)
            assert (await slow.answer()).status == 504
            assert crossroads.waiting == []
    assert upstream.requests == []


class ByUrl:
    """Picks by all that a request is."""

    strips: tuple[bytes, ...] = ()

    def __init__(self) -> None:
        self.asked: list[tuple[str, bytes, bytes]] = []

    def pick(self, request, field):
        self.asked.append((request.scheme, request.authority, request.target))
        if field(b"x-tenant") is None:
            raise CallerUnknown
        return ScriptedTokens("of-tenant")

    def whose(self, tokens):
        return tokens


async def test_which_token_it_is_is_decided_once_the_url_is_known(upstream):
    picker = ByUrl()
    async with Gate(upstream.url + "/v2", picker=picker) as gate, gate.client() as client, gate.client() as nobody:
        crossroads = Crossroads(gate.live_route, gate.pool)
        await client.send(request("GET", "/crm/x", "X-Tenant: a"))
        await nobody.send(request("GET", "/crm/y"))
        await crossroads.reached(2)
        assert picker.asked == []
        crossroads.show()
        assert (await client.answer()).status == 200
        assert (await nobody.answer()).status == 401
        assert gate.front.in_flight == 0
    assert picker.asked == [("http", upstream.authority.encode(), target) for target in (b"/v2/x", b"/v2/y")]
    assert [one.field(b"authorization") for one in upstream.requests] == [b"Bearer of-tenant"]


async def test_an_authorization_that_is_kept_is_kept_where_the_way_was_waited_for(upstream):
    picker = ByUrl()
    route = {"on_client_authorization": "keep"}
    async with Gate(upstream.url, picker=picker, route=route) as gate, gate.client() as client:
        crossroads = Crossroads(gate.live_route, gate.pool)
        await client.send(request("GET", "/crm", "Authorization: mine"))
        await crossroads.reached()
        crossroads.show()
        assert (await client.answer()).status == 200
    assert picker.asked == []
    assert upstream.requests[0].field(b"authorization") == b"mine"


async def _nothing_more(client) -> bool:
    client.writer.write_eof()
    return await client.ended() == b""
