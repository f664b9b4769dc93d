"""What reading one request head costs, in µs of this machine, next to the parsers that could have done it.

    python bench/heads.py

Ten fields, as a common HTTP client library sends them through a service mesh. "seen before": the fields behind the
request line are those of an earlier head, as they are where nothing marks each request with a field of its own.
"""

from __future__ import annotations

import asyncio
import itertools
import timeit
from collections.abc import Callable
from typing import Any, cast

import httptools
from aiohttp.base_protocol import BaseProtocol
from aiohttp.http import HttpRequestParser

from proxy.http1.request import read_request

FIELDS = (
    b"Host: 127.0.0.1:8080\r\nUser-Agent: python-requests/2.32.5\r\nAccept-Encoding: gzip, deflate\r\n"
    b"Accept: application/json\r\nConnection: keep-alive\r\nX-Request-Id: 5b0c1a54-2c4e-4d7a-8f6b-%012d\r\n"
    b"traceparent: 00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01\r\nX-Tenant: acme\r\n"
    b"Cache-Control: no-cache\r\nAccept-Language: en\r\n\r\n"
)
HEAD = b"GET /crm/accounts/42?fields=name,owner HTTP/1.1\r\n" + FIELDS
ROUNDS, COUNT = 7, 20_000


class Ignoring:
    """The least that httptools' callbacks can do: names and values are kept."""

    def on_url(self, url: bytes) -> None:
        """The target."""
        self.url = url

    def on_header(self, name: bytes, value: bytes) -> None:
        """One field."""
        self.last = (name, value)


def show(name: str, work: Callable[[bytes], Any], heads: itertools.cycle[bytes]) -> None:
    """One line of the report: the lowest of several rounds."""
    best = min(timeit.repeat(lambda: work(next(heads)), number=COUNT, repeat=ROUNDS))
    print(f"{name:<32}{best / COUNT * 1e6:>8.2f}")


def main() -> None:
    """Ours, then the others."""
    ever_new = [HEAD % number for number in range(2000)]
    same = [HEAD % 0]
    print(f"{'µs per request head':<32}")
    show("ours, seen before", lambda head: read_request(head, 0, 32768, 200), itertools.cycle(same))
    show("ours, never seen", lambda head: read_request(head, 0, 32768, 200), itertools.cycle(ever_new))
    show("httptools", lambda head: httptools.HttpRequestParser(Ignoring()).feed_data(head), itertools.cycle(ever_new))
    loop = asyncio.new_event_loop()
    parser = HttpRequestParser(cast("BaseProtocol", None), loop, 2**16)  # it is asked for bodies alone
    show("aiohttp (its parser in C)", parser.feed_data, itertools.cycle(ever_new))
    loop.close()


if __name__ == "__main__":
    main()
