"""The error codes of token endpoints that are registered (IANA "OAuth Extensions Error"), and what follows from each.

Only these are ever named in a message: any other word was chosen by the server, and may hold anything.
"""

from __future__ import annotations

from typing import Any

PERMANENT = frozenset(
    {
        *("invalid_request", "invalid_client", "invalid_grant"),  # RFC 6749 §5.2; RFC 7521 §4.1.1, §4.2.1; RFC 8705 §2
        *("unauthorized_client", "unsupported_grant_type", "invalid_scope"),  # RFC 6749 §5.2; RFC 8693 §2.2.2
        *("access_denied", "unsupported_response_type"),  # RFC 6749 §4.1.2.1; RFC 8628 §3.5
        "expired_token",  # RFC 8628 §3.5
        "unsupported_token_type",  # RFC 7009 §2.2.1
        "invalid_target",  # RFC 8707 §2; RFC 8693 §2.2.2
        *("unsupported_pop_key", "incompatible_ace_profiles"),  # RFC 9200 §5.8.3
        "invalid_authorization_details",  # RFC 9396 §5
        "invalid_dpop_proof",  # RFC 9449 §5
        "insufficient_user_authentication",  # RFC 9470 §3
        *("interaction_required", "login_required"),  # OpenID Connect Core §3.1.2.6
        *("account_selection_required", "consent_required"),
        *("invalid_request_uri", "invalid_request_object"),
        *("request_not_supported", "request_uri_not_supported", "registration_not_supported"),
    }
)
"""Asking again changes nothing."""

TRANSIENT = frozenset(
    {
        *("temporarily_unavailable", "server_error"),  # RFC 6749 §4.1.2.1
        *("authorization_pending", "slow_down"),  # RFC 8628 §3.5
        "use_dpop_nonce",  # RFC 9449 §8: the next proof carries what this answer brought
    }
)
"""The same request may succeed later."""

_NOT_OF_THE_GRANT = frozenset({"invalid_client"}) | TRANSIENT
"""Codes that say nothing of the grant that was sent: the client itself is refused, or nothing is."""

_ALIASES = {"bad_refresh_token": "invalid_grant", "incorrect_client_credentials": "invalid_client"}
"""GitHub's own words."""


def registered(error: Any) -> str | None:
    """The registered code that the member `error` of an answer stands for; None for anything else."""
    if not isinstance(error, str):
        return None
    code = _ALIASES.get(error, error)
    return code if code in PERMANENT or code in TRANSIENT else None


def concerns_grant(code: str | None) -> bool:
    """Whether a refusal with this code (None: an unknown one) can mean that the grant is worth nothing any more.

    Issuers use many codes for a dead refresh token, their own ones included.
    """
    return code not in _NOT_OF_THE_GRANT
