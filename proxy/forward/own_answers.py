"""The answers that the sidecar makes itself, as octets."""

from __future__ import annotations

from http import HTTPStatus

from proxy.errors import ProxyError
from proxy.problem import problem_body, problem_fields


def own_answer(  # noqa: PLR0913 - each is one member of the document
    error: ProxyError,
    *,
    instance: bytes | None,
    route: str | None,
    credential: str | None,
    head_only: bool,
    close: bool,
) -> bytes:
    """A whole answer. `head_only`: it answers HEAD; `close`: the connection ends behind it."""
    body = problem_body(error, instance=instance, route=route, credential=credential)
    lines = [b"HTTP/1.1 %d %s" % (error.status, HTTPStatus(error.status).phrase.encode("ascii"))]
    lines += [name + b": " + value for name, value in problem_fields(error, body)]
    if close:
        lines.append(b"Connection: close")
    return b"\r\n".join(lines) + b"\r\n\r\n" + (b"" if head_only else body)
