"""One answer on its way to the app, copied for a credential that learns from answers (Direct Line's tokens).

The copy is shown before the last octets go on: when the app has read the answer and acts on it, the credential knows.
"""

from __future__ import annotations

import logging
import re

from proxy.defects import tell
from proxy.http1.fields import lines_named
from proxy.model import Request
from proxy.tokens.credential import ResponseObserver

_log = logging.getLogger("auth_sidecar.forward")

MAX_OBSERVED = 64 * 1024
"""Octets; what is longer teaches nothing."""

_ACCEPT_ENCODING = lines_named([b"accept-encoding"], aliases=False)

_GZIP = re.compile(rb"(?i)\bgzip\b(?![ \t]*;[ \t]*q=0(?:\.0*)?[ \t]*(?:,|\Z))")
"""Unless its weight is 0 (RFC 9110 §12.5.3)."""


class ResponseTap:
    """The answer to `request`, once all of it is there."""

    __slots__ = ("_copy", "_observer", "_request")

    def __init__(self, observer: ResponseObserver, request: Request) -> None:
        self._observer = observer
        self._request = request
        self._copy: bytearray | None = bytearray()

    def add(self, status: int, pieces: list[bytes], *, done: bool) -> None:
        """More of the body; with the last of it the credential learns."""
        if self._copy is None:
            return
        for piece in pieces:
            self._copy += piece
        if len(self._copy) > MAX_OBSERVED:
            self._copy = None
        elif done:
            copy, self._copy = bytes(self._copy), None
            try:
                self._observer.learn(self._request, status, copy)
            except Exception as error:  # noqa: BLE001 - the answer is the app's, whatever we make of its copy
                tell(_log, "while learning from an answer", error)


def readable(section: bytes) -> bytes:
    """The app's field lines, asking for no coding that we cannot read: gzip if the app takes it, else none."""
    return _ACCEPT_ENCODING.sub(lambda line: line[1][: line[1].index(b":")] + b": " + _coding(line[3]), section)


def _coding(wanted: bytes) -> bytes:
    return b"gzip" if _GZIP.search(wanted) else b"identity"
