"""TLS sessions to be resumed, which spares both sides the certificates (RFC 8446 §2.2).

CPython loses some 6 KiB each time that a session is asked for (3.11 keeps the copy that it makes). So one is kept and
used for as long as the server honours it, and another is asked for rarely.
"""

from __future__ import annotations

import ssl

_TRIES = 8
"""How often a session is asked for in a row: the server may send it later than the next connection begins."""
_PAUSE = 600.0
"""Seconds after which a server that resumes nothing is given another chance."""


class Sessions:
    """Of one upstream. A session belongs to the context it was made with: with another one we may be somebody else."""

    def __init__(self) -> None:
        self._latest: ssl.SSLObject | None = None
        self._kept: ssl.SSLSession | None = None
        self._context: ssl.SSLContext | None = None
        self._tries = 0
        self._since = 0.0

    def learn(self, connection: ssl.SSLObject) -> None:
        """One has shaken hands."""
        self._latest = connection

    def resumable(self, context: ssl.SSLContext, now: float) -> ssl.SSLSession | None:
        """The session to begin with; None for a whole handshake. `now`: monotonic seconds."""
        if context is not self._context:
            self._context, self._kept, self._tries = context, None, 0
        latest = self._latest
        if latest is not None and latest.context is context and not latest.session_reused and self._may_ask(now):
            self._kept = _useful(latest) or self._kept
        return self._kept

    def _may_ask(self, now: float) -> bool:
        if self._tries >= _TRIES and now - self._since < _PAUSE:
            return False
        self._tries = 1 if self._tries >= _TRIES else self._tries + 1
        self._since = now
        return True


def _useful(connection: ssl.SSLObject) -> ssl.SSLSession | None:
    """Under TLS 1.3 the session is what comes in a ticket, behind the handshake; before that there is but its shell."""
    session = connection.session
    if session is None or session.has_ticket or (session.id and connection.version() != "TLSv1.3"):
        return session
    return None
