"""AWS Signature Version 4: every attempt is signed anew, last, over exactly what goes out.

The app's own signature is replaced, be it in `Authorization` or in the query: SDKs sign with whatever keys they are
given. What that signature says of the payload is heeded, because it describes the body that is sent: a body that is
signed piece by piece with the app's own key cannot be passed on.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import time
from calendar import timegm
from collections.abc import Sequence
from typing import Literal

from msgspec import Struct, structs

from proxy.auth.aws_canonical import (
    canonical_fields,
    canonical_request,
    declared_hash,
    presigned_scope,
    without_presigning,
)
from proxy.auth.aws_keys import AwsKeys, from_text
from proxy.auth.header import checked
from proxy.auth.skew import ServerTime
from proxy.errors import RequestBodyTooLarge, RequestDenied
from proxy.model import Answer, Field, Moment, Request, Token, Verdict, WantsBody

Payload = Literal["signed", "unsigned", "as_sent"]

_UNSIGNED = b"UNSIGNED-PAYLOAD"
_STREAMED = b"STREAMING-UNSIGNED-PAYLOAD-TRAILER"
"""The app sends the body in the `aws-chunked` coding; the service reads it so because this says so."""
_SIGNED_IN_PIECES = b"STREAMING-AWS4-"
_SCOPE = re.compile(rb"[^/]+/[0-9]{8}/([A-Za-z0-9-]{1,64})/([A-Za-z0-9-]{1,64})/aws4_request")
_CREDENTIAL = re.compile(rb"\bCredential=([^\s,]+)")
_DATE = b"x-amz-date"
_STAMP = "%Y%m%dT%H%M%SZ"
_MOST_KEYS = 64
"""Signing keys that are kept: one per day, region and service."""

_CLOCK = re.compile(
    rb"RequestTimeTooSkewed|RequestExpired|RequestInTheFuture|[Ss]ignature expired|[Ss]ignature not yet current"
)
_KEYS = re.compile(
    rb"ExpiredToken|SignatureDoesNotMatch|TokenRefreshRequired|InvalidToken\b|InvalidAccessKeyId|InvalidClientTokenId|UnrecognizedClient"
)
"""Words of the refusals of AWS services, in XML, in JSON and in `X-Amzn-ErrorType`."""


class SigV4Draft(Struct, frozen=True):
    """One attempt but for its signature: the fields that come with it, its scope, and the canonical request.

    `names`: of the signed fields. `scope`: day, region and service.
    """

    added: list[Field]
    stamp: str
    scope: str
    names: bytes
    covered: bytes

    def __repr__(self) -> str:
        """A canonical request holds the query."""
        return "SigV4Draft()"


class AllowedScopes(Struct, frozen=True):
    """Where a scope comes from: fixed ones (`region`, `service`), or None: the app's own, if it is in the list."""

    region: str | None
    service: str | None
    regions: tuple[str, ...] = ()
    services: tuple[str, ...] = ()

    def of(self, said: bytes | None) -> tuple[str, str]:
        """Region and service for a request; `said`: the app's credential scope. Raises RequestDenied."""
        if self.region is not None and self.service is not None:
            return self.region, self.service
        match = _SCOPE.fullmatch(said) if said is not None else None
        if match is None:
            raise RequestDenied("The request has no AWS signature that names a region and a service")
        region, service = (part.decode("ascii") for part in match.groups())
        if self.region is None and region not in self.regions:
            raise RequestDenied("The region in the request's credential scope is not in allow_regions")
        if self.service is None and service not in self.services:
            raise RequestDenied("The service in the request's credential scope is not in allow_services")
        return self.region or region, self.service or service


class SigV4Scheme:
    """Signs with the keys of the token, or with `keys` where the token says nothing; `use` replaces these.

    `payload`: `signed`: the hash of the body; `unsigned`: none (S3 over TLS); `as_sent`: the hash that the app
    declares in `X-Amz-Content-SHA256`, and the body's where it declares none.
    """

    writes: tuple[bytes, ...] = (b"authorization", _DATE, b"x-amz-security-token", b"x-amz-content-sha256")
    places: bool = True
    parameters: tuple[bytes, ...] = ()
    learns: bool = False
    constant: bool = False

    def __init__(self, scopes: AllowedScopes, payload: Payload = "signed", keys: AwsKeys | None = None) -> None:
        self._scopes = scopes
        self._payload = payload
        self._own_keys = keys
        self.wants_body: WantsBody = {
            "signed": "all", "unsigned": "none", "as_sent": "undeclared",
        }[payload]  # type: ignore[assignment]  # fmt: skip
        self._time = ServerTime()
        self._token: Token | None = None
        self._take(keys)

    def use(self, keys: AwsKeys) -> None:
        """Sign with these from now on, where a token says nothing."""
        self._own_keys = keys
        self._token = None

    def _take(self, keys: AwsKeys | None) -> None:
        self._keys = keys
        self._signing_keys: dict[str, bytes] = {}

    def place(self, request: Request, token: Token, moment: Moment) -> Request:  # noqa: ARG002 - the interface
        """The request without the app's own signature in its query."""
        if b"?" not in request.target:
            return request
        return structs.replace(request, target=without_presigning(request.target))

    def sign(self, request: Request, token: Token, moment: Moment) -> list[Field]:
        """`X-Amz-Date`, `X-Amz-Content-SHA256`, `X-Amz-Security-Token` of temporary keys, and `Authorization`.

        Raises RequestDenied for a scope that is not allowed, RequestBodyTooLarge for a body that cannot be signed.
        """
        keys = self._keys_of(token)
        draft = self.draft(request, moment, keys.session_token)
        text = f"AWS4-HMAC-SHA256\n{draft.stamp}\n{draft.scope}\n{hashlib.sha256(draft.covered).hexdigest()}"
        signature = hmac.digest(self._signing_key(keys, draft.scope), text.encode(), "sha256").hex()
        names = draft.names.decode("latin-1")
        value = (
            f"AWS4-HMAC-SHA256 Credential={keys.access_key_id}/{draft.scope}, SignedHeaders={names}, "
            f"Signature={signature}"
        )
        return [*draft.added, checked((b"Authorization", value.encode("latin-1")))]

    def draft(self, request: Request, moment: Moment, session_token: str | None) -> SigV4Draft:
        """What will be signed for this attempt. Raises as `sign` does."""
        region, service = self._scopes.of(_scope_said(request))
        payload_hash = self._hash(request)
        stamp = time.strftime(_STAMP, time.gmtime(self._time.stamp(moment.wall)))
        added: list[Field] = [(_DATE, stamp.encode()), (b"x-amz-content-sha256", payload_hash)]
        if session_token:
            added.append(checked((b"x-amz-security-token", session_token.encode())))
        lines, names = canonical_fields(request.section, added)
        covered = canonical_request(request.method, request.target, lines, names, payload_hash, service)
        return SigV4Draft(added, stamp, f"{stamp[:8]}/{region}/{service}/aws4_request", names, covered)

    def _keys_of(self, token: Token) -> AwsKeys:
        if token is not self._token or self._keys is None:
            keys = from_text(token.access_token) if token.access_token else self._own_keys
            if keys is None:
                raise ValueError("neither the token nor the scheme has keys")
            self._take(keys)
            self._token = token
            return keys
        return self._keys

    def _signing_key(self, keys: AwsKeys, scope: str) -> bytes:
        key = self._signing_keys.get(scope)
        if key is None:
            if len(self._signing_keys) >= _MOST_KEYS:
                self._signing_keys.clear()
            key = f"AWS4{keys.secret_access_key}".encode()
            for part in scope.split("/"):
                key = hmac.digest(key, part.encode(), "sha256")
            self._signing_keys[scope] = key
        return key

    def _hash(self, request: Request) -> bytes:
        declared = declared_hash(request.received_section) or b""
        if declared.startswith(_SIGNED_IN_PIECES):
            raise RequestBodyTooLarge(
                "The body is signed piece by piece with the app's own key, and cannot be signed anew: "
                "let the app send it unsigned or with its whole hash"
            )
        if declared == _STREAMED or (self._payload == "as_sent" and declared):
            return declared
        if self._payload == "unsigned":
            return _UNSIGNED
        if request.body is None:
            raise RequestBodyTooLarge("The request body is larger than can be signed")
        return hashlib.sha256(request.body).hexdigest().encode()

    def judge(self, request: Request, answer: Answer, signed: Sequence[Field] = ()) -> Verdict:
        """RESIGN where our clock was refused, RENEW where the keys were.

        The answer to HEAD has no body that could say why: the clock is suspected where it differs from the `Date`.
        """
        if answer.status not in (400, 401, 403):
            return Verdict.PASS
        said = b"\n".join((answer.body, *(value for name, value in answer.fields if name.lower() == _ERROR_TYPE)))
        if _CLOCK.search(said) or (request.method == b"HEAD" and not said.strip()):
            if self._time.mend(answer, _stamp_of(signed)):
                return Verdict.RESIGN
            return Verdict.PASS
        return Verdict.RENEW if answer.status == 401 or _KEYS.search(said) else Verdict.PASS  # noqa: PLR2004 - RFC 9110


_ERROR_TYPE = b"x-amzn-errortype"


def _scope_said(request: Request) -> bytes | None:
    """The credential scope of the app's own signature, wherever it stands."""
    match = _AUTHORIZATION.search(request.received_section)
    found = _CREDENTIAL.search(match[1]) if match is not None else None
    return found[1] if found is not None else presigned_scope(request.received_target)


_AUTHORIZATION = re.compile(rb"\r\n(?i:authorization):[ \t]*+([^\r]*+)")


def _stamp_of(signed: Sequence[Field]) -> int | None:
    for name, value in signed:
        if name == _DATE:
            return timegm(time.strptime(value.decode("ascii"), _STAMP))
    return None
