"""What would be sent, for people: `auth-sidecar explain`. Law: no secret gets as far as the text.

Most lines are made by signing with a token that says REDACTED, so there is nothing to find and replace.
"""

from __future__ import annotations

import re

import msgspec

from proxy.auth.basic import BasicScheme
from proxy.auth.dpop import DpopScheme, claims_of
from proxy.auth.oauth1 import OAuth1Scheme
from proxy.auth.scheme import Scheme
from proxy.model import Field, Moment, Request, Token

_REDACTED = "REDACTED"
_TOKEN_IN_BASE = re.compile(r"(oauth_token%3D)(?:(?!%26).)*")
_TOKEN_IN_FIELD = re.compile(r'(oauth_token=")[^"]*')


def describe(scheme: Scheme, request: Request, token: Token, moment: Moment) -> list[str]:
    """Request line, Host and the fields of the credential as they would go out, then what a signature covers.

    `request` is as for `sign`, its target before `place`. The nonce and the time shown are of this very description.
    """
    masked = msgspec.structs.replace(
        token, access_token=_REDACTED, fields=tuple((name, _REDACTED.encode()) for name, _ in token.fields)
    )
    target = scheme.place(request.target, masked).decode("utf-8", "backslashreplace")
    lines = [f"{request.method.decode('latin-1')} {target} HTTP/1.1", f"Host: {request.authority.decode('latin-1')}"]
    match scheme:
        case OAuth1Scheme():
            lines += _oauth1(scheme, request, moment)
        case DpopScheme():
            lines += _dpop(scheme, request, token, masked, moment)
        case BasicScheme():
            lines.append(f"Authorization: Basic {_REDACTED}")
        case _:
            lines += [_line(field) for field in scheme.sign(request, masked, moment)]
    return lines


def _oauth1(scheme: OAuth1Scheme, request: Request, moment: Moment) -> list[str]:
    draft = scheme.draft(request, moment)
    lines = [_TOKEN_IN_FIELD.sub(rf"\1{_REDACTED}", _line(scheme.field(draft, _REDACTED)))]
    if scheme.method != "PLAINTEXT":
        lines.append("OAuth 1 base string: " + _TOKEN_IN_BASE.sub(rf"\1{_REDACTED}", draft.base))
    return lines


def _dpop(scheme: DpopScheme, request: Request, token: Token, masked: Token, moment: Moment) -> list[str]:
    carrier, _ = scheme.sign(request, masked, moment)
    claims = claims_of(scheme.sign(request, token, moment))
    key = scheme.keys.of(token)
    return [
        _line(carrier),
        f"DPoP: {_REDACTED}",
        f"DPoP key: {key.alg}, thumbprint {key.thumbprint}",
        f"DPoP claims: {msgspec.json.encode(claims).decode()}",
    ]


def _line(field: Field) -> str:
    name, value = field
    return f"{name.decode('latin-1')}: {value.decode('utf-8', 'backslashreplace')}"
