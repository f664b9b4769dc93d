"""The one interface of every way to sign. Pure: no waiting, no clock, no randomness of its own."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from proxy.model import Answer, Field, Moment, Request, Token, Verdict, WantsBody


class Scheme(Protocol):
    """How a credential is applied to one attempt. One object per credential, shared by all its requests.

    `writes`: lower-case names of the header fields that `sign` returns; the caller's copies of these (and their `_`
    spellings) are dropped before. `places`: whether `place` changes anything. `parameters`: the query parameters that
    it appends, their names decoded; the caller's copies are dropped before. `wants_body`: which bodies must be whole in
    `Request.body` before: none, `application/x-www-form-urlencoded` ones, all, or those of which the app declares no
    hash (`X-Amz-Content-SHA256`). `learns`: `judge` must see every answer (nonces), not only 4xx ones. `constant`: what
    is added depends on the token alone, neither on the request nor on the moment.
    """

    writes: tuple[bytes, ...]
    places: bool
    parameters: tuple[bytes, ...]
    wants_body: WantsBody
    learns: bool
    constant: bool

    def place(self, request: Request, token: Token, moment: Moment) -> Request:
        """The request with the credential in its target, its body, or a line that the app sent as well (`Cookie`).

        The request itself where the credential stands in none of these. Raises ClientError where the request has no
        room for it, CredentialRefused where the token cannot stand there.
        """

    def sign(self, request: Request, token: Token, moment: Moment) -> list[Field]:
        """The header fields to add, last, to exactly this request. The list may be shared: never change it.

        Raises CredentialRefused where the token cannot be put on the wire.
        """

    def judge(self, request: Request, answer: Answer, signed: Sequence[Field] = ()) -> Verdict:
        """What the answer says about the credential.

        `signed` is what `sign` returned for this very attempt: with it a scheme tells "refused although it carried the
        newest nonce" (PASS) from "refused because another request learned a newer one meanwhile" (RESIGN). Without it,
        the scheme assumes the latter.
        """
