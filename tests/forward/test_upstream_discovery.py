"""The life of what was looked up: directories on real sockets, time by hand."""

from __future__ import annotations

import asyncio
import json
import logging
from typing import Any

import pytest
from support.clock import FakeClock, settle
from support.directory import Directory, said

from proxy.clock import SystemClock
from proxy.config.schema import Discover, TokenTimeouts
from proxy.errors import ConfigurationError, ProxyError
from proxy.forward.dial import Dialler, Origin
from proxy.forward.directory import NOWHERE, Rule
from proxy.forward.directory_errors import DirectoryRefused, DirectoryUnavailable
from proxy.forward.pool import Pool
from proxy.forward.upstream_discovery import UpstreamDiscovery
from proxy.tokens.http_client import HttpClient

PATIENCE = 10


class Traveller:
    """Somebody who wants to get there."""

    def __init__(self) -> None:
        self.got: Any = None

    def upstream_resolved(self, pool: Pool, base: bytes) -> None:
        assert self.got is None
        self.got = (pool.origin.authority, base)

    def not_connected(self, error: ProxyError) -> None:
        assert self.got is None
        self.got = error

    def connected(self, upstream: Any) -> None:
        raise AssertionError(upstream)


class Square:
    """A signpost, its directory and its clock."""

    def __init__(self, directory: Directory, **more: Any) -> None:
        self.directory = directory
        self.clock = FakeClock()
        self.client = HttpClient(timeouts=TokenTimeouts())
        self.moves = 0
        self.broken = False
        self.post = self.another(**more)

    def another(self, **more: Any) -> UpstreamDiscovery:
        given = {"url": f"{self.directory.url}/where?key=hush", "allow_hosts": ("*.example.net", "api.example"), **more}
        return UpstreamDiscovery(Rule(Discover(**given)), self.client, self.clock, self._pool, self._moved)

    def _pool(self, found: Any, recheck: Any) -> Pool:
        assert callable(recheck)
        if self.broken:
            raise ConfigurationError("TLS: key.pem cannot be used")
        return Pool(Dialler(Origin(found.scheme, found.host, found.port, 1.0)), 1000, 10, SystemClock())

    def _moved(self) -> None:
        self.moves += 1

    def asks(self) -> Traveller:
        one = Traveller()
        self.post.wait(one)
        return one

    async def looked(self, times: int) -> None:
        """Wait until that many look-ups have come to an end; with a fake clock the next one then waits for its time."""
        async with asyncio.timeout(PATIENCE):
            await self.directory.received(times)
            while self.post._looking or not self.clock.sleeping:
                await asyncio.sleep(0.005)

    async def after(self, seconds: float, times: int) -> None:
        await self.clock.advance(seconds)
        await self.looked(times)


@pytest.fixture
async def directory():
    async with Directory(base="api.example/v1") as running:
        yield running


@pytest.fixture
async def square(directory):
    made = Square(directory, ttl=600.0)
    yield made
    await made.post.stop()
    await made.client.close()


async def test_whoever_comes_before_the_first_answer_waits_for_the_one_look_up(square, directory):
    go = asyncio.Event()
    directory.script(go, said(b'{"baseURI": "api.example:8443/v1"}'))
    square.post.start()
    square.post.start()
    early = [square.asks() for _ in range(100)]
    gone = square.asks()
    await directory.received(1)
    late = square.asks()
    square.post.forget(gone)
    square.post.forget(gone)
    assert not any(one.got for one in (*early, late))
    go.set()
    await square.looked(1)
    assert {one.got for one in (*early, late)} == {("api.example:8443", b"/v1")}
    assert gone.got is None
    assert square.asks().got == ("api.example:8443", b"/v1")
    assert (len(directory.requests), square.moves) == (1, 1)


async def test_until_it_is_known_it_leads_nowhere(square):
    assert square.post.take(0.0) is None
    assert (square.post.origin.host, square.post.found, square.post.base) == (NOWHERE, None, b"")


async def test_nothing_but_the_name_of_the_directory_is_said_of_its_url(square, directory, caplog):
    caplog.set_level(logging.INFO, "auth_sidecar.forward")
    directory.whole = said(b"", 500)
    square.post.start()
    await square.looked(1)
    directory.whole = None
    await square.after(60, 2)
    assert caplog.messages == [
        f"{directory.url}/where: the upstream cannot be looked up: The directory answered 500",
        f"{directory.url}/where: the upstream is https://api.example/v1",
    ]


async def test_it_is_looked_up_again_at_its_time_and_a_tenth_earlier_at_most(square, directory):
    square.post.start()
    await square.looked(1)
    await square.clock.advance(599)
    await settle()
    assert len(directory.requests) == 1
    square.clock.chance_value = 0.99
    await square.after(1, 2)
    await square.clock.advance(540)
    assert len(directory.requests) == 2
    await square.after(1, 3)
    assert square.moves == 1


async def test_the_old_one_serves_while_the_new_one_is_looked_up(square, directory):
    square.post.start()
    await square.looked(1)
    go = asyncio.Event()
    directory.script(go, said(b'{"baseURI": "new.example.net"}'))
    await square.clock.advance(600)
    await directory.received(2)
    assert square.asks().got == ("api.example", b"/v1")
    old = square.post.pool
    go.set()
    await square.looked(2)
    assert square.asks().got == ("new.example.net", b"")
    assert square.post.pool is not old
    assert square.moves == 2


async def test_where_no_connection_can_be_had_it_is_looked_up_again_but_not_all_the_time(square, directory):
    square.post.recheck()
    square.post.start()
    await square.looked(1)
    await square.clock.advance(29)
    square.post.recheck()
    await settle()
    assert len(directory.requests) == 1
    directory.base = "moved.example.net"
    await square.clock.advance(1)
    square.post.recheck()
    square.post.recheck()
    await square.looked(2)
    assert square.asks().got == ("moved.example.net", b"")
    await square.after(599, 2)
    await square.after(1, 3)
    directory.whole = said(b"", 503, "Retry-After: 200")
    await square.after(600, 4)
    await square.clock.advance(100)
    square.post.recheck()
    await settle()
    assert len(directory.requests) == 4, "a directory in trouble is not asked before its time"


async def test_another_path_on_the_same_host_keeps_the_connections(square, directory):
    square.post.start()
    await square.looked(1)
    pool = square.post.pool
    directory.base = "api.example/v2"
    await square.after(600, 2)
    assert square.asks().got == ("api.example", b"/v2")
    assert square.post.pool is pool
    assert square.moves == 2


async def test_between_two_vain_attempts_nobody_waits_and_each_is_told_when_to_come_again(square, directory):
    directory.whole = said(b"", 503, "Retry-After: 120")
    square.post.start()
    waited = square.asks()
    await square.looked(1)
    assert isinstance(waited.got, DirectoryUnavailable)
    assert waited.got.headers == (("Retry-After", "120"),)
    await square.clock.advance(20)
    assert square.asks().got.headers == (("Retry-After", "100"),)
    assert len(directory.requests) == 1
    assert square.moves == 0
    directory.whole = None
    await square.after(100, 2)
    assert square.asks().got == ("api.example", b"/v1")


async def test_a_directory_that_is_down_is_asked_again_ever_more_slowly_and_what_was_found_stays(
    square, directory, caplog
):
    caplog.set_level(logging.INFO, "auth_sidecar.forward")
    square.post.start()
    await square.looked(1)
    directory.whole = said(b"", 500)
    await square.after(600, 2)
    for times, seconds in enumerate((1, 2, 4, 8, 16, 32, 60, 60, 60), start=3):
        await square.clock.advance(seconds - 0.5)
        assert len(directory.requests) == times - 1
        await square.after(0.5, times)
        assert square.asks().got == ("api.example", b"/v1")
    assert isinstance(square.post.last_error, DirectoryUnavailable)
    assert square.clock.elapsed() - square.post.found_at > 800
    directory.whole = None
    await square.after(60, 12)
    assert square.post.last_error is None
    assert square.post.found_at == square.clock.elapsed()
    assert [message.partition(": ")[2] for message in caplog.messages[1:]] == [
        "the upstream cannot be looked up: The directory answered 500; https://api.example/v1 stays in use",
        "well again; the upstream still is https://api.example/v1",
    ]


async def test_a_value_that_may_not_be_used_is_told_to_the_operator_and_not_to_the_caller(square, directory, caplog):
    directory.base = "evil.example"
    square.post.start()
    waited = square.asks()
    await square.looked(1)
    assert isinstance(waited.got, DirectoryRefused)
    assert waited.got is not square.post.last_error
    assert square.asks().got.detail == waited.got.detail == "The directory names a host that `allow_hosts` does not"
    assert "(https://evil.example)" in caplog.text
    directory.base = "evil.example/\r\nforged log line"
    await square.after(60, 2)
    assert "forged" not in caplog.text


async def test_a_directory_that_cannot_be_reached_is_down(square, directory):
    await directory.stop()
    with pytest.raises(DirectoryUnavailable, match="The directory cannot be reached"):
        await square.post.look()


async def test_tls_files_that_cannot_be_used_are_a_failed_look_up(square):
    square.broken = True
    with pytest.raises(DirectoryUnavailable, match="TLS files"):
        await square.post.look()
    assert square.post.found is None


async def test_a_defect_of_ours_leaves_nobody_waiting(square, caplog, monkeypatch):
    def broken(*_):
        raise RuntimeError("hush")

    monkeypatch.setattr(Rule, "read", broken)
    square.post.start()
    waited = square.asks()
    await square.looked(1)
    assert isinstance(waited.got, DirectoryUnavailable)
    assert "RuntimeError" in caplog.text
    assert "hush" not in caplog.text
    monkeypatch.undo()
    await square.after(1, 2)
    assert square.asks().got == ("api.example", b"/v1")


async def test_who_waits_when_it_is_stopped_is_served_by_the_look_up_that_is_under_way(square, directory):
    go = asyncio.Event()
    directory.script(go, said(b'{"baseURI": "api.example"}'))
    square.post.start()
    waits = square.asks()
    await directory.received(1)
    stopping = asyncio.create_task(square.post.stop())
    await settle()
    assert not stopping.done()
    go.set()
    await stopping
    assert waits.got == ("api.example", b"")
    assert len(directory.requests) == 1


async def test_once_it_is_stopped_nobody_waits(square, directory):
    directory.script(asyncio.Event())
    square.post.start()
    await square.post.stop()
    assert isinstance(square.asks().got, DirectoryUnavailable)
    await square.post.stop()


async def test_one_that_never_looked_is_stopped_too(square):
    await square.post.stop()


@pytest.mark.parametrize(
    ("more", "inherits"),
    [
        ({"ttl": 5.0}, True),
        ({"allow_hosts": ("api.example",)}, True),
        ({"allow_hosts": ("other.example",)}, False),
        ({"scheme": "http"}, True),
        ({"json_pointer": "/other"}, False),
        ({"url": "https://directory.example/other"}, False),
    ],
)
async def test_a_changed_configuration_goes_on_with_what_may_still_be_used(square, more, inherits):
    await square.post.look()
    await square.clock.advance(5)
    other = square.another(**more)
    other.inherit(square.post)
    assert (other.found is not None) is inherits
    assert (other.pool is not None) is inherits
    if other.found is not None:
        assert other.found_at == square.post.found_at
        assert other.found.scheme == more.get("scheme", "https")
    other.inherit(square.another())
    assert (other.found is not None) is inherits


async def test_what_was_found_is_not_inherited_where_our_own_files_are_broken(square):
    await square.post.look()
    square.broken = True
    other = square.another()
    other.inherit(square.post)
    assert other.found is None


async def test_an_answer_larger_than_a_mebibyte_is_not_read_to_its_end(square, directory):
    directory.whole = said(json.dumps({"baseURI": "api.example", "pad": "x" * 2_000_000}).encode())
    with pytest.raises(DirectoryRefused, match="1 MiB"):
        await square.post.look()


async def test_redirects_are_not_followed(square, directory):
    directory.whole = said(b'{"baseURI": "api.example"}', 302, f"Location: {directory.url}/elsewhere")
    with pytest.raises(DirectoryRefused, match="redirects"):
        await square.post.look()
    assert len(directory.requests) == 1


@pytest.mark.parametrize(("scheme", "port"), [("https", 443), ("http", 80)])
async def test_nowhere_has_the_port_of_its_scheme(directory, scheme, port):
    square = Square(directory, scheme=scheme)
    assert (square.post.origin.authority, square.post.origin.port) == (NOWHERE, port)
