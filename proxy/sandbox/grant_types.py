"""The token that each grant type gives. Pure: form members in, the members of an RFC 6749 §5.1 answer out."""

from __future__ import annotations

import hmac
from collections.abc import Callable, Mapping
from typing import Any

from msgspec import Struct

from proxy.sandbox.assertions import AssertionRefused
from proxy.sandbox.clients import Client
from proxy.sandbox.ledger import Family
from proxy.sandbox.refusal import Refusal
from proxy.sandbox.state import SandboxState

JWT_BEARER = "urn:ietf:params:oauth:grant-type:jwt-bearer"
TOKEN_EXCHANGE = "urn:ietf:params:oauth:grant-type:token-exchange"  # noqa: S105 - a grant's name
_TOKEN_TYPE = "urn:ietf:params:oauth:token-type:"  # noqa: S105 - the start of a name


class Ask(Struct, frozen=True):
    """A token request whose client is authenticated. `jkt`: the thumbprint of its DPoP key, if it sent a proof."""

    client: Client
    form: Mapping[str, str]
    audience: tuple[str, ...]
    jkt: str | None

    def __repr__(self) -> str:
        """It holds secrets."""
        return f"Ask({self.client!r})"

    def wanted(self, name: str) -> str:
        """A required member. Raises Refusal(invalid_request)."""
        value = self.form.get(name, "")
        if not value:
            raise Refusal("invalid_request", f"{name} is missing")
        return value

    def family(self, subject: str) -> Family:
        """A new grant for this client; the refresh tokens of a public client are bound to its key (RFC 9449 §5)."""
        return Family(
            client_id=self.client.client_id,
            subject=subject,
            scope=self.form.get("scope", self.client.scope),
            audience=self.audience,
            jkt=self.jkt if self.client.public else None,
        )


def client_credentials(state: SandboxState, ask: Ask) -> dict[str, Any]:
    """RFC 6749 §4.4: no refresh token."""
    if ask.client.public:
        raise Refusal("unauthorized_client", "a public client has no credentials of its own")
    return _answer(state, ask, ask.family(ask.client.client_id))


def password(state: SandboxState, ask: Ask) -> dict[str, Any]:
    """RFC 6749 §4.3."""
    user, given = ask.wanted("username"), ask.wanted("password")
    expected = state.users.get(user, "")
    if not expected or not hmac.compare_digest(given.encode(), expected.encode()):
        raise Refusal("invalid_grant", "unknown user or wrong password")
    family = ask.family(user)
    return _answer(state, ask, family, refresh_token=state.ledger.mint_refresh(family))


def refresh_token(state: SandboxState, ask: Ask) -> dict[str, Any]:
    """RFC 6749 §6, with rotation if the settings say so."""
    settings = state.script.settings
    old = ask.wanted("refresh_token")
    bound = state.ledger.refresh(old)
    if bound is not None and bound.family.jkt not in (None, ask.jkt):
        raise Refusal("invalid_grant", "the refresh token is bound to another key")
    reuses = state.ledger.reuses
    try:
        family = state.ledger.redeem(
            old,
            ask.client.client_id,
            rotation=settings.rotation,
            reuse_detection=settings.reuse_detection,
            grace=settings.rotation_grace,
        )
    finally:
        state.counters.refresh_token_reuses += state.ledger.reuses - reuses
    if settings.rotation:
        return _answer(state, ask, family, refresh_token=state.ledger.mint_refresh(family))
    return _answer(state, ask, family)


def jwt_bearer(state: SandboxState, ask: Ask) -> dict[str, Any]:
    """RFC 7523 §2.1: the assertion is signed by a registered client's key, about any subject."""
    try:
        claims = state.assertions.check(
            ask.wanted("assertion"),
            secret=state.clients.secret,
            jwks=state.clients.jwks,
            audiences=(state.issuer, f"{state.issuer}/oauth2/token"),
        )
    except AssertionRefused as refused:
        raise Refusal("invalid_grant", str(refused)) from None
    return _answer(state, ask, ask.family(str(claims["sub"])))


def token_exchange(state: SandboxState, ask: Ask) -> dict[str, Any]:
    """RFC 8693: the subject token is an access token of ours; the new one does not outlive it."""
    subject_type = ask.wanted("subject_token_type")
    if subject_type not in (_TOKEN_TYPE + "access_token", _TOKEN_TYPE + "jwt"):
        raise Refusal("invalid_request", "unknown subject_token_type")
    if ("actor_token" in ask.form) != ("actor_token_type" in ask.form):
        raise Refusal("invalid_request", "actor_token and actor_token_type go together")
    subject = state.ledger.access(ask.wanted("subject_token"))
    if subject is None or ("actor_token" in ask.form and state.ledger.access(ask.form["actor_token"]) is None):
        raise Refusal("invalid_request", "subject_token or actor_token is not valid")
    wanted_type = ask.form.get("requested_token_type", _TOKEN_TYPE + "access_token")
    if wanted_type not in (_TOKEN_TYPE + "access_token", _TOKEN_TYPE + "jwt"):
        raise Refusal("invalid_request", "unknown requested_token_type")
    left = subject.expires_elapsed - state.clock.elapsed()
    answer = _answer(state, ask, ask.family(subject.family.subject), at_most=left)
    answer["issued_token_type"] = wanted_type
    if wanted_type.endswith(":jwt"):
        answer["token_type"] = "N_A"  # noqa: S105 - the name of a type
    return answer


GRANTS: dict[str, Callable[[SandboxState, Ask], dict[str, Any]]] = {
    "client_credentials": client_credentials,
    "password": password,
    "refresh_token": refresh_token,
    JWT_BEARER: jwt_bearer,
    TOKEN_EXCHANGE: token_exchange,
}


def _answer(
    state: SandboxState, ask: Ask, family: Family, *, refresh_token: str | None = None, at_most: float | None = None
) -> dict[str, Any]:
    """RFC 6749 §5.1, with the lifetime spelled as the settings say."""
    settings = state.script.settings
    token = state.issue(family, jkt=ask.jkt, at_most=at_most)
    lifetime = int(token.expires_wall - token.issued_wall)
    answer: dict[str, Any] = {"access_token": token.value, "token_type": "Bearer" if ask.jkt is None else "DPoP"}
    if settings.expires_in_as != "omitted":
        answer["expires_in"] = str(lifetime) if settings.expires_in_as == "string" else lifetime
    if family.scope:
        answer["scope"] = family.scope
    if refresh_token is not None:
        answer["refresh_token"] = refresh_token
    return answer
