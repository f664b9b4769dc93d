"""The head of a request: one compiled pattern accepts the whole of it, or nothing (RFC 9112 §3, stricter).

An app sends nearly the same fields with every request, so the parsed fields behind the request line are cached
(`Repeats`): a head that differs from earlier ones only in method and target costs two dictionary look-ups.
"""

from __future__ import annotations

import re

from msgspec import Struct

from proxy.errors import (
    MalformedRequest,
    MethodRefused,
    RequestHeadTooLarge,
    RequestTargetTooLong,
    UnknownTransferCoding,
    UnknownVersion,
)
from proxy.http1.fields import FieldValues, Lines, content_length, lines_of, listed, read
from proxy.http1.grammar import HOPELESS, SECTION, TOKEN, GrammarError
from proxy.http1.host import parse_host
from proxy.http1.repeats import Notes, Repeats
from proxy.http1.target import form_of

_LINE = re.compile(rb"(?:\r\n)?(" + TOKEN + rb") ([\x21\x22\x24-\x7e\x80-\xff]++) HTTP/1\.[01]\r\n")
_REST = re.compile(rb" HTTP/1\.([01])\r\n(" + SECTION + rb")\r\n")
_OTHER_VERSION = re.compile(rb"(?:\r\n)?" + TOKEN + rb" [\x21\x22\x24-\x7e\x80-\xff]++ HTTP/[0-9]\.[0-9]\r\n")
_NEVER_NOMINATED = frozenset({b"host", b"content-length", b"authorization", b"cookie"})
_REFUSED_METHODS = frozenset({b"CONNECT", b"TRACE"})
_ALLOW = (("Allow", "GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS"),)


class RequestFields:
    """Everything of a head but method and target. Never changed once made: heads of several requests may share one.

    `length`: Content-Length, or None; `chunked`: the body is in the chunked coding; `persistent`: the app wants the
    connection kept; `nominated`: the fields that `Connection` names; `upgrade`: the Upgrade field's whole list where
    `Connection` nominates it and the version knows it; `section`: all lines as they came (see `fields`), `count` of
    them, `kept`: without hop-by-hop ones; `outgoing` is the data path's to fill: the lines as they leave, by whoever
    asked. `host`: None where none was sent; `odd_host`: the grammar says that it is none, which only a unix socket
    forgives. `cleared` is for `Callers` to fill: its secret, whether it is shown here, and the fields without it.
    """

    __slots__ = (
        "chunked", "cleared", "count", "expects_continue", "found", "has_body", "host", "kept", "length", "nominated",
        "odd_host", "outgoing", "persistent", "repeated", "section", "upgrade", "version",
    )  # fmt: skip

    def __init__(self, version: int, section: bytes) -> None:
        self.version = version
        self.section = section
        self.found, self.kept = found, _ = read(section)
        self.count = section.count(b"\r\n") - 1
        self.host, self.odd_host = _host(version, found)
        self.nominated = listed(found[b"connection"]) if b"connection" in found else frozenset()
        if self.nominated & _NEVER_NOMINATED:
            raise MalformedRequest("Connection nominates a field that is not the connection's")
        self.length = content_length(found[b"content-length"]) if b"content-length" in found else None
        self.chunked = b"transfer-encoding" in found and _chunked(version, found)
        self.has_body = self.chunked or bool(self.length)
        self.persistent = b"close" not in self.nominated and (version == 1 or b"keep-alive" in self.nominated)
        self.upgrade = _upgrade(version, found) if b"upgrade" in self.nominated else None
        if b"upgrade" in found and (self.chunked or self.length) and _asks_for_websocket(found[b"upgrade"]):
            raise MalformedRequest("A request that asks for a WebSocket has no body")
        self.expects_continue = version == 1 and b"expect" in found and listed(found[b"expect"]) == {b"100-continue"}
        self.outgoing: dict[object, bytes] = {}
        self.repeated = False
        self.cleared: tuple[object, bool, RequestFields | None] | None = None

    def note(self, who: object, octets: bytes) -> None:
        """Keep the lines as they are sent, if these fields are in the cache."""
        if self.repeated:
            _notes.keep(self.outgoing, who, octets)

    @property
    def lines(self) -> Lines:
        """Every line (with its CRLF) and the name in it, in order."""
        return lines_of(self.section)

    @property
    def goes_on(self) -> bool:
        """Whether the connection can be used after an answer of our own.

        Not after an Upgrade: the client may have sent octets of the other protocol already (RFC 9931).
        """
        return self.persistent and self.upgrade is None


class RequestHead(Struct, gc=False):
    """One request's head. `size`: how many octets it took."""

    method: bytes
    target: bytes
    fields: RequestFields
    size: int

    def __repr__(self) -> str:
        """Targets and fields carry secrets."""
        return f"RequestHead({self.method!r})"


_repeats: Repeats[RequestFields] = Repeats()
_notes = Notes()


def read_request(
    data: bytes, searched: int, max_size: int, max_fields: int, *, unix: bool = False
) -> RequestHead | None:
    """The head at the start of `data`, or None while it is incomplete.

    `searched`: how many octets an earlier call has already looked through in vain. `unix`: it came over a unix socket,
    where Host may say anything. One leading CRLF is forgiven (RFC 9112 §2.2). Raises MalformedRequest,
    RequestHeadTooLarge, RequestTargetTooLong, MethodRefused, UnknownTransferCoding or UnknownVersion, and does so as
    soon as what came so far can never become a head.
    """
    end = data.find(b"\r\n\r\n", searched - 3 if searched > 3 else 0)  # noqa: PLR2004 - the terminator's length less one
    if end < 0 or end + 4 > max_size:
        _still_possible(data, searched, max_size, complete=end >= 0)
        return None
    match = _LINE.match(data)
    if match is None:
        raise _why_not(data, end)
    method, target = match.groups()
    rest = data[match.end(2) : end + 4]
    fields = _repeats.get(rest)
    if fields is None:
        fields = _read_fields(rest, max_fields)
    if fields.count > max_fields:
        raise RequestHeadTooLarge("The request has too many header fields")
    if fields.odd_host and not unix:
        raise MalformedRequest("Host is malformed")
    if method in _REFUSED_METHODS:
        raise MethodRefused("CONNECT and TRACE are not forwarded", headers=_ALLOW)
    if not target.startswith(b"/"):
        form_of(method, target)
    return RequestHead(method, target, fields, end + 4)


def _read_fields(rest: bytes, max_fields: int) -> RequestFields:
    match = _REST.fullmatch(rest)
    if match is None:
        raise MalformedRequest("The header section is malformed")
    if rest.count(b"\r\n") > max_fields + 2:  # refused before they are parsed
        raise RequestHeadTooLarge("The request has too many header fields")
    try:
        fields = RequestFields(1 if match[1] == b"1" else 0, rest[match.start(2) - 2 : match.end(2)])
    except GrammarError as error:
        raise MalformedRequest(str(error)) from None
    fields.repeated = _repeats.offer(rest, fields)
    return fields


def _still_possible(data: bytes, searched: int, max_size: int, *, complete: bool) -> None:
    """Refuse what can no longer become a head at once, not only when its time is up."""
    if len(data) > max_size or complete:
        line_end = data.find(b"\r\n", 1)  # a forgiven CRLF at 0 ends no line
        if line_end < 0 or line_end > max_size:
            raise RequestTargetTooLong("The request line is too long")
        raise RequestHeadTooLarge("The request head is too large")
    if HOPELESS.search(data, max(0, searched - 1)) is not None:
        raise MalformedRequest("A control character or a bare CR or LF in the request head")


def _why_not(data: bytes, end: int) -> Exception:
    if HOPELESS.search(data, 0, end) is not None:
        return MalformedRequest("A control character or a bare CR or LF in the request head")
    if _OTHER_VERSION.match(data) is not None:
        return UnknownVersion("Only HTTP/1.0 and HTTP/1.1 are spoken here")
    return MalformedRequest("The request line is malformed")


def _host(version: int, found: FieldValues) -> tuple[bytes | None, bool]:
    """The value of Host, and whether it is malformed."""
    hosts = found.get(b"host")
    if hosts is None:
        if version == 1:
            raise MalformedRequest("Host is missing")
        return None, False
    if len(hosts) > 1:
        raise MalformedRequest("Host is repeated")
    try:
        parse_host(hosts[0])
    except MalformedRequest:
        return hosts[0], True
    return hosts[0], False


def _upgrade(version: int, found: FieldValues) -> bytes | None:
    """HTTP/1.0 knows no Upgrade (RFC 9110 §7.8)."""
    return b", ".join(found[b"upgrade"]) if version == 1 and b"upgrade" in found else None


def _asks_for_websocket(values: list[bytes]) -> bool:
    """Whether it asks for a WebSocket: a body behind it would be a body to one server and frames to another."""
    return any(name.partition(b"/")[0] == b"websocket" for name in listed(values))


def _chunked(version: int, found: FieldValues) -> bool:
    codings = found[b"transfer-encoding"]
    if len(codings) > 1:
        raise MalformedRequest("Transfer-Encoding is repeated")
    if b"content-length" in found:
        raise MalformedRequest("Both Content-Length and Transfer-Encoding are given")
    if version == 0:
        raise MalformedRequest("Transfer-Encoding is not part of HTTP/1.0")
    if codings[0].lower() != b"chunked":
        raise UnknownTransferCoding("Only the chunked transfer coding is spoken here")
    return True


def forget() -> None:
    """Drop what is remembered of fields, and with it what the data path has noted on them."""
    _repeats.clear()
    _notes.clear()
