"""The answers that the sidecar makes itself, as octets."""

from __future__ import annotations

from http import HTTPStatus

from proxy.errors import MalformedRequest, ProxyError
from proxy.forward.lane import Lane
from proxy.http1.request import RequestHead
from proxy.problem import problem_body, problem_fields


def own_answer(error: ProxyError, head: RequestHead | None, lane: Lane | None, *, close: bool) -> bytes:
    """A whole answer to a request, as far as it is known. `close`: the connection ends behind it."""
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
    head_only = head is not None and head.method == b"HEAD"
    return b"\r\n".join(lines) + b"\r\n\r\n" + (b"" if head_only else body)


def as_answer(error: Exception) -> ProxyError:
    """What the grammar objects to in a request's body, as an error that can be answered."""
    return error if isinstance(error, ProxyError) else MalformedRequest(str(error))
