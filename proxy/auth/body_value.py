"""A value in the request's own body: a member of its JSON, or a parameter of its form. The rest goes out as it came.

The body is there whole when this is asked, and its Content-Type decides how it is read. What cannot hold the value is
refused: a request without the credential would only be refused by somebody who knows less about why.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from msgspec import structs

from proxy.auth.base_string import is_form
from proxy.auth.challenge import refused
from proxy.auth.json_members import JsonPlaceError, with_value
from proxy.config.json_pointer import parts_of
from proxy.errors import ClientError, ConfigurationError
from proxy.http1.fields import lines_named
from proxy.http1.target import with_pair, without_pairs
from proxy.model import Answer, Field, Moment, Request, Token, Verdict, WantsBody

_JSON = re.compile(rb"(?:text/|application/(?:[!#$%&'*+\-.^_`|~0-9A-Za-z]+\+)?)json[ \t]*(?:;|\Z)", re.IGNORECASE)
_CHARSET = re.compile(rb";[ \t]*charset[ \t]*=[ \t]*\"?([^\";\s]*)", re.IGNORECASE)
_FRAMING = lines_named([b"content-length", b"transfer-encoding"], aliases=False)
_CODING = lines_named([b"content-encoding"], aliases=False)
_OF_THE_OLD_BODY = lines_named(
    [b"content-md5", b"digest", b"content-digest", b"repr-digest", b"trailer"], aliases=False
)
_BODILESS = frozenset({b"GET", b"HEAD", b"OPTIONS"})
"""Methods whose requests get no body where they had none."""


class UnfitBodyError(ClientError):
    """The request's body cannot hold the credential."""

    title = "The body has no place for the credential"


class BodyScheme:
    """`{"key": "token"}` at `json_pointer`, or `key=token` of the name `form`: exactly one of the two.

    Raises ConfigurationError where there is neither or both, and for a pointer to the whole body.
    """

    writes: tuple[bytes, ...] = ()
    places: bool = True
    parameters: tuple[bytes, ...] = ()
    wants_body: WantsBody = "all"
    learns: bool = False
    constant: bool = True

    def __init__(self, *, json_pointer: str | None = None, form: str | None = None) -> None:
        if (json_pointer is None) == (form is None) or json_pointer == "" or form == "":
            raise ConfigurationError("a value in the body has a json_pointer or the name of a form's parameter")
        self._parts = None if json_pointer is None else parts_of(json_pointer)
        self._form = b"" if form is None else form.encode()

    def place(self, request: Request, token: Token, moment: Moment) -> Request:  # noqa: ARG002 - the interface
        """The request with the value in its body. Raises UnfitBodyError, without a word of the body."""
        body = request.body or b""
        if not body and request.method in _BODILESS:
            raise UnfitBodyError("The credential goes into the request's body, and this request has none")
        if self._parts is None:
            body = self._in_form(request, body, token.access_token)
        else:
            body = self._in_json(request, body, self._parts, token.access_token)
        return structs.replace(request, body=body, section=reframed(request.section, len(body)))

    def _in_form(self, request: Request, body: bytes, value: str) -> bytes:
        if not is_form(request.content_type):
            raise UnfitBodyError("The credential goes into a form, and this body's Content-Type says that it is none")
        return with_pair(without_pairs(body, (self._form,)), self._form, value.encode())

    @staticmethod
    def _in_json(request: Request, body: bytes, parts: Sequence[str], value: str) -> bytes:
        kind = request.content_type or b""
        if _JSON.match(kind) is None:
            raise UnfitBodyError("The credential goes into JSON, and this body's Content-Type says that it is none")
        charset = _CHARSET.search(kind)
        if charset is not None and charset[1].lower() not in (b"utf-8", b"utf8", b"us-ascii"):
            raise UnfitBodyError("The credential goes into JSON, which is UTF-8 (RFC 8259 §8.1)")
        try:
            return with_value(body or b"{}", parts, value)
        except JsonPlaceError as error:
            raise UnfitBodyError(str(error)) from None

    def sign(self, request: Request, token: Token, moment: Moment) -> list[Field]:  # noqa: ARG002 - the interface
        """Nothing in the head."""
        return []

    def judge(self, request: Request, answer: Answer, signed: Sequence[Field] = ()) -> Verdict:  # noqa: ARG002 - the interface
        """RENEW where the credential was refused."""
        return Verdict.RENEW if refused(answer) else Verdict.PASS


def reframed(section: bytes, length: int) -> bytes:
    """A request's section for a body that was changed: its new length, and nothing that speaks of the old octets.

    Raises UnfitBodyError for a body that is packed: what was changed were octets that nobody has unpacked.
    """
    if any(value.strip().lower() not in (b"", b"identity") for _, _, value in _CODING.findall(section)):
        raise UnfitBodyError("The credential goes into the request's body, and this one has a Content-Encoding")
    line = b"Content-Length: %d" % length
    mended, framed = _FRAMING.subn(b"\r\n" + line, _OF_THE_OLD_BODY.sub(b"", section), count=1)
    return mended if framed else mended + line + b"\r\n"
