"""A token in the path of the upstream's URL, where that says `{credential}`: `https://api.telegram.org/bot{credential}`."""

from __future__ import annotations

from collections.abc import Sequence
from urllib.parse import quote

from msgspec import structs

from proxy.auth.scheme import Scheme
from proxy.config.upstream_url import PLACE
from proxy.errors import CredentialRefused
from proxy.model import Answer, Field, Moment, Request, Token, Verdict, WantsBody

_SAFE = "-._~!$&'()*+,;=:@"
"""What a segment holds as it is (RFC 3986 §3.3): some servers compare the octets."""


class PathScheme:
    """The token as it is in `Request.base_path`, instead of where `scheme` puts it; refusals are read as that does."""

    writes: tuple[bytes, ...] = ()
    places: bool = True
    parameters: tuple[bytes, ...] = ()
    wants_body: WantsBody = "none"
    learns: bool = False
    constant: bool = True

    def __init__(self, scheme: Scheme) -> None:
        self._judge = scheme.judge
        self._place = PLACE.encode()
        self._token: Token | None = None
        self._base = self._filled = b""

    def place(self, request: Request, token: Token, moment: Moment) -> Request:  # noqa: ARG002 - the interface
        """The request with the token in its path. Raises CredentialRefused for one that would lead elsewhere."""
        base = request.base_path
        if not request.target.startswith(base):  # `OPTIONS *`
            return request
        if token is not self._token or base != self._base:
            self._filled = base.replace(self._place, quote(token.access_token, safe=_SAFE).encode("ascii"))
            if any(segment.partition(b";")[0] in (b".", b"..") for segment in self._filled.split(b"/")):
                raise CredentialRefused("The value for the upstream's path would lead elsewhere")
            self._token, self._base = token, base
        return structs.replace(request, target=self._filled + request.target[len(base) :])

    def base(self, base: bytes) -> bytes:
        """The upstream's path as it was sent last."""
        return self._filled if base == self._base else base

    def sign(self, request: Request, token: Token, moment: Moment) -> list[Field]:  # noqa: ARG002 - the interface
        """Nothing in the head."""
        return []

    def judge(self, request: Request, answer: Answer, signed: Sequence[Field] = ()) -> Verdict:
        """As the credential's own scheme does."""
        return self._judge(request, answer, signed)
