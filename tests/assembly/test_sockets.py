"""Sockets that are bound to a configured address."""

from __future__ import annotations

import errno
import socket
import stat
from pathlib import Path

import pytest
from support.process import free_port

from proxy.assembly import sockets
from proxy.config.address import parse_address


def test_a_name_with_several_addresses_is_bound_at_each():
    port = free_port()
    made = sockets.bound(parse_address(f"localhost:{port}"), reuse_port=False)
    found = socket.getaddrinfo("localhost", port, type=socket.SOCK_STREAM)
    assert 1 <= len(made) <= len(found)
    assert {one.getsockname()[1] for one in made} == {port}
    for one in made:
        one.close()


def test_a_taken_port_is_told_and_no_socket_stays_open():
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = parse_address(f"127.0.0.1:{taken.getsockname()[1]}")
        for attempt in (sockets.bound, sockets.rehearse):
            with pytest.raises(OSError, match="in use") as caught:
                attempt(address, reuse_port=False)
            assert caught.value.errno == errno.EADDRINUSE


def test_an_address_of_another_machine_is_told():
    with pytest.raises(OSError, match="assign") as caught:
        sockets.bound(parse_address(f"192.0.2.1:{free_port()}"), reuse_port=False)
    assert caught.value.errno == errno.EADDRNOTAVAIL


def test_processes_may_share_a_port_where_they_are_told_to():
    address = parse_address(f"127.0.0.1:{free_port()}")
    first = sockets.bound(address, reuse_port=True)
    second = sockets.bound(address, reuse_port=True)
    for one in (*first, *second):
        one.close()


def test_a_rehearsal_leaves_nothing_behind(tmp_path):
    sockets.rehearse(parse_address(f"unix:{tmp_path}/s"), reuse_port=False)
    address = parse_address(f"127.0.0.1:{free_port()}")
    for _ in range(2):
        sockets.rehearse(address, reuse_port=False)
    assert not (tmp_path / "s").exists()


def test_the_file_of_a_unix_socket_is_its_owners_and_takes_the_place_of_a_dead_one(tmp_path):
    path = tmp_path / "s"
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(path))
    (made,) = sockets.bound(parse_address(f"unix:{path}"), reuse_port=False)
    assert stat.S_IMODE(Path(path).stat().st_mode) == 0o600
    made.listen()
    with pytest.raises(OSError, match="another process"):
        sockets.bound(parse_address(f"unix:{path}"), reuse_port=False)
    made.close()
