"""The callers: each sends one request after the other, of every kind, and compares its answers with its orders."""

from __future__ import annotations

import asyncio
import itertools
import json
import random
import time
from collections.abc import Coroutine
from typing import Any

from soak.gate import INJECTS_AUTHORIZATION, OWN, SITES
from soak.journal import Journal
from soak.order import KINDS, Order
from soak.upstream import Apis, refusal
from soak.wire import PIECE, Cut, Head, chunk, pieces, read_body, read_head

_PATIENCE = 30.0
"""Seconds after which a request hangs."""
_OFTEN = (40, 6, 6, 4, 4)  # of KINDS
_HOW_LARGE = {"echo": 8_000, "upload": 700_000, "download": 900_000, "events": 400, "socket": 20_000}
_LAST = frozenset({"cut", "dropped", "hangs", "mismatch"})
_FRAMING = frozenset({b"content-length", b"transfer-encoding", b"connection"})


class Mismatch(Exception):
    """An answer that is neither what was ordered nor a documented error. The message never holds what was said."""


class Caller:
    """One client with one connection, which it keeps, gives up, or drops half-way, as callers do.

    `door`: a port of loopback, or the path of a unix socket.
    """

    def __init__(self, seed: int, numbers: itertools.count[int], door: int | str, apis: Apis, journal: Journal) -> None:
        self._chance = random.Random(seed)
        self._numbers = numbers
        self._door = door
        self._apis = apis
        self._journal = journal
        self._reader: asyncio.StreamReader
        self._writer: asyncio.StreamWriter | None = None
        self._asked = asyncio.Event()

    async def run(self, until: float, pause: float) -> None:
        """Go on until then (of the monotonic clock). `pause`: seconds between two requests, on average."""
        try:
            while time.monotonic() < until:
                await self._once()
                await asyncio.sleep(self._chance.random() * 2 * pause)
        finally:
            self._hang_up()

    # ---- one request -------------------------------------------------------------------------------------------------

    def _order(self, kind: str) -> Order:
        size = self._chance.randrange(_HOW_LARGE[kind])
        return Order(self._chance.choice(SITES), kind, next(self._numbers), size)

    async def _once(self) -> None:
        kind = self._chance.choices(KINDS, _OFTEN)[0]
        if kind == "echo" and self._chance.random() < 0.1:
            await self._pipelined([self._order("echo") for _ in range(3)])
            return
        order = self._order(kind)
        began = time.monotonic()
        result, detail = await self._outcome(order)
        self._journal.note(order, result, began, detail)
        if result in _LAST or self._chance.random() < 0.05:
            self._hang_up()

    async def _outcome(self, order: Order) -> tuple[str, str]:
        if order.kind == "socket":
            return await self._judged(self._talk(order))
        if order.kind in ("download", "upload") and self._chance.random() < 0.1:
            return await self._judged(self._leave_half_way(order))
        return await self._judged(self._ask(order))

    @staticmethod
    async def _judged(work: Coroutine[Any, Any, str]) -> tuple[str, str]:
        """What it came to, and details for a complaint."""
        try:
            async with asyncio.timeout(_PATIENCE):
                return await work, ""
        except Cut as cut:
            return "dropped" if cut.before else "cut", str(cut)
        except TimeoutError:
            return "hangs", ""
        except Mismatch as mismatch:
            return "mismatch", str(mismatch)
        except (ValueError, LookupError) as error:
            return "mismatch", f"cannot be read: {type(error).__name__}"
        except OSError as error:
            return "not connected", type(error).__name__

    async def _ask(self, order: Order) -> str:
        await self._connect()
        sender = asyncio.create_task(self._send(order))
        try:
            return await self._answer(order)
        finally:
            if not sender.done():
                self._stop_sending(sender)
            await asyncio.gather(sender, return_exceptions=True)

    def _stop_sending(self, sender: asyncio.Task[None]) -> None:
        """The answer came before the request was whole: nobody wants the rest of it."""
        sender.cancel()
        self._hang_up()

    async def _pipelined(self, orders: list[Order]) -> None:
        """Several requests at once; the answers come in their order (RFC 9112 §9.3.2)."""
        began = time.monotonic()
        await self._connect()
        self._put(b"".join(self._head(order) + self._body(order) for order in orders))
        for order in orders:
            result, detail = await self._judged(self._answer(order))
            self._journal.note(order, result, began, detail)
            if self._writer is None or result in _LAST:
                self._hang_up()
                return  # those behind it get no answer: it was the last of its connection

    async def _leave_half_way(self, order: Order) -> str:
        await self._connect()
        self._put(self._head(order))
        if order.kind == "upload":
            self._put(self._body(order)[: order.size // 2])
            await asyncio.sleep(0.02)
        else:
            await self._final_head()
            await self._reader.read(100)
        self._hang_up()
        return "hung up"

    async def _talk(self, order: Order) -> str:
        await self._connect()
        self._put(self._head(order))
        head = await self._final_head()
        if head.status != 101:
            return await self._compare(order, head)
        if head.values(b"x-number") != [b"%d" % order.number] or head.values(b"upgrade") != [b"websocket"]:
            raise Mismatch("another tunnel than was ordered")
        for said in pieces(order.content, 500 + order.number % 5000):
            self._put(said)
            try:
                heard = await self._reader.readexactly(len(said))
            except (asyncio.IncompleteReadError, OSError) as error:
                raise Cut(f"tunnel: {type(error).__name__}") from None
            if heard != said:
                raise Mismatch("a tunnel altered what was said")
            await asyncio.sleep(self._chance.random() * 0.05)
        self._hang_up()
        return "matched"

    # ---- there -------------------------------------------------------------------------------------------------------

    async def _connect(self) -> None:
        if self._writer is not None:
            return
        if isinstance(self._door, str):
            self._reader, self._writer = await asyncio.open_unix_connection(self._door, limit=2 * PIECE)
        else:
            self._reader, self._writer = await asyncio.open_connection("127.0.0.1", self._door, limit=2 * PIECE)

    def _hang_up(self) -> None:
        if self._writer is not None:
            self._writer.transport.abort()
            self._writer = None

    def _put(self, octets: bytes) -> None:
        assert self._writer is not None
        self._writer.write(octets)

    def _head(self, order: Order) -> bytes:
        return b"\r\n".join([*self._lines(order, b"", b"hOsT: localhost", own=True), b"", b""])

    def _lines(self, order: Order, base: bytes, host: bytes, *, own: bool) -> list[bytes]:
        """The request's head, as it is sent or as it must arrive. `own`: with the caller's own Authorization."""
        takes = order.kind in ("download", "events", "socket")
        lines = [
            b"%b %b%b HTTP/1.1" % (order.method, base, order.target),
            b"X-ODD: \xe9\x80 (%d)" % order.number,
            host,
            b"x-Twice: 1",
            b"Cookie: a=%d; b=\xff" % order.number,
            b"X-twicE: 2",
        ]
        if own and order.number % 3 == 0:
            lines.append(b"Authorization: " + OWN)
        if order.kind == "socket":
            lines += [b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==", b"Sec-WebSocket-Version: 13"]
            lines += [b"Connection: Upgrade", b"Upgrade: websocket"]
        elif not takes:
            length = b"Content-Length: %d" % order.size
            lines += [b"eXpect: 100-continue"] * order.expects_continue
            lines.append(b"Transfer-Encoding: chunked" if order.chunked_request else length)
        return lines

    def _body(self, order: Order) -> bytes:
        if order.kind not in ("echo", "upload"):
            return b""
        if not order.chunked_request:
            return order.content
        return b"".join([chunk(piece) for piece in pieces(order.content, 30_000)]) + b"0\r\n\r\n"

    async def _send(self, order: Order) -> None:
        self._asked.clear()
        self._put(self._head(order))
        if order.expects_continue:
            await self._asked.wait()
        for piece in pieces(self._body(order)):
            assert self._writer is not None
            self._writer.write(piece)
            await self._writer.drain()

    # ---- and back ----------------------------------------------------------------------------------------------------

    async def _answer(self, order: Order) -> str:
        return await self._compare(order, await self._final_head())

    async def _final_head(self) -> Head:
        while True:
            head = await read_head(self._reader)
            if head is None:
                raise Cut("no answer", before=True)
            if head.status != 100:
                return head
            self._asked.set()

    async def _compare(self, order: Order, head: Head) -> str:
        expected, result = self._expected(order, head)
        got = bytearray()
        try:
            async for piece in read_body(self._reader, head, answer=True):
                got += piece
                if order.kind == "download" and order.number % 7 == 0:
                    await asyncio.sleep(0.01)  # slower than the upstream
        except Cut:
            if expected is not None and not expected.startswith(got):
                raise Mismatch("a body that was cut, and altered") from None
            raise
        if head.values(b"connection") == [b"close"]:
            self._hang_up()
        if expected is None:
            _check_problem(order, head, bytes(got))
        elif got != expected:
            raise Mismatch(
                f"body: {len(got)} octets for {len(expected)}, other from {_first_difference(got, expected)}"
            )
        return result

    def _expected(self, order: Order, head: Head) -> tuple[bytes | None, str]:
        """The body that belongs to this head (None for an answer of the sidecar's own), and what to call it."""
        status = head.values(b"proxy-status")
        if status:
            return None if b"received-status" not in status[0] else refusal(order), _named(head, status[0])
        if head.status == 401:
            return refusal(order), "refused"
        kept = [line for line in head.lines if line.partition(b":")[0].lower() not in _FRAMING]
        if b"\r\n".join([head.first, *kept, b""]) != order.answer_head:
            raise Mismatch(f"head of a {head.status}")
        passes = order.site not in INJECTS_AUTHORIZATION
        arrived = self._lines(order, b"/at", b"Host: " + self._apis.authority(order.site).encode(), own=passes)
        return b"\r\n".join([*arrived, b"", b""]) + order.payload, "matched"


def _named(head: Head, status: bytes) -> str:
    """`502 connection_terminated` for a Proxy-Status with that error; our own reason where it names one."""
    parameters = dict(part.strip().partition(b"=")[::2] for part in status.split(b";")[1:])
    reason = parameters.get(b"details", parameters.get(b"error", b"?")).strip(b'"')
    return f"{head.status} {reason.decode('latin-1')}"


def _check_problem(order: Order, head: Head, body: bytes) -> None:
    """RFC 9457, and about this request."""
    problem = json.loads(body)
    if head.values(b"content-type") != [b"application/problem+json"] or problem["status"] != head.status:
        raise Mismatch(f"a {head.status} that is no problem document")
    if problem["route"] != order.site or f"/{order.number}/" not in problem["instance"]:
        raise Mismatch(f"a {head.status} about another request")


def _first_difference(got: bytes | bytearray, expected: bytes) -> int:
    return next(
        (at for at, (a, b) in enumerate(zip(got, expected, strict=False)) if a != b), min(len(got), len(expected))
    )
