"""Everything that can go wrong, as one tree: who caused it, and which status the app gets for it.

    ProxyError
    ├── ClientError          the app's request cannot be served as it is      4xx
    ├── UpstreamError        the API could not be reached or spoke nonsense   502, 504
    ├── CredentialError      no usable token                                  502, 503
    └── LimitReached         our own limits                                   503
    ConfigurationError       the configuration cannot be used (never an answer to a request)

`status` and `error` (a registered RFC 9209 error type) and `title` are for the caller. `str()` of an error is for the
log and names no secret; the caller sees it only where `detail` says so.
"""

from __future__ import annotations

from typing import ClassVar


class ProxyError(Exception):
    """Something that the sidecar answers itself.

    `detail`: one sentence for the caller, without any secret or any text of the authorization server.
    `details`: our own reason within Proxy-Status. `headers`: extra fields of the answer. `retry_after`: seconds until
    another try may do, whole ones once it is made. `close`: the connection of the app cannot be used any further.
    """

    status: ClassVar[int] = 500
    error: ClassVar[str] = "proxy_internal_error"
    title: ClassVar[str] = "Internal error"
    details: ClassVar[str | None] = None
    close: ClassVar[bool] = False
    retry_after: int | None = None

    def __init__(
        self, detail: str = "", *, headers: tuple[tuple[str, str], ...] = (), retry_after: float | None = None
    ) -> None:
        super().__init__(detail or self.title)
        self.detail = detail or self.title
        if retry_after is not None:
            self.retry_after = max(1, -int(-retry_after // 1))  # rounded up: never too early
        self.headers = headers if self.retry_after is None else (*headers, ("Retry-After", str(self.retry_after)))


# ---- the app's request -----------------------------------------------------------------------------------------------


class ClientError(ProxyError):
    """The request cannot be served as it is."""

    status = 400
    error = "http_request_error"
    title = "Bad request"


class MalformedRequest(ClientError):
    """The request does not follow the grammar; nothing of it reached an upstream."""

    title = "Malformed request"
    close = True


class RequestHeadTooLarge(ClientError):
    """The head exceeds `limits.max_header_size` or `limits.max_headers`."""

    status = 431
    title = "Request head too large"
    close = True


class RequestTargetTooLong(ClientError):
    """The request line alone exceeds `limits.max_header_size`."""

    status = 414
    title = "Request target too long"
    close = True


class RequestBodyTooLarge(ClientError):
    """The body exceeds `max_request_body`, or the bound up to which a body is buffered for signing."""

    status = 413
    title = "Request body too large"
    close = True


class RequestTimeout(ClientError):
    """The head or the body did not come in time."""

    status = 408
    title = "Request timed out"
    close = True


class MethodRefused(ClientError):
    """CONNECT and TRACE, which a sidecar never forwards."""

    status = 405
    title = "Method not allowed"
    close = True


class RouteMethodRefused(MethodRefused):
    """A route has this path, but not for this method."""

    error = "http_request_denied"
    close = False


class NoRoute(ClientError):
    """No route has this path and host."""

    status = 404
    error = "destination_not_found"
    title = "No route"


class RequestDenied(ClientError):
    """Host not allowed, cross-site browser request, caller not allowed."""

    status = 403
    error = "http_request_denied"
    title = "Request denied"


class CallerUnknown(RequestDenied):
    """A wrong or missing caller bearer, or a missing or refused subject token."""

    status = 401
    title = "Caller not authenticated"


class GenerationMismatch(ClientError):
    """`If-Match` names another generation than the one that is held."""

    status = 412
    title = "Another generation is held"


class UnknownTransferCoding(ClientError):
    """A transfer coding other than `chunked` (RFC 9112 §6.1)."""

    status = 501
    error = "proxy_internal_response"
    title = "Transfer coding not implemented"
    close = True


class UnknownVersion(ClientError):
    """A version other than HTTP/1.0 and HTTP/1.1."""

    status = 505
    title = "HTTP version not supported"
    close = True


# ---- the upstream ----------------------------------------------------------------------------------------------------


class UpstreamError(ProxyError):
    """The API could not be reached, or what it answered is not HTTP."""

    status = 502
    error = "proxy_internal_error"
    title = "Upstream failed"


class ConnectionRefused(UpstreamError):
    """The upstream refused the connection."""

    error = "connection_refused"
    title = "Upstream refused the connection"


class NameNotResolved(UpstreamError):
    """The upstream's host name does not resolve."""

    error = "dns_error"
    title = "Upstream name not resolved"


class TlsFailed(UpstreamError):
    """The TLS handshake failed."""

    error = "tls_protocol_error"
    title = "TLS with the upstream failed"


class CertificateRefused(UpstreamError):
    """The upstream's certificate does not verify."""

    error = "tls_certificate_error"
    title = "Upstream certificate refused"


class MalformedAnswer(UpstreamError):
    """The upstream's answer does not follow the grammar."""

    error = "http_protocol_error"
    title = "Upstream answer malformed"


class AnswerHeadTooLarge(UpstreamError):
    """The upstream's header section exceeds our limits."""

    error = "http_response_header_section_size"
    title = "Upstream answer head too large"


class ConnectionTerminated(UpstreamError):
    """The upstream ended the connection before its answer was complete."""

    error = "connection_terminated"
    title = "Upstream ended the connection"


class NameTimeout(UpstreamError):
    """Name resolution took longer than `timeouts.connect`."""

    status = 504
    error = "dns_timeout"
    title = "Upstream name resolution timed out"


class ConnectTimeout(UpstreamError):
    """Connecting took longer than `timeouts.connect`."""

    status = 504
    error = "connection_timeout"
    title = "Upstream connection timed out"


class AnswerTimeout(UpstreamError):
    """No answer within `timeouts.response_header`, or the exchange exceeded `timeouts.total`."""

    status = 504
    error = "http_response_timeout"
    title = "Upstream answer timed out"


# ---- the credential --------------------------------------------------------------------------------------------------


class CredentialError(ProxyError):
    """There is no usable token.

    `rotated`: a new refresh token, where one came all the same. `refuses_grant`: the issuer said no to what was sent,
    for good as far as this very grant goes: another one, if there is one, may do. `code`: the registered error code
    that the issuer gave for it.
    """

    error = "proxy_internal_response"
    rotated: str | None = None
    refuses_grant: bool = False
    code: str | None = None


class CredentialUnavailable(CredentialError):
    """The issuer cannot answer now (unreachable, 5xx, 429); later it may. `requested`: seconds it asked for, or 0."""

    status = 503
    title = "Credential unavailable"
    details = "credential_unavailable"

    def __init__(self, detail: str = "", *, retry_after: float = 0.0) -> None:
        super().__init__(detail, retry_after=retry_after)
        self.requested = retry_after


class CredentialRefused(CredentialError):
    """The issuer refused (invalid_client, invalid_grant …), nothing was ever pushed, or it expired for good.

    `passing`: the refusal brought what the next attempt needs (a DPoP nonce), so that it is not held.
    """

    status = 502
    title = "Credential refused"
    details = "credential_refused"
    passing: bool = False


# ---- our own limits --------------------------------------------------------------------------------------------------


class LimitReached(ProxyError):
    """One of our own limits; trying later helps."""

    status = 503
    error = "proxy_internal_response"
    title = "Limit reached"
    details = "limit_reached"
    retry_after = 1


# ---- the configuration -----------------------------------------------------------------------------------------------


class ConfigurationError(Exception):
    """The configuration cannot be used. `str()` is the whole report for people, secrets left out."""

    at: tuple[str | int, ...] = ()  # the key that it is about, by its way through the file, where that is known
