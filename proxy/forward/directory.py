"""What a directory's answer means: a base URL that requests and credentials may be sent to, or why it may not. Pure.

A directory is not trusted further than `allow_hosts` says: whoever can write into it, or speak in its place, must not
be able to send a credential elsewhere.
"""

from __future__ import annotations

from collections.abc import Iterable
from ipaddress import ip_address

from msgspec import Struct

from proxy.config.address import Address, escapes, is_address, is_host, is_prohibited, parse_url, port_of
from proxy.config.schema import Discover
from proxy.config.secrets import SecretError, extract
from proxy.default_ports import DEFAULT_PORTS
from proxy.forward.directory_errors import DirectoryRefused, DirectoryUnavailable
from proxy.tokens.body import MAX_REPLY

NOWHERE = "undiscovered.invalid"
"""Stands for the host that is not known yet (RFC 6761 §6.4). Nothing is ever sent there."""

_OK = 200
_LATER = frozenset({408, 425, 429})
_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_SERVER_ERRORS = 500


class BaseUrl(Struct, frozen=True):
    """A base URL: where connections lead, and the path that goes before every target (no slash at its end).

    `value`: as the directory wrote it. `host` in lower case, an IPv6 address without brackets.
    """

    scheme: str
    host: str
    port: int
    base: str
    value: str

    @property
    def url(self) -> str:
        """The base URL in one piece, a port always named unless it is the scheme's own."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{self.scheme}://{host}{'' if self.port == DEFAULT_PORTS[self.scheme] else f':{self.port}'}{self.base}"


class Rule(Struct, frozen=True):
    """What one directory may say. `ours`: our own listeners, to which no route may lead. `speaker`: who says it."""

    discover: Discover
    ours: tuple[Address, ...] = ()
    speaker: str = "The directory"

    def read(self, status: int, body: bytes, requested: float = 0.0) -> BaseUrl:
        """The base URL of an answer. `requested`: the seconds of its Retry-After.

        Raises DirectoryUnavailable or DirectoryRefused.
        """
        if status >= _SERVER_ERRORS or status in _LATER:
            raise DirectoryUnavailable(f"The directory answered {status}", retry_after=requested)
        if status in _REDIRECTS:
            raise DirectoryRefused(f"The directory answered {status}, and redirects are not followed")
        if status != _OK:
            raise DirectoryRefused(f"The directory answered {status}")
        if len(body) > MAX_REPLY:
            raise DirectoryRefused("The directory's answer is larger than 1 MiB")
        try:
            text = body.decode("utf-8-sig")
            value = extract(text, self.discover.json_pointer, "the answer")
        except (UnicodeDecodeError, SecretError):
            raise DirectoryRefused("The directory's answer has no string where `json_pointer` points") from None
        return self.judge(value)

    def judge(self, value: str) -> BaseUrl:
        """The base URL that a value stands for: a URL, or a host with or without a port and a path.

        Raises DirectoryRefused.
        """
        given, wanted = value.strip(), self.discover.scheme
        try:
            url = parse_url(given if "://" in given else f"{wanted}://{given}")
        except ValueError:
            raise DirectoryRefused(f"{self.speaker} names neither a host nor a base URL") from None
        host = _plain(url.hostname or "")
        named = f"{url.scheme}://{url.netloc}"
        if url.scheme == "http" and wanted == "https":
            raise DirectoryRefused(f"{self.speaker} names an http:// URL, and `scheme` is https", named=named)
        if escapes(url.path):
            raise DirectoryRefused(f"{self.speaker} names a URL with `.` or `..` in its path", named=named)
        if is_prohibited(host):
            raise DirectoryRefused(f"{self.speaker} names a link-local address", named=named)
        if not allows(self.discover.allow_hosts, host):
            raise DirectoryRefused(f"{self.speaker} names a host that `allow_hosts` does not", named=named)
        port = port_of(url)
        if any(ours.reached_by(host, port) for ours in self.ours):
            raise DirectoryRefused(f"{self.speaker} names one of our own listeners", named=named)
        return BaseUrl(url.scheme, host, port, url.path.rstrip("/"), value)


def allows(patterns: Iterable[str], host: str) -> bool:
    """Whether a pattern is this host, or `*.` and one that it is below. Names have no case; `*` is no address."""
    name, address = _plain(host), is_address(host)
    for pattern in patterns:
        if pattern.startswith("*."):
            if not address and name.endswith("." + _plain(pattern[2:])) and is_host(name):
                return True
        elif _plain(pattern) == name:
            return True
    return False


def _plain(host: str) -> str:
    """The one spelling of a name or an address."""
    name = host.lower().strip("[]").rstrip(".")
    return str(ip_address(name)) if is_address(name) else name
