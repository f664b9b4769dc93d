"""Describes a signed request for people (`auth-sidecar explain`). Law: the text holds no secret.

The request is signed with `PLACEHOLDER` instead of a token; signatures and proofs are removed.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

import msgspec

from proxy.auth.aws_keys import AwsKeys, as_text
from proxy.auth.aws_sigv4 import SigV4Scheme
from proxy.auth.basic import BasicScheme
from proxy.auth.dpop import DpopScheme, claims_of
from proxy.auth.oauth1 import OAuth1Scheme
from proxy.auth.scheme import Scheme
from proxy.model import Field, Moment, Request, Token

REDACTED = "REDACTED"
PLACEHOLDER = Token(access_token=REDACTED)
"""Used instead of the token."""
_AWS_PLACEHOLDER = Token(access_token=as_text(AwsKeys(access_key_id=REDACTED, secret_access_key=REDACTED)))

_TOKEN_IN_BASE = re.compile(r"(oauth_token%3D)(?:(?!%26).)*")
_SIGNATURE_OF_AWS = re.compile(rb"Signature=[0-9a-f]+")
_SECRETS_IN_FIELD = re.compile(rb'(oauth_token|oauth_signature)="[^"]*')


def placeholder(scheme: Scheme | None) -> Token:
    """What stands for the token that a scheme would sign with."""
    return _AWS_PLACEHOLDER if isinstance(scheme, SigV4Scheme) else PLACEHOLDER


def redacted(scheme: Scheme, signed: Sequence[Field]) -> list[Field]:
    """The fields that `scheme` made from `PLACEHOLDER`, without signatures and proofs that others could use."""
    match scheme:
        case SigV4Scheme():
            return [(name, _SIGNATURE_OF_AWS.sub(b"Signature=REDACTED", value)) for name, value in signed]
        case OAuth1Scheme():
            return [(name, _SECRETS_IN_FIELD.sub(rb'\1="REDACTED', value)) for name, value in signed]
        case DpopScheme():
            return [(name, REDACTED.encode() if name == b"DPoP" else value) for name, value in signed]
        case BasicScheme():
            return [(name, b"Basic REDACTED") for name, _ in signed]
        case _:
            return list(signed)


def covered(scheme: Scheme, request: Request, signed: Sequence[Field], moment: Moment) -> list[str]:
    """What a signature covers. `moment`: the one given to `sign`, returning the same octets."""
    match scheme:
        case OAuth1Scheme() if scheme.method != "PLAINTEXT":
            base = _TOKEN_IN_BASE.sub(rf"\1{REDACTED}", scheme.draft(request, moment).base)
            return [f"OAuth 1 base string: {base}"]
        case SigV4Scheme():
            text = scheme.draft(request, moment, None).covered.decode("utf-8", "backslashreplace")
            return ["AWS canonical request:", *text.split("\n")]
        case DpopScheme():
            key = scheme.keys.of(PLACEHOLDER)
            return [
                f"DPoP key: {key.alg}, thumbprint {key.thumbprint}",
                f"DPoP claims: {msgspec.json.encode(claims_of(signed)).decode()}",
            ]
        case _:
            return []
