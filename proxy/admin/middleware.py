"""Access control. Middlewares, outermost first: errors to documents, Host, cross-site browsers, the admin bearer."""

from __future__ import annotations

import base64
import hmac
import logging
import os
import socket
from collections.abc import Awaitable, Callable, Collection
from functools import lru_cache

from aiohttp import web
from aiohttp.typedefs import Middleware

from proxy.admin import admin_errors
from proxy.admin.connection import NAME, problem
from proxy.admin.ports import Program
from proxy.config.schema import Callers
from proxy.errors import ConfigurationError, MalformedRequest, ProxyError
from proxy.http1.cross_site import is_cross_site
from proxy.http1.host import HostGuard
from proxy.http1.target import split_absolute
from proxy.peer import peer_uid

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

_log = logging.getLogger("auth_sidecar.admin")

CREDENTIAL = web.RequestKey("CREDENTIAL", str)
"""The credential that a request is about, for the problem document; set once the caller is known to be allowed."""

_SAFE = frozenset({"GET", "HEAD", "OPTIONS"})
_CHALLENGES = (
    ("WWW-Authenticate", 'Bearer realm="auth-sidecar"'),
    ("WWW-Authenticate", 'Basic realm="auth-sidecar", charset="UTF-8"'),
)


@web.middleware
async def problems(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Turn every error into a problem document."""
    refusal: ProxyError
    try:
        return await handler(request)
    except web.HTTPMethodNotAllowed as answer:
        refusal = admin_errors.WrongMethod(headers=(("Allow", ", ".join(sorted(answer.allowed_methods))),))
    except web.HTTPNotFound:
        refusal = admin_errors.NotFound()
    except ProxyError as error:
        refusal = error
    return problem(refusal, credential=request.get(CREDENTIAL), instance=request.rel_url.raw_path.encode())


async def plain(_: web.Request, response: web.StreamResponse) -> None:
    """Set the fields that every answer has. `Server` names the product and not aiohttp."""
    response.headers["Server"] = NAME
    response.headers["Cache-Control"] = "no-store"
    response.headers["X-Content-Type-Options"] = "nosniff"


def host_checked(program: Program) -> Middleware:
    """Refuse a Host that is not in `allowed_hosts`, against DNS rebinding by pages of other sites."""

    @web.middleware
    async def check(request: web.Request, handler: Handler) -> web.StreamResponse:
        allowed = frozenset(program.runtime.loaded.config.allowed_hosts)
        if not _over_unix(request) and not _answers_to(_authority(request), allowed):
            raise admin_errors.Forbidden("This listener does not answer to that Host.")
        return await handler(request)

    return check


def _authority(request: web.Request) -> bytes:
    """The host that the request names: in an absolute target, else in Host (RFC 9112 §3.2.2); empty if invalid."""
    if not request.raw_path.lower().startswith(("http:", "https:")):
        return _octets(request.headers.get("Host", ""))
    try:
        return split_absolute(_octets(request.raw_path))[1]
    except MalformedRequest:
        return b""


def _octets(text: str) -> bytes:
    """The octets of a field value: aiohttp decodes with surrogateescape, which this undoes."""
    return text.encode(errors="surrogateescape")


def _over_unix(request: web.Request) -> bool:
    """Whether it came over a unix socket, where there is no DNS name that could be rebound."""
    connection = request.get_extra_info("socket")
    return connection is not None and connection.family == socket.AF_UNIX


def _answers_to(host: bytes, allowed: frozenset[str]) -> bool:
    if not allowed:
        return True
    try:
        return _guard(allowed).allows(host)
    except MalformedRequest:
        return False


@lru_cache(maxsize=4)
def _guard(allowed: frozenset[str]) -> HostGuard:
    """The guard for a list of hosts. Cached: it is the same until a reload."""
    return HostGuard(allowed)


@web.middleware
async def same_site(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Refuse requests that change something and that a browser sends on behalf of another site."""
    if request.method not in _SAFE and cross_site(request):
        raise admin_errors.Forbidden("A browser on another site cannot change anything here.")
    return await handler(request)


def cross_site(request: web.Request) -> bool:
    """Whether a browser says that another site is behind the request (Fetch Metadata; else Origin, RFC 6454)."""
    found = {
        name.encode(): [_octets(value) for value in request.headers.getall(name)]
        for name in ("sec-fetch-site", "origin")
        if name in request.headers
    }
    return is_cross_site(found, b"%b://%b" % (request.scheme.encode(), _authority(request)))


def bearer_checked(program: Program, is_open: Callable[[web.Request], bool]) -> Middleware:
    """Require the admin bearer, where one is configured, on every path that is not open."""

    @web.middleware
    async def check(request: web.Request, handler: Handler) -> web.StreamResponse:
        if not is_open(request) and not _may_enter(program, request):
            raise admin_errors.NotAuthenticated(headers=_CHALLENGES)
        return await handler(request)

    return check


def _may_enter(program: Program, request: web.Request) -> bool:
    try:
        wanted = bearer(program)
    except ConfigurationError as error:
        _log.error("the admin bearer cannot be read, so nobody may enter: %s", error)
        return False
    if wanted is None:
        return _is_welcome(program, request)
    return same_secret(presented(request.headers.get("Authorization", "")), wanted)


def bearer(program: Program) -> str | None:
    """The admin bearer as it is now; None where none is configured. Raises ConfigurationError if unreadable."""
    read = program.runtime.admin_bearer
    return read() if read is not None else None


def unix_uids(program: Program) -> Collection[int]:
    """The users of this machine who may be handed tokens over a unix socket."""
    callers = program.runtime.loaded.config.callers
    return callers.unix_uids if isinstance(callers, Callers) else ()


def _is_welcome(program: Program, request: web.Request) -> bool:
    """Without a bearer: whether anybody may come, or on a unix socket with `unix_uids` these users, root and ours."""
    connection = request.get_extra_info("socket")
    if connection is None or connection.family != socket.AF_UNIX or not unix_uids(program):
        return True
    return peer_uid(connection) in {os.geteuid(), 0, *unix_uids(program)}


def presented(authorization: str) -> str:
    """Return the secret in an Authorization value: a Bearer token or a Basic password; nothing for neither."""
    scheme, _, rest = authorization.partition(" ")
    if scheme.lower() != "basic":
        return presented_bearer(authorization)
    try:
        return base64.b64decode(rest.strip(), validate=True).decode().partition(":")[2]
    except ValueError:  # no base64, no ASCII to begin with, or no UTF-8 within
        return ""


def presented_bearer(authorization: str) -> str:
    """Return the Bearer token in an Authorization value (RFC 6750 §2.1), or nothing."""
    scheme, _, rest = authorization.partition(" ")
    return rest.strip() if scheme.lower() == "bearer" else ""


def same_secret(given: str, wanted: str) -> bool:
    """Compare in constant time, whatever characters were sent. An empty secret matches nothing."""
    return (
        hmac.compare_digest(given.encode(errors="surrogatepass"), wanted.encode(errors="surrogatepass"))
        and wanted != ""
    )
