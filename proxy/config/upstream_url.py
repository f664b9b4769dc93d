"""The `upstream` of a route: a URL, or a unix socket.

https://api.example/v2                 host, port, and the path before every target
unix:/run/app.sock                     a socket that speaks http
unix:/run/app.sock:/v1                 the same, with a path, as nginx writes it
http+unix://%2Frun%2Fapp.sock/v1       the same, as Docker's and Python's clients write it
"""

from __future__ import annotations

import os
import re
from typing import NamedTuple
from urllib.parse import unquote_to_bytes

from proxy.config.address import Address, is_loopback, parse_socket_path, parse_url, port_of

PLACE = "{credential}"
"""Where in an upstream's path the route's credential stands."""

_SOCKET_URL = re.compile(r"http\+unix://([^/?#]*)(.*)", re.IGNORECASE | re.DOTALL)
_ABSOLUTE = re.compile(r"(?:unix\+https?|https\+unix|https?)://?unix:|(?:unix\+https?|https\+unix):", re.IGNORECASE)
_SPELLINGS = "unix:/run/app.sock, unix:/run/app.sock:/v1 or http+unix://%2Frun%2Fapp.sock/v1"


class UpstreamUrl(NamedTuple):
    """`base`: the path without a slash at its end. `socket`: the path of a unix socket, whose host is `localhost`."""

    scheme: str
    host: str
    port: int
    base: str
    socket: str | None = None

    @property
    def loopback(self) -> bool:
        """Whether it is on this machine."""
        return self.socket is not None or is_loopback(self.host)

    def leads_to(self, address: Address) -> bool:
        """Whether it is this listener of ours."""
        if self.socket is None:
            return address.reached_by(self.host, self.port)
        return address.path is not None and _real(address.path) == _real(self.socket)


def parse_upstream(text: str) -> UpstreamUrl:
    """Raises ValueError: a sentence."""
    if text.startswith("unix:"):
        path, colon, rest = text.removeprefix("unix:").partition(":/")
        return _socket(path, f"/{rest}" if colon else "")
    if found := _SOCKET_URL.fullmatch(text):
        if not found[1]:
            raise ValueError("the path of the socket is percent-encoded here: http+unix://%2Frun%2Fapp.sock/v1")
        try:
            path = unquote_to_bytes(found[1]).decode("utf-8")
        except UnicodeDecodeError:
            raise ValueError("the path of a socket is UTF-8") from None
        if not path.startswith("/"):
            raise ValueError("the path of the socket begins with %2F here: http+unix://%2Frun%2Fapp.sock/v1")
        return _socket(path, found[2])
    if _ABSOLUTE.match(text):
        raise ValueError(f"a unix socket, which speaks http, is written {_SPELLINGS}")
    url = parse_url(text)
    return UpstreamUrl(url.scheme, url.hostname or "", port_of(url), url.path.rstrip("/"))


def _socket(path: str, base: str) -> UpstreamUrl:
    if path.endswith(":"):
        raise ValueError(f"a unix socket is written {_SPELLINGS}")
    parse_socket_path(path)
    return UpstreamUrl("http", "localhost", 80, parse_url("http://localhost" + base).path.rstrip("/"), path)


def _real(path: str) -> str:
    """The canonical path, with symbolic links resolved."""
    return "/" + os.path.realpath(path).lstrip("/")
