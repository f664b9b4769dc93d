"""Where a token answer keeps things, as `response` says: the one reader of `oauth2` and `http`.

The answer is brought into the usual shape (RFC 6749 §5.1), and that is read as everywhere else (reply.py).

    content     JSON, XML, a form or bare text, unless `format` names one of them
    places      a JSON pointer into that ("" is the whole of it), a header field, a cookie; the usual names by default
    refusals    `refused_on`, before anything else is looked at

Where nothing is found, the log is told which names there were, never a value.
"""

from __future__ import annotations

import logging
from typing import Any

from msgspec import UNSET, Struct, structs

from proxy.config.json_pointer import follow, parts_of
from proxy.config.schema import AnswerField, RefusedAnswer, TokenAnswer
from proxy.errors import CredentialError, CredentialUnavailable
from proxy.tokens import reply
from proxy.tokens.answer_names import names_at
from proxy.tokens.body import json_value, members, salvaged, text_of
from proxy.tokens.http_client import Received
from proxy.tokens.issuer_errors import GrantRefused, ReplyUnreadable
from proxy.tokens.lifetime import LONGEST, Asked
from proxy.tokens.spelled_time import duration, instant
from proxy.tokens.token_response import TokenResponse
from proxy.tokens.xml_answer import xml_value

Place = str | AnswerField | None

_USUAL = ("access_token", "refresh_token", "expires_in", "expires_at", "token_type")
_WHOLE = ""
_MILLISECOND = 0.001
_ADVICE = "%s: an answer states a lifetime in a way that is not understood (%s): the token counts as one without"

_log = logging.getLogger("auth_sidecar.tokens")


class _Content(Struct):
    """What an answer's body holds. `value`: None for what cannot be read. `named`: whether its names are its API's.

    Those of a form are not: any text may look like one.
    """

    value: Any
    named: bool = True

    def at(self, pointer: str) -> Any:
        """What a JSON pointer leads to; None for nothing, and for JSON's null."""
        return found_at(self.value, pointer)


class _Xml(_Content):
    """A document: pointers begin at its root element, or within that."""

    def at(self, pointer: str) -> Any:
        """The text of an element, where it has attributes besides."""
        found = super().at(pointer)
        if found is None and isinstance(self.value, dict):
            (root,) = self.value.values()
            found = found_at(root, pointer)
        return found.get("#text", found) if isinstance(found, dict) else found


class AnswerReader:
    """Reads the answers to one credential's token requests. `name`: what the log calls the credential."""

    def __init__(self, where: TokenAnswer, name: str = "") -> None:
        if where.format == "text" and not isinstance(where.access_token, AnswerField):
            where = structs.replace(where, access_token=_WHOLE)
        self._where = where
        self._name = name
        self._advised = self._missed = False

    def read(self, received: Received, asked: Asked, expected: reply.Expected) -> TokenResponse:
        """The tokens of an answer. Raises what `reply.read` does; GrantRefused for what `refused_on` describes."""
        if self.refuses(received):
            raise GrantRefused(f"The {expected.giver} answered {received.status}, which `refused_on` calls a refusal")
        content, later = self._content(received), received.headers.get("Retry-After")
        if content.value is None and not isinstance(self._where.access_token, AnswerField):
            return reply.unreadable(received.status, self._salvaged(received), asked, expected, retry_later=later)
        usual = self._usual(received, content)
        try:
            response = reply.told(received.status, usual, asked, expected, retry_later=later)
        except ReplyUnreadable as lost:
            if lost.rotated is None and expected.keeps_refresh_token:
                lost.rotated = self._salvaged(received)  # deeper than where it should be
            self._explain(lost, content)
            raise
        except CredentialUnavailable as error:
            if received.ok and not usual["error"] and not isinstance(usual["access_token"], str):
                self._explain(error, content)
            raise

        return self._keeping(response, received, content) if self._where.keep else response

    def _keeping(self, response: TokenResponse, received: Received, content: _Content) -> TokenResponse:
        """The same with what the answer says besides; what is not there is told to the log, once."""
        found = {name: self._found(received, content, place) for name, place in self._where.keep.items()}
        kept = {name: str(value) for name, value in found.items() if type(value) in (str, int, float) and value != ""}
        missing = [name for name in found if name not in kept]
        if missing and not self._missed:
            self._missed = True
            there = names_at(content.value, "")
            _log.warning("%s: an answer has nothing to keep as %s: %s", self._name, ", ".join(missing), there)
        token = structs.replace(response.token, kept=tuple(sorted(kept.items())))
        return structs.replace(response, token=token)

    def refuses(self, received: Received) -> bool:
        """Whether an answer is what the operator calls a refusal."""
        return any(_matches(rule, received) for rule in self._where.refused_on)

    def _content(self, received: Received) -> _Content:
        body, content_type = received.body, received.headers.get("Content-Type")
        kind = self._where.format
        if kind == "text":
            return _Content(text_of(body, content_type) or None)
        if kind == "xml":
            return _Xml(xml_value(body))
        if (value := json_value(body, content_type)) is not None or kind == "json":
            return _Content(value)
        if body.lstrip().startswith(b"<") and (xml := xml_value(body)) is not None:
            return _Xml(xml)
        if self._where.access_token == _WHOLE:
            return _Content((text_of(body, content_type) or None) if received.whole else None)
        return _Content(members(body, content_type, whole=received.whole), named=False)

    def _usual(self, received: Received, content: _Content) -> dict[str, Any]:
        """The members that an answer has elsewhere, under their registered names."""
        top = content.value if isinstance(content.value, dict) else {}
        usual: dict[str, Any] = {"error": top.get("error")}
        for name, unnamed in zip(_USUAL, reply.usual(top), strict=True):
            place = getattr(self._where, name)
            usual[name] = unnamed if place is UNSET else self._found(received, content, place)
        if isinstance(usual["access_token"], int) and self._where.access_token == _WHOLE:
            usual["access_token"] = text_of(received.body)  # digits alone are a JSON number, too
        usual["expires_in"] = self._seconds(usual["expires_in"])
        if usual["expires_in"] is None and usual["expires_at"] is not None and instant(usual["expires_at"]) is None:
            self._advise("expires_at")
        return usual

    def _found(self, received: Received, content: _Content, place: Place) -> Any:
        """What stands at a place; None for nothing, and for JSON's null."""
        if place is None:
            return None
        if isinstance(place, str):
            return content.at(place)
        return received.headers.get(place.header) if place.header is not None else received.cookie(place.cookie or "")

    def _seconds(self, stated: Any) -> Any:
        """`expires_in` in seconds, or as it is where it may be a date."""
        if stated in (None, ""):
            return None
        seconds = duration(stated, unit=_MILLISECOND if self._where.expires_in_unit == "ms" else 1.0)
        if seconds is None:
            if instant(stated) is None:
                self._advise("expires_in")
            return stated
        return LONGEST if seconds == 0 and self._where.zero_expires_in == "never" else seconds

    def _advise(self, member: str) -> None:
        """Once: an issuer writes all its answers alike."""
        if not self._advised:
            self._advised = True
            _log.warning(_ADVICE, self._name, member)

    def _salvaged(self, received: Received) -> str | None:
        content_type, place = received.headers.get("Content-Type"), self._where.refresh_token
        if place is UNSET:
            return salvaged(received.body, content_type, whole=received.whole)
        called = tuple(parts_of(place)[-1:]) if isinstance(place, str) else ()
        return salvaged(received.body, content_type, whole=received.whole, names=called) if called else None

    def _explain(self, error: CredentialError, content: _Content) -> None:
        """Let the error's text for the log say what there was where the token should be."""
        place = self._where.access_token
        if isinstance(place, AnswerField):
            there = f"it has no header field {place.header}" if place.header else f"it sets no cookie {place.cookie}"
        elif not content.named:
            return
        else:
            pointer = place if isinstance(place, str) else ""
            there = (f"nothing at {pointer}; " if pointer else "") + names_at(content.value, pointer)
        error.args = (f"{error.detail} ({there})",)


def found_at(value: Any, pointer: str) -> Any:
    """What a JSON pointer leads to; None for nothing, and for JSON's null."""
    try:
        return follow(value, pointer)
    except LookupError:
        return None


def _matches(rule: RefusedAnswer, received: Received) -> bool:
    return rule.status in (None, received.status) and (
        rule.body_contains is None or rule.body_contains.encode() in received.body
    )
