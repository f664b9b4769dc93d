"""What only the data path meets: at its end, and on the ways to some upstreams. Branches of the tree of errors.

ProxyError
├── UpstreamError
│   ├── AddressProhibited       the name leads to an address where no API is       502
│   └── EgressDenied            the egress proxy does not take us for who we are   502
├── ShuttingDown                the program ends while the request waits           503
└── DirectoryError              the directory was asked in vain
    ├── DirectoryUnavailable    it cannot answer now                               503
    └── DirectoryRefused        it named nothing that may be used                  502
"""

from __future__ import annotations

import ssl

from proxy.errors import ConnectionTerminated, ProxyError, TlsFailed, UpstreamError


class AddressProhibited(UpstreamError):
    """The upstream was looked up in a directory, and its name leads to an address where no API is."""

    error = "destination_ip_prohibited"
    title = "Upstream address prohibited"


class EgressDenied(UpstreamError):
    """The egress proxy answered 407: it wants a user name and a password, or others than it was given."""

    error = "proxy_configuration_error"
    title = "Egress proxy authentication failed"
    details = "egress_proxy_authentication"

    def __init__(self, *, named: bool) -> None:
        """`named`: the proxy was given a user name."""
        why = "refuses the user name and password of" if named else "wants a user name and password: none stand in"
        super().__init__(f"The egress proxy {why} via_proxy (status 407)")


class ShuttingDown(ProxyError):
    """The program ends, and the request still waits: for a token, a connection or an answer."""

    status = 503
    error = "proxy_internal_response"
    title = "Shutting down"
    details = "shutting_down"
    close = True


class DirectoryError(ProxyError):
    """The upstream's base URL was looked up in vain, and no earlier one is known."""

    status = 502
    error = "destination_not_found"
    title = "Upstream not found"


class DirectoryUnavailable(DirectoryError):
    """The directory cannot be reached or cannot answer now (5xx, 429); trying later helps.

    `requested`: the seconds that the directory asked for, 0 if it did not.
    """

    status = 503
    error = "destination_unavailable"
    title = "Directory unavailable"
    details = "directory_unavailable"

    def __init__(self, detail: str = "", *, retry_after: float = 0.0) -> None:
        super().__init__(detail, retry_after=retry_after)
        self.requested = retry_after


class DirectoryRefused(DirectoryError):
    """The directory answered, and not with a base URL that may be used.

    `named`: what it named, for the operator; None where that is not fit to be shown.
    """

    title = "Directory answer refused"
    details = "directory_refused"

    def __init__(self, detail: str = "", *, named: str | None = None) -> None:
        self.named = named
        super().__init__(detail)


def lost(error: Exception | None = None) -> ProxyError:
    """What the end of an upstream's connection in the middle of an answer, or before it, is to the app.

    SSLError: the upstream wants another client certificate, which it says after the handshake in TLS 1.3.
    """
    if isinstance(error, ssl.SSLError):
        return TlsFailed("The upstream refused the connection by TLS")
    return ConnectionTerminated("The upstream ended the connection before its answer was complete")
