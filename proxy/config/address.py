"""Addresses, hosts and URLs as the configuration writes them."""

from __future__ import annotations

import contextlib
import ipaddress
import re
from typing import NamedTuple
from urllib.parse import SplitResult, urlsplit

from proxy.default_ports import DEFAULT_PORTS

_LABEL = r"[A-Za-z0-9_](?:[A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?"
_NAME = re.compile(rf"(?=.{{1,253}}\Z){_LABEL}(?:\.{_LABEL})*\.?")
_PORT = re.compile(r"0|[1-9][0-9]{0,4}")
_UNIX_LIMIT = 103  # sun_path less its NUL: 107 on Linux, 103 on macOS
HIGHEST_PORT = 65535
_AUTHORITY = re.compile(r"https?://([^/?#@:\s]+)", re.IGNORECASE)
_URL = re.compile(r"[\x21-\x7e]+")
_ESCAPES = re.compile(r"(?:%2f|%5c|[/\\])(?:\.|%2e){1,2}(?:;[^/]*)?(?=%2f|%5c|[/\\]|\Z)", re.IGNORECASE)
_METADATA = frozenset(map(ipaddress.ip_address, ("100.100.100.200", "192.0.0.192", "fd00:ec2::254")))
"""Metadata services of clouds (Alibaba, Oracle, Amazon) whose addresses are not link-local."""
_NAT64 = ipaddress.ip_network("64:ff9b::/96")
"""RFC 6052 §2.1: the last 32 bits are an IPv4 address."""


Ip = ipaddress.IPv4Address | ipaddress.IPv6Address


class Address(NamedTuple):
    """A listener's address: host (IPv6 without brackets) and port, or the path of a unix socket."""

    host: str
    port: int
    path: str | None = None

    @property
    def loopback(self) -> bool:
        """Whether only this machine can reach it; true of unix sockets."""
        return self.path is not None or is_loopback(self.host)

    def reached_by(self, host: str, port: int) -> bool:
        """Whether a URL with this host and port leads here."""
        if self.path is not None or port != self.port:
            return False
        mine, its = _hosts(self.host), _hosts(host.lower())
        return bool(mine & its) or "*" in its or ("*" in mine and is_loopback(host))

    def meets(self, other: Address) -> bool:
        """Whether the two conflict: a process cannot listen on both."""
        if self.path is not None or other.path is not None:
            return self.path == other.path
        return self.port == other.port != 0 and bool(
            _hosts(self.host) & _hosts(other.host) or "*" in _hosts(self.host) | _hosts(other.host)
        )


def parse_address(text: str) -> Address:
    """`host:port`, `[v6]:port` or `unix:/path`. Raises ValueError: a sentence."""
    if text.startswith("unix:"):
        return Address("", 0, parse_socket_path(text.removeprefix("unix:")))
    host, colon, port = text.rpartition(":")
    if not colon or not host:
        raise ValueError("an address is host:port, [v6]:port or unix:/path, such as 127.0.0.1:8080")
    if not _PORT.fullmatch(port) or int(port) > HIGHEST_PORT:
        raise ValueError(f"a port is a number from 0 to {HIGHEST_PORT}")
    if host.startswith("[") and host.endswith("]"):
        try:
            return Address(str(ipaddress.IPv6Address(host[1:-1])), int(port))
        except ValueError:
            raise ValueError("what stands in brackets is no IPv6 address") from None
    if ":" in host:
        raise ValueError("an IPv6 address is written in brackets: [::1]:8080")
    if not is_host(host):
        raise ValueError("the host is neither a name nor an IPv4 address")
    return Address(host.lower(), int(port))


def parse_socket_path(path: str) -> str:
    """The path of a unix socket. Raises ValueError: a sentence."""
    if not path:
        raise ValueError("a unix socket needs a path: unix:/run/auth-sidecar.sock")
    if "\0" in path:
        raise ValueError("the path of a unix socket holds no NUL")
    if len(path.encode()) > _UNIX_LIMIT:
        raise ValueError(f"the path of a unix socket has at most {_UNIX_LIMIT} octets")
    return path


def no_host(text: str) -> str:
    """The message for a text that `is_host` refuses. A name in another script is shown as it is written in ASCII."""
    if text.isascii():
        return "this is no host"
    with contextlib.suppress(UnicodeError):
        spelled = text.encode("idna").decode("ascii")
        if is_host(spelled) and spelled.encode().decode("idna") == text.lower():  # no other name has this spelling
            return f"a host name is written in ASCII here: {spelled}"
    return "a host name is written in ASCII here: xn--…"


def is_host(text: str) -> bool:
    """A host name, an IPv4 address, or an IPv6 address in brackets."""
    if text.startswith("[") and text.endswith("]"):
        return _ip(text[1:-1]) is not None and ":" in text
    if re.fullmatch(r"[0-9.]+", text):
        return _ip(text) is not None
    return bool(_NAME.fullmatch(text))


def is_address(text: str) -> bool:
    """An IPv4 or IPv6 address, brackets or not, and no name."""
    return _ip(text.strip("[]")) is not None


def ip_of(text: str) -> Ip | None:
    """The address that a text is, brackets or not, an IPv4-mapped one as IPv4; None for a name."""
    address = _ip(text.strip("[]"))
    return address.ipv4_mapped or address if isinstance(address, ipaddress.IPv6Address) else address


def is_loopback(host: str) -> bool:
    """`localhost`, 127.0.0.0/8, ::1; brackets or not."""
    address = _ip(host.strip("[]"))
    return address.is_loopback if address else host.lower().rstrip(".") == "localhost"


def parse_url(text: str, *, query: bool = False) -> SplitResult:
    """An absolute http or https URL without user info and fragment. Raises ValueError: a sentence."""
    if (named := _AUTHORITY.match(text)) and not named[1].isascii():
        raise ValueError(no_host(named[1]))
    if not _URL.fullmatch(text):
        raise ValueError("a URL has no blanks and no characters beyond ASCII: percent-encode them")
    try:
        url = urlsplit(text)
        port = url.port
    except ValueError:
        raise ValueError("this is no URL") from None
    if url.scheme not in ("http", "https"):
        raise ValueError("a URL starts with https:// or http://")
    if "@" in url.netloc:
        raise ValueError("a URL holds no user name or password here")
    host = url.netloc.rpartition(":")[0] if port is not None or url.netloc.endswith(":") else url.netloc
    if not is_host(host) or url.netloc.endswith(":") or port == 0:
        raise ValueError("this URL has no valid host")
    if "#" in text:
        raise ValueError("a URL has no fragment (#…) here")
    if "?" in text and not query:
        raise ValueError("a URL has no query (?…) here")
    return url


def port_of(url: SplitResult) -> int:
    """The port that a URL leads to."""
    return url.port or DEFAULT_PORTS[url.scheme]


def escapes(path: str) -> bool:
    """Whether a path has `.` or `..` in it once it is decoded."""
    return bool(_ESCAPES.search(path))


def is_prohibited(host: str) -> bool:
    """Whether no API can be at an address: link-local (metadata services), unspecified, multicast; brackets or not."""
    address = _ip(host.strip("[]"))
    if isinstance(address, ipaddress.IPv6Address):
        inner = address.ipv4_mapped or address.sixtofour
        if address in _NAT64:
            inner = ipaddress.IPv4Address(int(address) & 0xFFFF_FFFF)
        address = inner or address
    return address is not None and (
        address.is_link_local or address.is_unspecified or address.is_multicast or address in _METADATA
    )


def _ip(text: str) -> Ip | None:
    try:
        return ipaddress.ip_address(text)
    except ValueError:
        return None


def _hosts(host: str) -> set[str]:
    """The addresses that listening on a host occupies; `*` for all."""
    address = _ip(host)
    if address is not None and address.is_unspecified:
        return {"*"}
    return {"127.0.0.1", "::1"} if host == "localhost" else {str(address or host)}
