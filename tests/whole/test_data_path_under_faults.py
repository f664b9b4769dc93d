"""Twenty thousand requests, and an upstream that fails in every way: each is answered once, with its own answer."""

from __future__ import annotations

import asyncio
import random

from support.front import Answer, Client, Gate, ScriptedTokens, request
from support.recording_upstream import CLOSE, READ, RESET, Received, RecordingUpstream

from proxy.config import schema

REQUESTS = 20_000
CLIENTS = 40
TOKENS = {b"/a": b"alpha", b"/b": b"beta"}


class Unreliable:
    """Says back the id of each request, or fails; revokes tokens now and then."""

    def __init__(self, seed: int) -> None:
        self.dice = random.Random(seed)
        self.strangers: list[bytes] = []
        self.served: dict[bytes, int] = {}

    def __call__(self, received: Received):  # noqa: PLR0911 - one return for each fate
        route, number = received.target[:2], received.field(b"x-id") or b"?"
        token = received.field(b"authorization") or b""
        if not token.startswith(b"Bearer " + TOKENS[route]):
            self.strangers.append(route + b" " + token)
        fate = self.dice.random()
        body = b"answer to " + number
        if fate < 0.01:
            return (RESET,)
        if fate < 0.02:
            return (CLOSE,)
        if fate < 0.03:
            return (b"HTTP/1.1 200 OK\r\nContent-Length: 500\r\n\r\n" + body, self.dice.choice((RESET, CLOSE)))
        if fate < 0.05:
            return (b"HTTP/1.1 401 No\r\nX-Id: " + number + b"\r\nContent-Length: 2\r\n\r\nno",)
        if fate < 0.06:
            return (b"HTTP/1.1 401 No\r\nX-Id: " + number + b"\r\nContent-Length: 2\r\n\r\nno", READ, CLOSE)
        if fate < 0.07:
            return (b"HTTP/1.1 200 OK\r\nX-Id: " + number + b"\r\n\r\n" + body, CLOSE)
        self.served[number] = self.served.get(number, 0) + 1
        if fate < 0.2:
            chunked = b"%x\r\n%b\r\n0\r\nX-Trailer: %b\r\n\r\n" % (len(body), body, number)
            return (b"HTTP/1.1 200 OK\r\nX-Id: " + number + b"\r\nTransfer-Encoding: chunked\r\n\r\n", chunked)
        head = b"HTTP/1.1 200 OK\r\nX-Id: " + number + b"\r\nContent-Length: %d\r\n\r\n" % len(body)
        if fate < 0.3:
            return (head + body[:5], body[5:])
        return (head + body,)


class Endless(ScriptedTokens):
    """Renewals without end, each a moment late."""

    def __init__(self, name: str) -> None:
        super().__init__(f"{name}-0")
        self.name = name
        self.renewal_hold = 0

    async def renew(self, refused):
        self.refused.append(refused.access_token)
        await asyncio.sleep(0.001)
        if self.token is not None and self.token.access_token != refused.access_token:
            return self.token
        self.renewal_hold += 1
        self.values = [f"{self.name}-{self.renewal_hold}"]
        return self._next()


def right(answer: Answer, number: bytes) -> bool:
    """Whether this is that request's answer, or an error of ours that the contract names."""
    if answer.status == 502:
        return answer.field(b"proxy-status") == b"auth-sidecar; error=connection_terminated"
    if answer.field(b"x-id") != number:
        return False
    if answer.status == 401:
        return answer.body == b"no"
    trailers = answer.raw.rpartition(b"X-Trailer: ")[2] if b"X-Trailer" in answer.raw else number + b"\r\n\r\n"
    return answer.status == 200 and answer.body == b"answer to " + number and trailers == number + b"\r\n\r\n"


async def test_each_of_twenty_thousand_requests_is_answered_once_and_with_its_own_answer():
    unreliable = Unreliable(20_261_121)
    counts: dict[str, int] = {"200": 0, "401": 0, "502": 0, "cut": 0}
    wrong: list[tuple[bytes, bytes]] = []
    numbers = iter(range(REQUESTS))

    async def one_client(gate: Gate, dice: random.Random) -> None:
        client: Client | None = None
        while (number := next(numbers, None)) is not None:
            route = dice.choice(("/a", "/b"))
            octets = request(
                dice.choice(("GET", "PUT", "POST")), f"{route}{route}/{number}", f"X-Id: {number}",
                body=b"b" * dice.choice((0, 0, 3, 5000)),
            )  # fmt: skip
            if client is None:
                client = Client(*await asyncio.open_connection("127.0.0.1", gate.port))
            try:
                answer = await client.ask(octets)
            except (asyncio.IncompleteReadError, ConnectionResetError):
                counts["cut"] += 1
                client.writer.close()
                client = None
                continue
            counts[str(answer.status)] += 1
            if not right(answer, str(number).encode()):
                wrong.append((octets, answer.raw))
        if client is not None:
            client.writer.close()

    tokens = {"/a": Endless("alpha"), "/b": Endless("beta")}
    async with RecordingUpstream(answer=unreliable) as upstream:
        a, b = ({"match": schema.Match(path=path), "tokens": tokens[path]} for path in tokens)
        async with Gate(upstream.url, route=a, more_routes=(b,)) as gate:
            await asyncio.gather(*(one_client(gate, random.Random(seed)) for seed in range(CLIENTS)))
            assert gate.front.in_flight == 0
            assert all(live_route.stats.in_flight == 0 for live_route in gate.live_routes)
            assert sum(sum(live_route.stats.counts.values()) for live_route in gate.live_routes) == REQUESTS
        assert wrong == []
        assert unreliable.strangers == []
        assert sum(counts.values()) == REQUESTS
        assert counts["200"] > 0.9 * REQUESTS
        assert max(unreliable.served.values()) == 1, "no request was served twice"
        assert counts["cut"]
        assert counts["502"]
        assert all(
            one.renewal_hold for one in tokens.values()
        )  # until chance refuses a renewed one, and the route pauses
