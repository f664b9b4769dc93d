"""The Host of a request: its grammar, and the list of hosts that are allowed.

The law: a value that is not exactly `uri-host [ ":" port ]` (RFC 9110 §7.2, RFC 3986 §3.2.2) makes a request malformed.
Hosts are normalised here and nowhere else: lower case, and one form for an IPv6 address. A comma is refused although
RFC 3986 allows it in a name: some proxy may have joined two Host fields with it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import lru_cache
from ipaddress import AddressValueError, IPv6Address

from proxy.errors import MalformedRequest

_HOST = re.compile(
    rb"""
    (?: (?P<name> (?: [A-Za-z0-9\-._~!$&'()*+;=] | %[0-9A-Fa-f]{2} ){1,255} )
      | \[ (?: (?P<v6> [0-9A-Fa-f:.]{2,45} )
             | (?P<future> [vV][0-9A-Fa-f]{1,16}\.[A-Za-z0-9\-._~!$&'()*+,;=:]{1,128} ) ) \]
    )
    (?: : (?P<port> [0-9]{0,5} ) )?
    """,
    re.VERBOSE,
)
_MAX_PORT = 65535


@lru_cache(maxsize=1024)
def parse_host(value: bytes) -> tuple[bytes, int | None]:
    """The host (lower case; an IPv6 literal in brackets and in its shortest form) and the port of a Host field's value.

    The port is None where none is written (an empty one counts as none). The last 1024 answers are remembered; the
    grammar bounds their length. Raises MalformedRequest for anything else: user info, paths, lists, zones, nothing.
    """
    match = _HOST.fullmatch(value)
    if match is None:
        raise MalformedRequest("Host is malformed.")
    digits = match["port"]
    port = int(digits) if digits else None
    if port is not None and port > _MAX_PORT:
        raise MalformedRequest("Host names a port above 65535.")
    if match["v6"] is None:
        return value[: match.end("name")].lower() if match["name"] else b"[%b]" % match["future"].lower(), port
    try:
        return b"[%b]" % IPv6Address(match["v6"].decode()).compressed.encode(), port
    except AddressValueError:
        raise MalformedRequest("Host holds a malformed IPv6 address.") from None


class HostGuard:
    """The hosts that a listener answers to: the defence against DNS rebinding.

    `allowed`: host, or host:port, in any case; an entry without a port allows every port; no entries allow every host.
    `default_port` is what a Host without a port means on this listener. Raises ValueError for an entry that is no host.
    """

    __slots__ = ("_any", "_default_port", "_hosts", "_places")

    def __init__(self, allowed: Iterable[str], *, default_port: int = 80) -> None:
        hosts: set[bytes] = set()
        places: set[tuple[bytes, int]] = set()
        for entry in allowed:
            host, port = _entry(entry)
            if port is None:
                hosts.add(host)
            else:
                places.add((host, port))
        self._any = not hosts and not places
        self._hosts = frozenset(hosts)
        self._places = frozenset(places)
        self._default_port = default_port

    def allows(self, value: bytes) -> bool:
        """Whether the value of a Host field (or the authority of an absolute-form target) is on the list.

        Raises MalformedRequest where it is no host at all.
        """
        host, port = parse_host(value)
        if host in self._hosts or self._any:
            return True
        return (host, self._default_port if port is None else port) in self._places


def _entry(entry: str) -> tuple[bytes, int | None]:
    """One entry of the list; an IPv6 address may lack its brackets."""
    try:
        if entry.count(":") > 1 and not entry.startswith("["):
            entry = f"[{entry}]"
        return parse_host(entry.encode("ascii"))
    except (MalformedRequest, UnicodeEncodeError):
        raise ValueError(f"not a host: {entry!r}") from None
