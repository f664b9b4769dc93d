"""Errors that only the admin side answers with: a branch of the tree in `proxy.errors`."""

from __future__ import annotations

from proxy.errors import ClientError


class AdminError(ClientError):
    """The request to the admin side cannot be served as it is."""


class Malformed(AdminError):
    """The body is not what was asked for."""

    title = "Malformed request"


class NotAuthenticated(AdminError):
    """The bearer or the guard is wrong or missing. The answer is the same for names that do not exist."""

    status = 401
    title = "Not authenticated"


class Forbidden(AdminError):
    """Host not allowed, or a browser on another site."""

    status = 403
    title = "Forbidden"


class NotFound(AdminError):
    """There is no endpoint at this path."""

    status = 404
    title = "Not found"


class WrongMethod(AdminError):
    """There is an endpoint at this path, but not for this method."""

    status = 405
    title = "Method not allowed"


class TooSlow(AdminError):
    """The body did not come in time."""

    status = 408
    title = "Request timed out"


class Stale(AdminError):
    """The pushed token is older than what is held or than `max_age`, or comes from the future."""

    status = 409
    title = "Stale token"


class TooLarge(AdminError):
    """The body exceeds what the endpoint reads."""

    status = 413
    title = "Body too large"


class Unusable(AdminError):
    """The document can be read but not used: an expired token, a configuration with mistakes."""

    status = 422
    title = "Unusable"


class TooMany(AdminError):
    """Too many refused guards (RFC 6585 §4)."""

    status = 429
    title = "Too many refused attempts"
