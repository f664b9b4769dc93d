"""WebSocket messages as the bench sends them, in one frame each (RFC 6455 §5.2), and the answer to the handshake."""

from __future__ import annotations

import base64
import hashlib

_GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"  # RFC 6455 §1.3
_BINARY = 0x82
_MASKED = 0x80
_LONG = 126
_PUSHED = b'{"type":"message","id":"%010d","at":"%020d","from":{"id":"bot"},"text":"Your parcel has left the depot."}'
_AT = 2 + (_PUSHED % (0, 0)).index(b"0" * 20)
SIZE_OF_PUSHED = 2 + len(_PUSHED % (0, 0))


def accept_for(key: bytes) -> bytes:
    """Sec-WebSocket-Accept (RFC 6455 §4.2.2)."""
    return base64.b64encode(hashlib.sha1(key + _GUID).digest())  # noqa: S324 - as the protocol has it


def from_server(payload: bytes) -> bytes:
    """The frame of a server's message of less than 64 KiB."""
    return _head(0, len(payload)) + payload


def from_client(payload: bytes, key: bytes) -> bytes:
    """The frame of a client's message of less than 64 KiB, masked."""
    return _head(_MASKED, len(payload)) + key + _masked(payload, key)


def read_from_client(octets: bytes) -> tuple[bytes, int]:
    """A client's message and where its frame ends; 0 where it has not come whole. Raises ValueError for any other."""
    if len(octets) < 4:  # noqa: PLR2004 - the longer of both heads
        return b"", 0
    if octets[0] != _BINARY or octets[1] < _MASKED:
        raise ValueError("not a masked binary message")
    size, start = octets[1] - _MASKED, 2
    if size == _LONG:
        size, start = int.from_bytes(octets[2:4], "big"), 4
    end = start + 4 + size
    if len(octets) < end:
        return b"", 0
    return _masked(octets[start + 4 : end], octets[start : start + 4]), end


def pushed(number: int, at: int) -> bytes:
    """A message of a chat as the server sends it, some 120 octets. `at`: nanoseconds of the monotonic clock."""
    return from_server(_PUSHED % (number, at))


def pushed_at(octets: bytes) -> int:
    """When it was sent; 0 where that cannot be read."""
    digits = octets[_AT : _AT + 20]
    return int(digits) if digits.isdigit() else 0


def _head(masked: int, size: int) -> bytes:
    if size < _LONG:
        return bytes((_BINARY, masked + size))
    return bytes((_BINARY, masked + _LONG)) + size.to_bytes(2, "big")


def _masked(octets: bytes, key: bytes) -> bytes:
    size = len(octets)
    mask = (key * (size // 4 + 1))[:size]
    return (int.from_bytes(octets, "big") ^ int.from_bytes(mask, "big")).to_bytes(size, "big")
