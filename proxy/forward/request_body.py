"""The body of one request on its way to the upstream: de-framed, counted, kept while it may have to be sent again."""

from __future__ import annotations

from collections.abc import Callable

from proxy.errors import RequestBodyTooLarge
from proxy.http1.chunked import ChunkedDecoder, chunk, last_chunk
from proxy.http1.fields import Lines
from proxy.http1.request import RequestFields


class RequestBody:
    """`feed` what the app sends; `begin` and `go_on` are what goes to an upstream connection.

    `whole`: `pieces` still hold every octet so far, so the body can be sent again. `complete`: the app has sent all.
    `left`: octets still to come, where their number was said. `withheld`: what comes now is for the next attempt.
    `invited`: the app has been told to send the body (RFC 9110 §10.1.1).
    `limit`: the largest body in octets, or None; `buffer`: how many octets are kept for sending again.
    `dropped`: trailers that do not go on, lower-case with `-` for `_`; `is_ours`: whether one is for us alone.
    """

    __slots__ = (
        "_decoder", "_dropped", "_is_ours", "buffer", "chunked", "complete", "invited", "left", "limit", "pieces",
        "size", "stated", "trailers", "whole", "withheld",
    )  # fmt: skip

    def __init__(
        self, fields: RequestFields, limit: int | None, buffer: int, dropped: frozenset[bytes] = frozenset(),
        is_ours: Callable[[bytes], bool] | None = None,
    ) -> None:  # fmt: skip
        self.chunked = fields.chunked
        self._decoder = ChunkedDecoder() if fields.chunked else None
        self.left = self.stated = fields.length or 0
        self.limit = limit
        self.buffer = buffer
        self.pieces: list[bytes] = []
        self.size = 0
        self.whole = True
        self.complete = self.withheld = self.invited = False
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

    def begin(self, instead: bytes | None = None) -> bytes:
        """All there is so far, framed, behind the head of one more attempt. Only while `whole`.

        `instead`: the whole body as the credential has changed it, which goes out in its place.
        """
        self.withheld = False
        framed = self.go_on(self.pieces)
        return framed if instead is None else instead

    def go_on(self, pieces: list[bytes]) -> bytes:
        """These pieces framed for the upstream, and the end of the body if it has come.

        All pieces so far are on their way then, and forgotten once they are more than may be sent again.
        """
        if self.chunked:
            framed = b"".join(map(chunk, pieces))
            if self.complete:
                framed += last_chunk(self.trailers, self._dropped)
        else:
            framed = pieces[0] if len(pieces) == 1 else b"".join(pieces)
        if self.size > self.buffer:
            self.whole = False
        if not self.whole:
            self.pieces.clear()
        return framed

    def invite(self) -> bytes:
        """What asks the app for the body; once is enough, whoever asks."""
        invited, self.invited = self.invited, True
        return b"" if invited else b"HTTP/1.1 100 Continue\r\n\r\n"

    def gathered(self) -> bool:
        """Whether all of it is here, to be signed. Raises RequestBodyTooLarge where it will never be."""
        if not self.fits:
            raise RequestBodyTooLarge("The request body is larger than can be signed")
        return self.complete

    @property
    def fits(self) -> bool:
        """Whether no more is known to come than is kept."""
        return max(self.size, self.stated) <= self.buffer

    @property
    def can_come_again(self) -> bool:
        """Whether all of it will be here still when it has to be sent again, as far as one can know now."""
        return self.whole and self.fits and (self.complete or not self.chunked)

    @property
    def delivered(self) -> bool:
        """Whether the present upstream connection got all of it."""
        return self.complete and not self.withheld

    def body(self) -> bytes:
        """The whole body, for signing. Only where `whole` and `complete`."""
        return b"".join(self.pieces)
