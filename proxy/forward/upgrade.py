"""Which protocols a connection may change to: what the route names, of what the app asks for (RFC 9110 §7.8).

A WebSocket begins with a GET without a body (RFC 6455 §4.1). What else an operator names may begin with any method, and
behind a body: `docker exec` is a POST with JSON in it that asks for `tcp`.
"""

from __future__ import annotations

from proxy.errors import MalformedAnswer
from proxy.http1.answer import AnswerHead
from proxy.http1.fields import listed, value_of
from proxy.http1.request import RequestHead

WEBSOCKET = b"websocket"

_OK = 200
_RAW_STREAMS = frozenset({b"application/vnd.docker.raw-stream", b"application/vnd.docker.multiplexed-stream"})


def asked(head: RequestHead, named: frozenset[bytes]) -> bytes:
    """The list of a request's Upgrade as it goes on, in the app's spelling and order; empty where nothing does.

    `named`: the route's protocols, in lower case.
    """
    protocols = [one.strip(b" \t") for one in (head.fields.upgrade or b"").split(b",")]
    return b", ".join(
        one
        for one in protocols
        if one.lower() in named and (one.lower() != WEBSOCKET or (head.method == b"GET" and not head.fields.has_body))
    )


def agreed(upgrade: bytes, head: AnswerHead) -> bytes | None:
    """The Upgrade of a 101; None where it names nothing, or anything that was not asked for."""
    values = head.found.get(b"upgrade", [])
    chosen = listed(values)
    return b", ".join(values) if chosen and chosen <= listed([upgrade]) else None


def switching(upgrade: bytes, head: AnswerHead, *, whole: bool) -> bytes:
    """The lines for one hop that go with a 101. `whole`: the request is. Raises MalformedAnswer where it is amiss."""
    protocols = agreed(upgrade, head)
    if protocols is None:
        raise MalformedAnswer("The upstream switched protocols without being asked")
    if not whole:
        raise MalformedAnswer("The upstream switched protocols in the middle of the request")
    return b"Connection: Upgrade\r\nUpgrade: %b\r\n" % protocols


def hijacked(head: AnswerHead) -> bool:
    """Whether a 200 is how older container engines say that octets go both ways from here on: until the end."""
    return (
        head.status == _OK
        and head.length is None
        and not head.chunked
        and (value_of(head.lines, b"content-type") or b"").partition(b";")[0].strip().lower() in _RAW_STREAMS
    )
