"""Asking a person for a grant: the URL that their browser opens, and what it brings back. Pure.

Authorization code (RFC 6749 §4.1) with proof of possession of the request (PKCE, RFC 7636), an unguessable `state`, and
the issuer's name in the answer checked (RFC 9207). The answer comes to this machine's loopback address (RFC 8252 §7.3).
"""

from __future__ import annotations

import base64
import hashlib
import hmac
from collections.abc import Callable
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

from msgspec import Struct

from proxy.config.schema import OAuth2
from proxy.errors import CredentialRefused, CredentialUnavailable
from proxy.tokens import error_codes
from proxy.tokens.grants import Parameters

_OCTETS = 32
"""Of randomness in `state` and the code verifier: 43 characters, the least that RFC 7636 §4.1 takes."""


class AuthorizationRequest(Struct, frozen=True):
    """One request that a person is asked. `verifier`: None where PKCE is off; `issuer`: None where it is not known."""

    url: str
    state: str
    redirect_uri: str
    verifier: str | None
    issuer: str | None
    names_issuer: bool

    def __repr__(self) -> str:
        """The state and the verifier guard the answer."""
        return "AuthorizationRequest()"


def authorization_request(
    config: OAuth2,
    endpoint: str,
    redirect_uri: str,
    octets: Callable[[int], bytes],
    *,
    issuer: str | None = None,
    names_issuer: bool = False,
) -> AuthorizationRequest:
    """The request for a credential. `names_issuer`: whether the issuer says that its answers name it (RFC 9207 §3).

    The operator's `authorization_parameters` win over ours of the same name, but for those that guard the answer.
    """
    state = _text(octets(_OCTETS))
    verifier = _text(octets(_OCTETS)) if config.pkce == "S256" else None
    guards = {"response_type": "code", "redirect_uri": redirect_uri, "state": state}
    if verifier is not None:
        guards["code_challenge"] = _text(hashlib.sha256(verifier.encode()).digest())
        guards["code_challenge_method"] = "S256"
    pairs = [
        *((name, value) for name, value in wanted(config).items() if name not in guards),
        *guards.items(),
        *(("resource", one) for one in config.resource),
    ]
    parts = urlsplit(endpoint)
    query = "&".join(filter(None, (parts.query, urlencode(pairs))))  # RFC 6749 §3.1: its own query is kept
    url = urlunsplit((parts.scheme, parts.netloc, parts.path, query, ""))
    return AuthorizationRequest(url, state, redirect_uri, verifier, issuer, names_issuer)


def wanted(config: OAuth2) -> dict[str, str]:
    """What any authorization server is asked for, whichever way the person answers; the operator's own words win."""
    scope = None if config.scope is None else config.scope.replace(" ", config.scope_separator)
    asked = {"client_id": config.client_id, "scope": scope, "audience": config.audience}
    return {name: value for name, value in asked.items() if value is not None} | config.authorization_parameters


def answered(request: AuthorizationRequest, text: str) -> Parameters | None:
    """What the token endpoint is to be given for an answer; None where the answer is to another request.

    `text`: the URL to which the browser was sent, or its query. Raises CredentialRefused where the person or the server
    said no, or another server answered; CredentialUnavailable where later may help.
    """
    query = urlsplit(text.strip()).query if "?" in text else text.strip()
    said = dict(reversed(parse_qsl(query, keep_blank_values=True)))  # of a name that comes twice the first counts
    if not hmac.compare_digest(said.get("state", "").encode(), request.state.encode()):
        return None
    issuer = said.get("iss")
    if (issuer is None and request.names_issuer) or (None not in (issuer, request.issuer) and issuer != request.issuer):
        raise CredentialRefused("The answer does not come from the configured issuer (RFC 9207)")
    if "error" in said:
        raise _refusal(said["error"])
    if not said.get("code"):
        raise CredentialRefused("The authorization server's answer holds neither a code nor an error")
    pairs = [
        ("grant_type", "authorization_code"),
        ("code", said["code"]),
        ("redirect_uri", request.redirect_uri),
    ]
    return pairs if request.verifier is None else [*pairs, ("code_verifier", request.verifier)]


def _refusal(error: str) -> CredentialRefused | CredentialUnavailable:
    code = error_codes.registered(error)
    if code == "access_denied":
        return CredentialRefused("The person who was asked said no, or may not say yes (access_denied)")
    named = code or "an error that is not registered"
    kind = CredentialUnavailable if code in error_codes.TRANSIENT else CredentialRefused
    return kind(f"The authorization server answered with {named}")


def _text(octets: bytes) -> str:
    return base64.urlsafe_b64encode(octets).rstrip(b"=").decode("ascii")
