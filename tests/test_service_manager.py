"""What systemd hears, on the socket that it would listen on."""

from __future__ import annotations

import os
import socket
import sys
import time
import uuid
from contextlib import closing

import pytest
from support.notified import Notified

from proxy.service_manager import ServiceManager

ABSTRACT = pytest.param("abstract", marks=pytest.mark.skipif(sys.platform != "linux", reason="Linux alone has these"))


@pytest.fixture(params=["path", ABSTRACT])
def notified(request, tmp_path):
    address = str(tmp_path / "notify") if request.param == "path" else f"@auth-sidecar-{uuid.uuid4().hex}"
    with closing(Notified(address)) as listening:
        yield listening


def test_each_event_is_one_datagram_of_assignments(notified):
    manager = ServiceManager(notified.address)
    manager.ready("serving")
    before = time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000
    manager.reloading()
    after = time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000
    manager.stopping(25.5)
    manager.alive()
    ready, reloading, stopping, alive = notified.heard(4)
    assert ready == {"READY": "1", "STATUS": "serving"}
    assert reloading["RELOADING"] == "1"
    assert before <= int(reloading["MONOTONIC_USEC"]) <= after
    assert (stopping["STOPPING"], stopping["EXTEND_TIMEOUT_USEC"]) == ("1", "25500000")
    assert alive == {"WATCHDOG": "1"}


def test_without_a_socket_nobody_is_told_and_nothing_is_said(caplog):
    manager = ServiceManager.of({}, 1)
    manager.ready("serving")
    manager.alive()
    assert manager.watchdog is None
    assert caplog.text == ""


def test_a_socket_that_is_gone_is_told_once_and_again_after_it_was_there(tmp_path, caplog):
    address = str(tmp_path / "notify")
    manager = ServiceManager(address)
    manager.alive()
    manager.alive()
    assert [record.getMessage() for record in caplog.records] == [
        "the service manager cannot be notified: no such file or directory"
    ]
    with closing(Notified(address)) as listening:
        manager.alive()
        assert listening.heard(1) == [{"WATCHDOG": "1"}]
    manager.alive()
    assert len(caplog.records) == 2


def test_a_socket_whose_queue_is_full_does_not_hold_the_program_up_for_good(notified, monkeypatch, caplog):
    monkeypatch.setattr("proxy.service_manager._PATIENCE", 0.01)
    manager = ServiceManager(notified.address)
    for _ in range(5000):  # more than any system queues (net.unix.max_dgram_qlen)
        manager.alive()
        if caplog.records:
            break
    assert "cannot be notified: timed out" in caplog.text


@pytest.mark.parametrize(
    ("environ", "watchdog"),
    [
        ({}, None),
        ({"WATCHDOG_USEC": "30000000"}, 15.0),
        ({"WATCHDOG_USEC": "30000000", "WATCHDOG_PID": str(os.getpid())}, 15.0),
        ({"WATCHDOG_USEC": "30000000", "WATCHDOG_PID": "1"}, None),
        ({"WATCHDOG_USEC": "0"}, None),
        ({"WATCHDOG_USEC": "soon"}, None),
    ],
)
def test_the_watchdog_is_fed_twice_as_often_as_asked_if_it_asks_us(environ, watchdog):
    environ = {"NOTIFY_SOCKET": "/nowhere", "OTHER": "kept", **environ}
    assert ServiceManager.of(environ, os.getpid()).watchdog == watchdog
    assert environ == {"OTHER": "kept"}


def test_a_watchdog_without_a_socket_is_nobodys():
    assert ServiceManager.of({"WATCHDOG_USEC": "30000000"}, 1).watchdog is None


def test_an_address_of_another_kind_is_said_and_let_be(caplog):
    manager = ServiceManager.of({"NOTIFY_SOCKET": "vsock:2:1234", "WATCHDOG_USEC": "1"}, 1)
    manager.ready("serving")
    assert manager.watchdog is None
    assert [record.getMessage() for record in caplog.records] == [
        "NOTIFY_SOCKET is 'vsock:2:1234': neither a path nor an abstract socket; nobody is notified"
    ]


def test_no_descriptor_stays_open(notified):
    manager = ServiceManager(notified.address)
    with socket.socket() as one:
        before = one.fileno()
    manager.alive()
    with socket.socket() as one:
        assert one.fileno() == before
