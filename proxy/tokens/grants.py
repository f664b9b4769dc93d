"""What to post to a token endpoint: the form parameters of every grant. Pure.

Parameters are pairs, because `resource` may come more than once (RFC 8707 §2).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from msgspec import Struct

Parameters = list[tuple[str, str]]

CLIENT_CREDENTIALS = "client_credentials"
REFRESH_TOKEN = "refresh_token"  # noqa: S105 - the name of a grant
PASSWORD = "password"  # noqa: S105 - the name of a grant
JWT_BEARER = "urn:ietf:params:oauth:grant-type:jwt-bearer"
TOKEN_EXCHANGE = "urn:ietf:params:oauth:grant-type:token-exchange"  # noqa: S105 - the name of a grant

_ACCESS_TOKEN_TYPE = "urn:ietf:params:oauth:token-type:access_token"  # noqa: S105 - the name of a type


class Wanted(Struct, frozen=True):
    """What kind of token is asked for. `extra`: parameters of the operator's, which win over ours of the same name."""

    scope: str | None = None
    audience: str | None = None
    resource: tuple[str, ...] = ()
    extra: Mapping[str, str] = {}

    def __repr__(self) -> str:
        """Extra parameters may be secrets."""
        return f"Wanted(scope={self.scope!r}, audience={self.audience!r})"


def client_credentials(wanted: Wanted) -> Parameters:
    """RFC 6749 §4.4.2."""
    return _form([("grant_type", CLIENT_CREDENTIALS)], wanted)


def password(username: str, secret: str, wanted: Wanted) -> Parameters:
    """RFC 6749 §4.3.2."""
    return _form([("grant_type", PASSWORD), ("username", username), ("password", secret)], wanted)


def jwt_bearer(assertion: str, wanted: Wanted) -> Parameters:
    """RFC 7523 §2.1."""
    return _form([("grant_type", JWT_BEARER), ("assertion", assertion)], wanted)


def refresh(refresh_token: str, wanted: Wanted, *, scope: bool) -> Parameters:
    """RFC 6749 §6.

    `scope`: whether to name it: without it the scope stays as granted, and asking for more than was granted is an
    error; only who configured this very grant knows what it may ask for.
    """
    return _form([("grant_type", REFRESH_TOKEN), ("refresh_token", refresh_token)], wanted, scope=scope)


def token_exchange(
    subject: tuple[str, str], wanted: Wanted, *, actor: tuple[str, str] | None = None, requested_type: str | None = None
) -> Parameters:
    """RFC 8693 §2.1. `subject` and `actor`: a token and its type; the latter goes with an actor token only."""
    parameters = [("grant_type", TOKEN_EXCHANGE), ("subject_token", subject[0]), ("subject_token_type", subject[1])]
    if actor is not None:
        parameters += [("actor_token", actor[0]), ("actor_token_type", actor[1] or _ACCESS_TOKEN_TYPE)]
    if requested_type is not None:
        parameters.append(("requested_token_type", requested_type))
    return _form(parameters, wanted)


def _form(parameters: Iterable[tuple[str, str]], wanted: Wanted, *, scope: bool = True) -> Parameters:
    ours = list(parameters)
    if scope and wanted.scope is not None:
        ours.append(("scope", wanted.scope))
    if wanted.audience is not None:
        ours.append(("audience", wanted.audience))
    ours += [("resource", resource) for resource in wanted.resource]
    return [pair for pair in ours if pair[0] not in wanted.extra] + list(wanted.extra.items())
