from __future__ import annotations

import os
import socket

from proxy.peer import peer_uid


def test_the_user_at_the_other_end_of_a_unix_socket_is_known():
    here, there = socket.socketpair(socket.AF_UNIX)
    with here, there:
        assert peer_uid(here) == os.getuid()


def test_over_tcp_there_is_no_user():
    with socket.create_server(("127.0.0.1", 0)) as server, socket.create_connection(server.getsockname()) as client:
        assert peer_uid(client) is None
