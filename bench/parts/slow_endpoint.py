"""A slow token endpoint whose tokens all end at the same moment, light enough to share a core with the load.

Usage: slow_endpoint.py PORT TOKEN DELAY ENDS

POST /fresh: TOKEN, for an hour, at once. POST /storm: another token each time, good until ENDS (epoch seconds), after
DELAY seconds. GET /seen: when requests to /storm came, on the monotonic clock. Anything else: {}.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import os
import sys
import time
from typing import ClassVar

os.nice(19)  # it shares the load's core, whose latencies are what is measured
TOKEN, DELAY, ENDS = sys.argv[2], float(sys.argv[3]), int(sys.argv[4])


class Endpoint(asyncio.Protocol):
    """One connection; requests have a Content-Length or no body."""

    seen: ClassVar[list[float]] = []
    numbers = itertools.count(1)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin to read."""
        assert isinstance(transport, asyncio.Transport)  # noqa: S101 - what create_server makes
        self._transport = transport
        self._octets = b""

    def data_received(self, octets: bytes) -> None:
        """Take off whole requests."""
        self._octets += octets
        while True:
            head, end, rest = self._octets.partition(b"\r\n\r\n")
            length = int(head.lower().partition(b"content-length:")[2].partition(b"\r\n")[0] or 0)
            if not end or len(rest) < length:
                return
            self._octets = rest[length:]
            self._serve(head.split(b" ", 2)[1])

    def _serve(self, path: bytes) -> None:
        if path == b"/storm":
            self.seen.append(time.monotonic())
            asyncio.get_running_loop().call_later(DELAY, self._storm)
        elif path == b"/fresh":
            self._answer({"access_token": TOKEN, "token_type": "Bearer", "expires_in": 3600})
        else:
            self._answer(self.seen if path == b"/seen" else {})

    def _storm(self) -> None:
        token = f"opaque-token-{next(self.numbers):012}-0123456789abcdef"
        self._answer({"access_token": token, "token_type": "Bearer", "expires_at": ENDS})

    def _answer(self, document: object) -> None:
        body = json.dumps(document).encode()
        self._transport.write(
            b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body)
        )


async def main() -> None:
    """Listen until killed."""
    loop = asyncio.get_running_loop()
    server = await loop.create_server(Endpoint, "127.0.0.1", int(sys.argv[1]), backlog=4096)
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main())
