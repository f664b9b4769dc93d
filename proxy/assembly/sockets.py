"""Sockets bound to a configured address, before they listen."""

from __future__ import annotations

import errno
import os
import socket
from contextlib import ExitStack
from pathlib import Path

from proxy.config.address import Address
from proxy.forward.socket_file import private, remove_stale


def rehearse(address: Address, *, reuse_port: bool) -> None:
    """Bind and close again, to find out whether it works. Raises OSError."""
    for one in bound(address, reuse_port=reuse_port):
        one.close()
    if address.path is not None:
        Path(address.path).unlink()


def bound(address: Address, *, reuse_port: bool) -> list[socket.socket]:
    """One socket for each address that the host has. Raises OSError, and leaves none open then."""
    if address.path is not None:
        return [_bound_unix(address.path)]
    with ExitStack() as opened:
        made = []
        found = socket.getaddrinfo(address.host, address.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        for family, kind, protocol, _, where in dict.fromkeys(found):
            one = opened.enter_context(socket.socket(family, kind, protocol))
            _set_options(one, reuse_port=reuse_port)
            try:
                one.bind(where)
            except OSError as error:
                if error.errno != errno.EADDRNOTAVAIL or len(found) == 1:  # a name may have addresses of other machines
                    raise
                one.close()
            else:
                made.append(one)
        if not made:
            raise OSError(errno.EADDRNOTAVAIL, os.strerror(errno.EADDRNOTAVAIL))
        opened.pop_all()
        return made


def _set_options(one: socket.socket, *, reuse_port: bool) -> None:
    one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    if reuse_port:
        one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    if one.family == socket.AF_INET6:
        one.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)


def _bound_unix(path: str) -> socket.socket:
    remove_stale(path)
    with private(), ExitStack() as opened:
        made = opened.enter_context(socket.socket(socket.AF_UNIX))
        made.bind(path)
        opened.pop_all()
        return made
