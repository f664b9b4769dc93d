"""Origins of web pages, as `cors` names them and as browsers write them into `Origin` (RFC 6454 §6.2)."""

from __future__ import annotations

import ipaddress
import re

from proxy.config.address import HIGHEST_PORT, is_address, is_host
from proxy.default_ports import DEFAULT_PORTS

ANY = "*"
_OPAQUE = frozenset({ANY, "null", "file://"})
"""Entries without a host."""
_ORIGIN = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://([\x21\x22\x24-\x2e\x30-\x3e\x41-\x5b\x5d-\x7e]+)")
_PORT = re.compile(r":([1-9][0-9]{0,4})\Z")
_LABELS = rb"(?:[a-z0-9_-]++\.)+"


def canonical(text: str) -> str:
    """An entry of `allow_origins` as browsers spell it: lower-case, without a port that is the scheme's own.

    `https://*.app.example` stands for all names below it, however many labels, and not for `app.example` itself.
    Raises ValueError: a sentence.
    """
    if text in _OPAQUE:
        return text
    match = _ORIGIN.fullmatch(text)
    if match is None:
        raise ValueError("this is no origin")
    scheme, authority = match[1].lower(), match[2]
    if scheme in ("ws", "wss"):
        raise ValueError("this is no origin of a page: browsers name the page's own, http:// or https://")
    if scheme not in DEFAULT_PORTS:
        if "*" in authority:
            raise ValueError(f"an origin of {scheme}: is named whole, without *")
        return f"{scheme}://{authority}"
    port = _PORT.search(authority)
    host = authority[: port.start()].lower() if port else authority.lower()
    name = host.removeprefix("*.")
    if "*" in name:
        raise ValueError("in an origin, * stands only at the beginning of the host, for all names below it")
    if not is_host(name) or (port and int(port[1]) > HIGHEST_PORT) or (name != host and is_address(name)):
        raise ValueError("this is no origin")
    if name.startswith("["):
        host = f"[{ipaddress.IPv6Address(name[1:-1])}]"
    return f"{scheme}://{host}{'' if port is None or int(port[1]) == DEFAULT_PORTS[scheme] else port[0]}"


class Origins:
    """The allowed origins, compared with the exact spelling of browsers. `allowed`: entries that `canonical` takes."""

    def __init__(self, allowed: tuple[str, ...]) -> None:
        spelled = [canonical(one) for one in allowed]
        self._any = ANY in spelled
        self._exact = frozenset(one.encode("ascii") for one in spelled if "*" not in one)
        below = [one.encode("ascii").split(b"*.") for one in spelled if "://*." in one]
        self._below = [re.compile(re.escape(scheme) + _LABELS + re.escape(rest)) for scheme, rest in below]

    def allow(self, origin: bytes) -> bool:
        """Whether pages of this origin are allowed."""
        return self._any or origin in self._exact or any(one.fullmatch(origin) for one in self._below)
