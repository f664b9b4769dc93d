"""The answers that the sidecar makes itself, as octets."""

from __future__ import annotations

from http import HTTPStatus

from proxy.errors import MalformedRequest, ProxyError
from proxy.forward.cross_site import shared
from proxy.forward.lane import Lane
from proxy.http1.request import RequestHead
from proxy.problem import problem_body, problem_fields


def own_answer(
    error: ProxyError, head: RequestHead | None, lane: Lane | None, origin: bytes | None = None, *, close: bool
) -> bytes:
    """A whole answer to a request, as far as it is known. `close`: the connection ends behind it.

    `origin`: of the other site's page that may use the route, and so may read what became of its request.
    """
    body = problem_body(
        error,
        instance=head.target if head is not None else None,
        route=lane.name if lane is not None else None,
        credential=lane.credential.name if lane is not None and lane.credential is not None else None,
    )
    lines = [b"HTTP/1.1 %d %s" % (error.status, HTTPStatus(error.status).phrase.encode("ascii"))]
    lines += [name + b": " + value for name, value in problem_fields(error, body)]
    if close:
        lines.append(b"Connection: close")
    elif head is not None and head.fields.version == 0:
        lines.append(b"Connection: keep-alive")
    section = b"\r\n".join(lines) + b"\r\n"
    if lane is not None and lane.origins:
        section = shared(section, origin)
    head_only = head is not None and head.method == b"HEAD"
    return section + b"\r\n" + (b"" if head_only else body)


def as_answer(error: Exception) -> ProxyError:
    """What the grammar objects to in a request's body, as an error that can be answered."""
    return error if isinstance(error, ProxyError) else MalformedRequest(str(error))
