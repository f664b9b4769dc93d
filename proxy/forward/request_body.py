"""The body of one request on its way to the upstream: de-framed, counted, kept while it may have to be sent again."""

from __future__ import annotations

from collections.abc import Callable

from proxy.errors import RequestBodyTooLarge
from proxy.http1.chunked import ChunkedDecoder, chunk, last_chunk
from proxy.http1.fields import Lines
from proxy.http1.request import RequestFields


class RequestBody:
    """`feed` what the app sends; `wire` is what goes to an upstream connection.

    `whole`: `pieces` still hold every octet so far, so the body can be sent again. `complete`: the app has sent all.
    `left`: octets still to come, where their number was said.
    `limit`: the largest body in octets, or None; `buffer`: how many octets are kept for sending again.
    `dropped`: trailers that do not go on, lower-case with `-` for `_`; `is_ours`: whether one is for us alone.
    """

    __slots__ = (
        "_decoder", "_dropped", "_is_ours", "buffer", "chunked", "complete", "left", "limit", "pieces", "size",
        "trailers", "whole",
    )  # fmt: skip

    def __init__(
        self, fields: RequestFields, limit: int | None, buffer: int, dropped: frozenset[bytes] = frozenset(),
        is_ours: Callable[[bytes], bool] | None = None,
    ) -> None:  # fmt: skip
        self.chunked = fields.chunked
        self._decoder = ChunkedDecoder() if fields.chunked else None
        self.left = fields.length or 0
        self.limit = limit
        self.buffer = buffer
        self.pieces: list[bytes] = []
        self.size = 0
        self.whole = True
        self.complete = False
        self.trailers: Lines = []
        self._dropped = dropped
        self._is_ours = is_ours
        if limit is not None and self.left > limit:
            raise RequestBodyTooLarge("The request body is larger than this route takes")

    def feed(self, data: bytes) -> tuple[list[bytes], bytes]:
        """Take octets from the app: the new pieces of the body, and what came behind its end.

        Raises RequestBodyTooLarge, GrammarError.
        """
        if self._decoder is None:
            if len(data) < self.left:
                pieces, rest = [data], b""
            else:
                pieces, rest = [data[: self.left]] if self.left else [], data[self.left :]
                self.complete = True
            self.left -= len(data) - len(rest)
        else:
            pieces = self._decoder.feed(data)
            rest = b""
            if self._decoder.done:
                self.complete = True
                is_ours = self._is_ours
                self.trailers = [one for one in self._decoder.trailers if is_ours is None or not is_ours(one[0])]
                rest = self._decoder.rest
        self.size += sum(map(len, pieces))
        if self.limit is not None and self.size > self.limit:
            raise RequestBodyTooLarge("The request body is larger than this route takes")
        self.pieces += pieces
        return pieces, rest

    def wire(self, pieces: list[bytes]) -> bytes:
        """These pieces framed for the upstream, and the end of the body if it has come."""
        if not self.chunked:
            return pieces[0] if len(pieces) == 1 else b"".join(pieces)
        framed = b"".join(map(chunk, pieces))
        return framed + last_chunk(self.trailers, self._dropped) if self.complete else framed

    def sent(self) -> None:
        """All pieces so far are on their way: forget them once they are more than may be sent again."""
        if self.size > self.buffer:
            self.whole = False
        if not self.whole:
            self.pieces.clear()

    def body(self) -> bytes:
        """The whole body, for signing. Only where `whole` and `complete`."""
        return b"".join(self.pieces)
