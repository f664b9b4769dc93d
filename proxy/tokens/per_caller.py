"""One token per caller or tenant: a credential whose requests say whom they are for.

The value that tells (a subject token, a tenant's name) is known by its hash here, never stored or named in a message,
and does not reach the upstream. A token that was got for a subject ends with the subject's own.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable
from typing import Protocol
from weakref import WeakValueDictionary

from cachetools import LRUCache

from proxy.clock import Clock
from proxy.errors import CallerUnknown, CredentialError
from proxy.model import Request, Token
from proxy.tokens.credential import Tokens
from proxy.tokens.issuer_errors import GrantRefused
from proxy.tokens.lifetime import jwt_claims
from proxy.tokens.spelled_time import instant


class CallersTokens(Tokens, Protocol):
    """The token of one caller."""

    def detach(self) -> None:
        """Give up its place: nobody will ask any more."""


Make = Callable[[str], CallersTokens]
"""Makes the tokens of the caller with this value."""

_SUBJECT = re.compile(r"[\x21-\x7e]{1,16384}")
_BEARER = re.compile(r"\A(?i:bearer|dpop)(?: +|$)")
_SCHEME = re.compile(r"\A(?i:bearer|dpop|token|basic) +(?=[^ ]+\Z)")
"""A word that only says how the credential behind it is used (RFC 9110 §11.1)."""
_CHALLENGE = (("WWW-Authenticate", 'Bearer realm="auth-sidecar"'),)
_LAST_MOMENTS = 1.0
"""Where an exchange fails and the subject token ends within so many seconds, that it has expired is what is told."""
_ONLY_DOTS = re.compile(r"\.+")
"""In the path of a URL these would lead elsewhere."""


class PerCaller:
    """The tokens of a credential by the value of a request field. At most `most` are kept; idle ones go first.

    One that had to go while requests wait for its token is found again for as long as they do: however many callers
    there are at once, each costs one renewal.
    """

    scheme = _SCHEME

    def __init__(
        self, field: str, make: Make, *, pattern: str, most: int, unfit: Callable[[str], bool] = lambda _: False
    ) -> None:
        """`pattern`: what the whole value must look like; `unfit`: one that cannot stand where it is filled in."""
        self.strips: tuple[bytes, ...] = (field.lower().encode("latin-1"),)
        self._make = make
        self._unfit = unfit
        self._pattern = re.compile(pattern)
        self._known: LRUCache[bytes, CallersTokens] = LRUCache(most)
        self._gone: WeakValueDictionary[bytes, CallersTokens] = WeakValueDictionary()

    def pick(self, request: Request, field: Callable[[bytes], bytes | None]) -> Tokens:  # noqa: ARG002 - the interface
        """The tokens for this caller. Raises CallerUnknown where the field is missing or not what it should be."""
        value = self._value(field(self.strips[0]))
        key = hashlib.sha256(value.encode()).digest()
        tokens = self._known.get(key)
        if tokens is None:
            if self._unfit(value):
                raise _unknown()
            if len(self._known) >= self._known.maxsize:
                last, idle = self._known.popitem()
                idle.detach()
                self._gone[last] = idle
            self._known[key] = tokens = self._gone.pop(key, None) or self._make(value)
        return tokens

    def whose(self, tokens: Tokens) -> object:
        """Each caller has tokens of its own."""
        return tokens

    def __len__(self) -> int:
        """How many are kept now."""
        return len(self._known)

    def _value(self, octets: bytes | None) -> str:
        value = self.scheme.sub("", _text(octets or b""), count=1)
        if not self._pattern.fullmatch(value) or _ONLY_DOTS.fullmatch(value):
            raise _unknown()
        return value


class OnBehalf(PerCaller):
    """The tokens of a credential by the subject token that the request carries (RFC 8693)."""

    scheme = _BEARER  # no other word stands before a subject token

    def __init__(self, field: str, make: Make, clock: Clock, *, most: int = 1000) -> None:
        super().__init__(
            field, lambda subject: SubjectTokens(make(subject), subject, clock), pattern=_SUBJECT.pattern, most=most
        )
        self._clock = clock

    def _value(self, octets: bytes | None) -> str:
        """The token itself, without the word before it."""
        value = super()._value(octets)
        if _ended(value, self._clock):
            raise _expired()
        return value


class SubjectTokens:
    """Tokens whose refusal by the issuer means that the caller's subject token was refused.

    So is what comes of a subject token that ends while it is exchanged.
    """

    def __init__(self, tokens: CallersTokens, subject: str, clock: Clock) -> None:
        self._tokens = tokens
        self._subject = subject
        self._clock = clock
        self.ready = tokens.ready

    async def current(self) -> Token:
        """The token. Raises CallerUnknown, CredentialError."""
        try:
            return await self._tokens.current()
        except CredentialError as error:
            raise self._whose(error) from None

    def predecessor(self, young: Token) -> Token | None:
        """The token before this one, if this one is very young."""
        return self._tokens.predecessor(young)

    async def renew(self, refused: Token) -> Token:
        """Another token. Raises CallerUnknown, CredentialError."""
        try:
            return await self._tokens.renew(refused)
        except CredentialError as error:
            raise self._whose(error) from None

    def detach(self) -> None:
        """Give up its place."""
        self._tokens.detach()

    def _whose(self, error: CredentialError) -> CredentialError | CallerUnknown:
        if isinstance(error, GrantRefused):
            return CallerUnknown("The caller's token was refused", headers=_CHALLENGE)
        return _expired() if _ended(self._subject, self._clock, early=_LAST_MOMENTS) else error


def _ended(subject: str, clock: Clock, *, early: float = 0.0) -> bool:
    ends = instant(jwt_claims(subject).get("exp"))
    return ends is not None and ends - early <= clock.wall()


def _text(octets: bytes) -> str:
    """UTF-8 where it is that, else one character for each octet (RFC 9110 §5.5)."""
    try:
        return octets.decode()
    except UnicodeDecodeError:
        return octets.decode("latin-1")


def _unknown() -> CallerUnknown:
    return CallerUnknown("The request does not say whom it is for", headers=_CHALLENGE)


def _expired() -> CallerUnknown:
    return CallerUnknown("The caller's token has expired", headers=_CHALLENGE)
