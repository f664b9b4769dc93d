"""TLS towards an upstream, between the event loop's transport and a protocol of ours, without a queue of its own.

    event loop ── TlsClient, a protocol to it ── `ssl` in memory ── TlsClient, a transport to us ── Upstream

A record holds at most 16 KiB (RFC 8446 §5.1) and one read takes a whole one, so there is nothing to be had once
`incoming` is empty: OpenSSL is not asked again just to hear that, which is what asyncio's own layer does after every
message. What is written is encrypted and handed on at once; who is slow is told by the inner transport. Nothing is kept
here in either direction, so pausing is the inner transport's matter, too.

The upstream's own end of the connection (close_notify) is `eof_received`, behind all that came before it. So is one
that TLS knows nothing of: who must tell them apart reads the `ssl_object` once more (`last_words.ended_in_order`).
"""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from typing import Any, cast

from proxy.forward.buffers import read_at_most
from proxy.forward.malloc_tuning import read_size
from proxy.forward.socket_probe import before_the_reset

_RECORD = 16 * 1024
_FED = 32 * 1024
"""Octets that OpenSSL gets at a time: its buffers keep the largest size that they ever had."""


_NOBODY = asyncio.Protocol()


class TlsClient(asyncio.Transport, asyncio.Protocol):
    """A client's side of one connection. `protocol` is connected once the handshake is done.

    `ready`: done with the handshake; ssl.SSLError where it failed, ConnectionResetError where the other side ended it.
    `session`: of an earlier connection with the same context to the same name, to be resumed if the server likes.
    `tls`: its `session` is that of this connection, as soon as the server has sent one.
    """

    __slots__ = ("_closing", "_error", "_incoming", "_outgoing", "_protocol", "_raw", "_shaking", "ready", "tls")

    def __init__(
        self, protocol: asyncio.Protocol, context: ssl.SSLContext, server_name: str, session: ssl.SSLSession | None
    ) -> None:
        self.ready: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._protocol = protocol
        self._incoming = ssl.MemoryBIO()
        self._outgoing = ssl.MemoryBIO()
        self.tls = context.wrap_bio(self._incoming, self._outgoing, server_hostname=server_name, session=session)
        self._raw: asyncio.Transport
        self._shaking = True
        self._closing = False
        self._error: ssl.SSLError | None = None

    # ---- from the event loop -----------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """The first octet of TLS is the client's."""
        read_at_most(transport, read_size())
        self._raw = cast("asyncio.Transport", transport)
        self._shake()

    def data_received(self, data: bytes) -> None:
        """Records, or parts of them. What was good before something that is not is still delivered."""
        if self._shaking:
            self._incoming.write(data)
            self._shake()
            if self._shaking or not self._incoming.pending:
                return
            data = b""
        pieces: list[bytes] = []
        try:
            ended = self._read(data, pieces) if len(data) <= _FED else self._read_slices(data, pieces)
        except ssl.SSLError as error:
            self._error = error
            ended = False
        if pieces:
            self._protocol.data_received(pieces[0] if len(pieces) == 1 else b"".join(pieces))
        if self._error is not None:
            self._send()
            self.abort()
        elif ended and not self._closing:
            self._protocol.eof_received()
            self.close()

    def _read(self, octets: bytes | memoryview, pieces: list[bytes]) -> bool:
        """Add what these octets hold to `pieces`. Whether that is the end. Raises ssl.SSLError."""
        incoming = self._incoming
        incoming.write(octets)
        try:
            while piece := self.tls.read(_RECORD):
                pieces.append(piece)
                if not incoming.pending:
                    return False
        except ssl.SSLWantReadError:  # a part of a record, or what was for TLS alone: a session, a new key
            self._send()
            return False
        return True

    def _read_slices(self, data: bytes, pieces: list[bytes]) -> bool:
        with memoryview(data) as view:
            return any(self._read(view[start : start + _FED], pieces) for start in range(0, len(view), _FED))

    def eof_received(self) -> bool:
        """No more octets; the inner transport closes itself."""
        if not self._shaking and not self._closing:
            self._closing = True
            self._protocol.eof_received()
        return False

    def connection_lost(self, error: Exception | None) -> None:
        """Over. What the upstream said before it reset the connection is still heard."""
        if isinstance(error, OSError) and not self._shaking and not self._closing:
            for data in before_the_reset(self._raw):
                if not self._closing:
                    self.data_received(data)
        self._closing = True
        if not self._shaking:
            self._protocol.connection_lost(self._error or error)
        elif not self.ready.done():
            self.ready.set_exception(ConnectionResetError())
        self._protocol = _NOBODY  # which holds on to us: OpenSSL's buffers must not wait for the collector of cycles

    def pause_writing(self) -> None:
        """The upstream reads slowly."""
        if not self._shaking:
            self._protocol.pause_writing()

    def resume_writing(self) -> None:
        """It has caught up."""
        if not self._shaking:
            self._protocol.resume_writing()

    def _shake(self) -> None:
        try:
            self.tls.do_handshake()
        except ssl.SSLWantReadError:
            self._send()
        except ssl.SSLError as error:
            self._send()  # the alert that tells why
            if not self.ready.done():
                self.ready.set_exception(error)
            self.abort()
        else:
            self._send()
            self._shaking = False
            self._protocol.connection_made(self)
            if not self.ready.done():
                self.ready.set_result(None)

    def _send(self) -> None:
        octets = self._outgoing.read()
        if octets:
            self._raw.write(octets)

    # ---- for the protocol --------------------------------------------------------------------------------------------

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Send now; back-pressure is `pause_writing`."""
        if self._closing or not data:
            return
        try:
            octets = self._sealed(data) if len(data) <= _FED else self._sealed_slices(data)
        except ssl.SSLError as error:
            self._error = error
            self.abort()
            return
        self._raw.write(octets)

    def _sealed(self, data: bytes | bytearray | memoryview) -> bytes:
        sent = self.tls.write(data)
        while sent < len(data):
            sent += self.tls.write(data[sent:])
        return self._outgoing.read()

    def _sealed_slices(self, data: bytes | bytearray | memoryview) -> bytes:
        with memoryview(data) as view:
            return b"".join([self._sealed(view[start : start + _FED]) for start in range(0, len(view), _FED)])

    def close(self) -> None:
        """Say goodbye (close_notify) behind what was written. The upstream's own goodbye is not waited for."""
        if self._closing:
            return
        self._closing = True
        with contextlib.suppress(ssl.SSLError):  # mostly: the upstream has not said it yet
            self.tls.unwrap()
        self._send()
        self._raw.close()

    def abort(self) -> None:
        """End now, without a word."""
        self._closing = True
        self._raw.abort()

    def is_closing(self) -> bool:
        """Whether it is over, or about to be."""
        return self._closing or self._raw.is_closing()

    def can_write_eof(self) -> bool:
        """No: many servers end the whole connection when one half is closed."""
        return False

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        """`ssl_object`, `receiver` of records, and what the inner transport knows: `socket`, `peername`."""
        if name == "receiver":
            return self.data_received
        return self.tls if name == "ssl_object" else self._raw.get_extra_info(name, default)

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None:
        """From now on, tell this one."""
        self._protocol = cast("asyncio.Protocol", protocol)

    def get_protocol(self) -> asyncio.BaseProtocol:
        """Who is told."""
        return self._protocol

    @property
    def max_size(self) -> int:
        """Octets that are read at once, encrypted."""
        return self._raw.max_size  # type: ignore[attr-defined, no-any-return]

    @max_size.setter
    def max_size(self, octets: int) -> None:
        read_at_most(self._raw, octets)

    def is_reading(self) -> bool:
        """See `asyncio.ReadTransport`."""
        return self._raw.is_reading()

    def pause_reading(self) -> None:
        """Nothing is delivered, and nothing read, until `resume_reading`."""
        self._raw.pause_reading()

    def resume_reading(self) -> None:
        """See `asyncio.ReadTransport`."""
        self._raw.resume_reading()

    def get_write_buffer_size(self) -> int:
        """Octets, encrypted, that the system has not taken yet."""
        return self._raw.get_write_buffer_size()

    def get_write_buffer_limits(self) -> tuple[int, int]:
        """See `asyncio.WriteTransport`."""
        return self._raw.get_write_buffer_limits()

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        """See `asyncio.WriteTransport`."""
        self._raw.set_write_buffer_limits(high, low)
