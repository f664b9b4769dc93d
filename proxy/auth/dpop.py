"""DPoP (RFC 9449) at resource servers: a token bound to a key, and a new proof of that key with every attempt.

Nonces are learned from every answer, and the server's clock from refusals. `dpop_issuer.py` does the same for the
authorization server.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterable, Sequence

import msgspec
from msgspec import Struct

from proxy.auth.challenge import errors, refused
from proxy.auth.dpop_key import DpopKey, DpopKeys, base64url
from proxy.auth.header import checked, field_name, field_prefix
from proxy.auth.nonces import Nonces
from proxy.auth.skew import ServerTime
from proxy.auth.uri import as_uri, base_url, origin_of, signed_uri
from proxy.model import Answer, Field, Moment, Request, Token, Verdict, WantsBody

_JTI_OCTETS = 16
"""§4.2 wants 96 bits of randomness at least."""

USE_NONCE = "use_dpop_nonce"
BAD_PROOF = "invalid_dpop_proof"
"""The errors of RFC 9449 §12.2 that another proof may mend: with the server's nonce, or by the server's clock."""


class Claims(Struct, frozen=True, omit_defaults=True):
    """§4.2. `htu`: URI without query and fragment; `iat`: whole seconds since the epoch; `ath`: the token's hash."""

    jti: str
    htm: str
    htu: str
    iat: int
    ath: str | None = None
    nonce: str | None = None


class _TokenError(Struct):
    """The body of a refused token request (RFC 6749 §5.2); some resource servers answer so as well."""

    error: str = ""


_encode = msgspec.json.Encoder().encode


def proof(
    key: DpopKey,
    method: str,
    htu: str,
    moment: Moment,
    *,
    nonce: str | None = None,
    access_token: str | None = None,
) -> str:
    """One proof, good for one attempt. `htu` is written as given; `ath` is there where a token is."""
    ath = None if access_token is None else token_hash(access_token)
    claims = Claims(moment.octets(_JTI_OCTETS).hex(), method, htu, int(moment.wall), ath, nonce)
    return key.sign(_encode(claims)).decode("ascii")


def token_hash(access_token: str) -> str:
    """§4.2: `ath`."""
    return base64url(hashlib.sha256(access_token.encode()).digest()).decode("ascii")


class DpopScheme:
    """`Authorization: DPoP token` and `DPoP: proof`.

    `keys` are shared with what requests the tokens. `htu_base`: the upstream's URL as the verifier sees it, where
    proxies in between rewrite it. Raises ConfigurationError for a base that is no URL.
    """

    places: bool = False
    parameters: tuple[bytes, ...] = ()
    wants_body: WantsBody = "none"
    learns: bool = True
    constant: bool = False

    def __init__(
        self, keys: DpopKeys, *, header: str = "Authorization", prefix: str = "DPoP ", htu_base: str | None = None
    ) -> None:
        self._name = field_name(header)
        self._prefix = field_prefix(prefix)
        self.writes: tuple[bytes, ...] = (self._name.lower(), b"dpop")
        self.keys = keys
        self._htu_base = None if htu_base is None else base_url(htu_base, "dpop.htu_base")
        self._nonces = Nonces()
        self._time = ServerTime()
        self._token: Token | None = None

    def place(self, request: Request, token: Token, moment: Moment) -> Request:  # noqa: ARG002 - the interface
        """The request itself: all stands in the head."""
        return request

    def sign(self, request: Request, token: Token, moment: Moment) -> list[Field]:
        """The token and a new proof. Raises CredentialRefused for control characters in the token."""
        if token is not self._token:
            self._carrier = checked((self._name, self._prefix + token.access_token.encode()))
            self._hash = token_hash(token.access_token)
            self._token = token
        return [self._carrier, (b"DPoP", self.keys.of(token).sign(_encode(self._claims(request, moment))))]

    def _claims(self, request: Request, moment: Moment) -> Claims:
        return Claims(
            moment.octets(_JTI_OCTETS).hex(),
            request.method.decode("latin-1"),
            as_uri(*signed_uri(request, self._htu_base)),
            self._time.stamp(moment.wall),
            self._hash,
            self._nonces.of(origin_of(request.scheme, request.authority)),
        )

    def judge(self, request: Request, answer: Answer, signed: Sequence[Field] = ()) -> Verdict:
        """Learn the nonce of the answer. RESIGN if the attempt had another nonce, or if its time was refused."""
        origin = origin_of(request.scheme, request.authority)
        self._nonces.learn(origin, answer.fields)
        if answer.status not in (400, 401):
            return Verdict.PASS
        named = [*errors(answer, "dpop"), _body_error(answer.body)]
        carried = claims_of(signed)
        if USE_NONCE in named:
            newest = self._nonces.of(origin)
            return Verdict.PASS if newest is None or (carried and carried.nonce == newest) else Verdict.RESIGN
        if BAD_PROOF in named and self._time.mend(answer, carried.iat if carried else None):
            return Verdict.RESIGN
        return Verdict.RENEW if refused(answer, scheme="dpop") else Verdict.PASS


def claims_of(signed: Iterable[Field]) -> Claims | None:
    """The claims of the proof among these fields; None if there is none."""
    for name, value in signed:
        if name == b"DPoP":
            return msgspec.json.decode(_unpadded(value.split(b".")[1]), type=Claims)
    return None


def _unpadded(text: bytes) -> bytes:
    return base64.urlsafe_b64decode(text + b"=" * (-len(text) % 4))


def _body_error(body: bytes) -> str:
    try:
        return msgspec.json.decode(body, type=_TokenError).error
    except msgspec.DecodeError:
        return ""
