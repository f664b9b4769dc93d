"""Enough file descriptors, and no storm where there are not."""

from __future__ import annotations

import asyncio
import os
import resource
import socket
from asyncio import constants

import pytest
from support.front import Gate, request

from proxy.forward.descriptors import Descriptors, provide


@pytest.fixture(autouse=True)
def limits():
    """Whatever a test does to the limits is undone."""
    soft, hard = before = resource.getrlimit(resource.RLIMIT_NOFILE)
    yield soft, hard
    resource.setrlimit(resource.RLIMIT_NOFILE, before)


def _soft() -> int:
    return resource.getrlimit(resource.RLIMIT_NOFILE)[0]


def _lower(soft: int) -> None:
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))


def test_the_soft_limit_is_raised_as_far_as_it_may_be(limits):
    _, hard = limits
    _lower(hard - 100)
    assert provide(hard - 50) == hard - 50 == _soft()
    assert provide(hard - 70) == hard - 70, "never lowered"
    assert _soft() == hard - 50
    assert provide(hard + 1000) == hard == _soft()


def test_a_limit_that_the_system_does_not_raise_stays(limits, monkeypatch):
    def refuses(*_):
        raise ValueError("not allowed to raise maximum limit")

    _lower(limits[1] - 1)
    monkeypatch.setattr(resource, "setrlimit", refuses)
    try:
        assert provide(limits[1]) == limits[1] - 1
    finally:
        monkeypatch.undo()


def test_too_low_a_hard_limit_is_told_once(limits, caplog):
    descriptors = Descriptors()
    descriptors.ask(100)
    assert not caplog.records
    for _ in range(2):
        descriptors.ask(limits[1] + 1)
    (told,) = (record.getMessage() for record in caplog.records)
    assert told.startswith(f"only {limits[1]} file descriptors (ulimit -n) where up to {limits[1] + 1} may be needed")


async def test_the_program_asks_for_what_its_limits_may_need(upstream, limits):
    _lower(limits[1] - 1)
    async with Gate(upstream.url, limits={"max_connections": limits[1]}):
        assert _soft() == limits[1]


async def test_connections_without_a_descriptor_are_ended_once_and_later_ones_are_served(upstream, monkeypatch, caplog):
    monkeypatch.setattr(constants, "ACCEPT_RETRY_DELAY", 0.01)
    async with Gate(upstream.url) as gate, gate.client() as client:
        assert (await client.ask(request())).status == 200
        apps = [socket.socket() for _ in range(20)]
        free = os.dup(apps[0].fileno())
        os.close(free)
        _lower(free)
        loop = asyncio.get_running_loop()
        try:
            for app in apps:
                app.setblocking(False)  # noqa: FBT003 - the library's signature
                await loop.sock_connect(app, ("127.0.0.1", gate.port))
            ended = await asyncio.gather(*(loop.sock_recv(app, 1) for app in apps), return_exceptions=True)
            assert (await client.ask(request())).status == 200, "connections that there are go on"
        finally:
            for app in apps:
                app.close()
        assert all(one == b"" or isinstance(one, ConnectionError) for one in ended)
        lines = [record.getMessage() for record in caplog.records]
        assert 1 <= len(lines) <= len(apps)
        assert sum(int(line.split(": ")[1].split(" ")[0]) for line in lines) == len(apps)
        assert (await gate.ask(request())).status == 200


async def test_the_end_comes_in_order_though_no_descriptors_are_left(upstream):
    async with Gate(upstream.url) as gate:
        free = os.dup(0)
        os.close(free)
        _lower(free)
        assert await gate.front.drain(0.1)


async def test_other_mishaps_are_asyncios_to_tell(caplog):
    loop = asyncio.get_running_loop()
    Descriptors().failed(loop, {"message": "something else"})
    assert "something else" in caplog.text
