"""Which hosts are reached without the egress proxy (`via_proxy.no_proxy`): the rules of curl, with ports.

    *                       every host
    internal.example        this name and all below it; so is .internal.example, and *.internal.example
    10.1.2.3, ::1, [::1]    this address
    10.0.0.0/8, fd00::/8    the addresses of this network
    internal.example:8443   any of the first three, for this port alone; an IPv6 address is in brackets then

Names are compared as they are written: nothing is resolved to see whether its address is in a network.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable
from typing import NamedTuple

from proxy.config.address import HIGHEST_PORT, Ip, ip_of, is_host, no_host

_WITH_PORT = re.compile(r"(.*[^:]|\[.*\]):([0-9]{1,6})")
_BRACKETS = re.compile(r"\A\[([^\[\]]*)\](/.*)\Z")


class Exempt(NamedTuple):
    """One entry, read. Either `name` or `network` is given; neither: every host."""

    name: str | None = None
    network: ipaddress.IPv4Network | ipaddress.IPv6Network | None = None
    port: int | None = None

    def covers(self, name: str, address: Ip | None, port: int) -> bool:
        """Whether it matches a host. `name`: lower-case, without a dot at its end; `address`: if the host is one."""
        if self.port is not None and self.port != port:
            return False
        if self.network is not None:
            return address is not None and address in self.network
        return self.name is None or (address is None and (name == self.name or name.endswith("." + self.name)))


class NoProxy:
    """The entries of one list. Raises ValueError for the first that cannot be read: a sentence."""

    def __init__(self, entries: Iterable[str]) -> None:
        self._entries = tuple(map(parse_entry, entries))

    def covers(self, host: str, port: int) -> bool:
        """Whether a host (an IPv6 address with or without brackets) is reached directly."""
        name, address = host.lower().rstrip("."), ip_of(host)
        return any(entry.covers(name, address, port) for entry in self._entries)


def parse_entry(text: str) -> Exempt:
    """One entry of the list. Raises ValueError: a sentence."""
    if text == "*":
        return Exempt()
    if "/" in text and "://" not in text:
        try:
            return Exempt(network=ipaddress.ip_network(_BRACKETS.sub(r"\1\2", text), strict=False))
        except ValueError:
            raise ValueError("this is neither a host nor a network such as 10.0.0.0/8 or fd00::/8") from None
    if "," in text or " " in text:
        raise ValueError("each host is an entry of the list: [internal.example, 10.0.0.0/8]")
    return _host_entry(text)


def _host_entry(text: str) -> Exempt:
    """A name or an address, perhaps with a port."""
    host, port = text, None
    if (found := _WITH_PORT.fullmatch(text)) and ip_of(text) is None:
        host, port = found[1], int(found[2])
        if not 0 < port <= HIGHEST_PORT:
            raise ValueError(f"a port is a number from 1 to {HIGHEST_PORT}")
    if (host.startswith("[") or host.endswith("]")) and not is_host(host):
        raise ValueError("what stands in brackets is no IPv6 address")
    if (address := ip_of(host)) is not None:
        return Exempt(network=ipaddress.ip_network(address), port=port)
    name = host[2:] if host.startswith("*.") else host.removeprefix(".")
    if "*" in name:
        raise ValueError("`*` stands alone, or before a name (*.internal.example); networks are 10.0.0.0/8")
    if not is_host(name):
        raise ValueError(f"{no_host(name)}: a name, an address, a network, or one of the first two with :port")
    return Exempt(name=name.lower().rstrip("."), port=port)
