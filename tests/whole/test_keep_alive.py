"""Twenty thousand requests through kept-alive connections, while upstreams end connections whenever they like."""

from __future__ import annotations

import asyncio
import random
from collections import Counter

from support.process import Program
from support.recording_upstream import CLOSE, READ, RESET, RecordingUpstream

CONNECTIONS = 20
REQUESTS = 20_000
SEED = 20_261_121

ROUTES = {b"a": b"Bearer token-of-a", b"b": b"Bearer token-of-b", b"plain": None}
"""A route's name, and what its upstream must see in Authorization."""


def moody(name, chance):
    """An upstream that echoes target and credential, or ends the connection: before, after or instead of an answer."""

    def answer(request):
        said = b"%s %s %s" % (name, request.target, request.field(b"authorization") or b"-")
        whole = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(said), said)
        mood = chance.random()
        if mood < 0.01:
            return (RESET,)
        if mood < 0.02:
            return (READ, CLOSE)
        if mood < 0.03:
            return (READ, whole, CLOSE)
        if mood < 0.035:
            return (READ, whole[:-3], RESET)
        return (READ, whole)

    return RecordingUpstream(answer=answer)


async def read_answer(reader):
    """Status, and the body or None where it was cut off."""
    head = await reader.readuntil(b"\r\n\r\n")
    status = int(head.split(b" ")[1])
    length = next(
        int(line.split(b":")[1]) for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:")
    )
    try:
        return status, head, await reader.readexactly(length)
    except (asyncio.IncompleteReadError, ConnectionResetError):
        return status, head, None


async def one_worker(port, numbers, chance, outcomes):
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    for number in numbers:
        route = chance.choice(list(ROUTES))
        method = chance.choice([b"GET", b"POST"])
        body = b"body of %d" % number if method == b"POST" else b""
        writer.write(
            b"%s /%s/%d HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: mine\r\nContent-Length: %d\r\n\r\n%s"
            % (method, route, number, len(body), body)
        )
        status, head, said = await read_answer(reader)
        outcomes[number] = (method, route, status, said)
        if said is None or b"connection: close" in head.lower():
            writer.close()
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.close()


async def test_each_request_is_answered_once_none_is_mixed_up_and_no_credential_is_on_another_route(tmp_path):
    chance = random.Random(SEED)
    upstreams = {name: moody(name, chance) for name in ROUTES}
    for upstream in upstreams.values():
        await upstream.start()
    config = {
        "routes": [
            {"match": "/a", "upstream": upstreams[b"a"].url, "credential": "a"},
            {"match": "/b", "upstream": upstreams[b"b"].url, "credential": "b"},
            {"match": "/plain", "upstream": upstreams[b"plain"].url, "headers": {"remove": ["Authorization"]}},
        ],
        "credentials": {name: {"type": "bearer", "token": {"value": f"token-of-{name}"}} for name in ("a", "b")},
    }
    outcomes: dict[int, tuple[bytes, bytes, int, bytes | None]] = {}
    try:
        async with Program(config, tmp_path) as program:
            port = int(program.url.rpartition(":")[2])
            share = REQUESTS // CONNECTIONS
            await asyncio.gather(
                *(
                    one_worker(port, range(first, first + share), random.Random(SEED + first), outcomes)
                    for first in range(0, REQUESTS, share)
                )
            )
    finally:
        for upstream in upstreams.values():
            await upstream.stop()

    assert sorted(outcomes) == list(range(REQUESTS))
    seen: Counter[int] = Counter()
    for name, upstream in upstreams.items():
        for request in upstream.requests:
            assert request.all(b"authorization") == ([] if ROUTES[name] is None else [ROUTES[name]])
            seen[int(request.target[1:])] += 1
    for number, (method, route, status, said) in outcomes.items():
        expected = b"%s /%d %s" % (route, number, ROUTES[route] or b"-")
        if status == 200:
            assert said in (expected, None)
        else:
            assert status == 502
        if method == b"POST":
            assert seen[number] <= 1
        assert 1 <= seen[number] <= 3 or (seen[number] == 0 and status == 502)
    statuses = Counter((status, said is None) for _, _, status, said in outcomes.values())
    assert statuses[200, False] > REQUESTS * 0.95
    assert statuses[200, True] > 0
    assert statuses[502, False] > 0
