"""A directory of base URLs on a real socket: it names what a test says, in the shape of LivePerson's domain API.

async with Directory() as directory:
    directory.base = upstream.authority
    route = {"match": "/api", "upstream": directory.discover(ttl="200ms")}
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from support.recording_upstream import Answer, Received, RecordingUpstream


def said(body: bytes, status: int = 200, *fields: str) -> bytes:
    """A whole answer."""
    lines = [f"HTTP/1.1 {status} Said", *fields, f"Content-Length: {len(body)}"]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


@dataclass
class Directory(RecordingUpstream):
    """`base`: what it names. `whole`: an answer that it gives instead."""

    base: Any = ""
    whole: bytes | None = None

    def __post_init__(self) -> None:
        self.answer = self._say

    def discover(self, **more: Any) -> dict[str, Any]:
        """`upstream` of a route: plain http to this machine, unless told otherwise."""
        url = f"{self.url}/api/account/4711/service/asyncMessaging/baseURI.json?version=1.0&key=hush"
        return {"discover": {"url": url, "scheme": "http", "allow_hosts": ["127.0.0.1", "localhost"], **more}}

    def _say(self, _: Received) -> Answer:
        if self.whole is not None:
            return (self.whole,)
        document = {"service": "asyncMessaging", "account": "4711", "baseURI": self.base}
        return (said(json.dumps(document).encode(), 200, "Content-Type: application/json"),)
