"""Why an issuer gave no token, as far as it matters to what was sent: twigs of `proxy.errors`.

CredentialUnavailable ── ReplyLost, ReplyUnreadable, GrantWithheld, RenewedElsewhere
CredentialRefused ── GrantRefused, NoGrant
"""

from __future__ import annotations

from proxy.errors import CredentialRefused, CredentialUnavailable

MAY_BE_LOST = (
    "The grant may be lost: the answer to an earlier renewal never arrived, and the refresh token is refused now"
)
SPENT = (
    "The grant may be lost: the answer to an earlier renewal cannot be read, and the refresh token was spent for it; "
    "push or configure another one, or ask for a renewal to send it once more"
)


CUT_OFF = (
    "The token store cannot be reached, and others who reach it may have used the refresh token that is held: it is "
    "sent when the store answers"
)


class RenewedElsewhere(CredentialUnavailable):
    """Another process renews the token, or has, and nothing was sent."""


class GrantWithheld(CredentialUnavailable):
    """What would be sent is held back, because it may be another process's turn."""


class ReplyLost(CredentialUnavailable):
    """The token request went out, whole or in part, and no answer came: what was sent may be spent."""


class ReplyUnreadable(CredentialUnavailable):
    """An answer came, 2xx or no HTTP at all, and cannot be read: what was sent is spent, if it serves once."""


class GrantRefused(CredentialRefused):
    """The issuer refuses the very grant that was sent (invalid_grant)."""

    refuses_grant = True


class NoGrant(CredentialRefused):
    """There is nothing to send to the issuer: no grant was configured or pushed that is left."""
