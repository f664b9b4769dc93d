"""The answers that the sidecar makes itself, as octets."""

from __future__ import annotations

import asyncio
import logging
from http import HTTPStatus

from proxy.defects import known
from proxy.errors import MalformedRequest, ProxyError
from proxy.forward.cors import Readers
from proxy.forward.live_route import LiveRoute
from proxy.http1.grammar import GrammarError
from proxy.http1.request import RequestHead
from proxy.problem import problem_body, problem_fields

_log = logging.getLogger("auth_sidecar.forward")


def own_answer(
    error: ProxyError, head: RequestHead | None, route: LiveRoute | None, readers: Readers | None = None, *, close: bool
) -> bytes:
    """A whole answer to a request, as far as it is known. `close`: the connection ends behind it.

    `readers`: who may read it, where the route says so: a page that may use it may know what became of its request.
    """
    body = problem_body(
        error,
        instance=head.target if head is not None else None,
        route=route.name if route is not None else None,
        credential=route.credential.name if route is not None and route.credential is not None else None,
    )
    lines = [b"HTTP/1.1 %d %s" % (error.status, HTTPStatus(error.status).phrase.encode("ascii"))]
    lines += [name + b": " + value for name, value in problem_fields(error, body)]
    section = b"\r\n".join(lines) + b"\r\n"
    if readers is not None:
        section = readers.told(section)
    head_only = head is not None and head.method == b"HEAD"
    return ended(section, head, close=close) + (b"" if head_only else body)


def ended(section: bytes, head: RequestHead | None, *, close: bool) -> bytes:
    """The head of an answer, whole: whether the connection goes on behind it, and the blank line."""
    if close:
        return section + b"Connection: close\r\n\r\n"
    if head is not None and head.fields.version == 0:
        return section + b"Connection: keep-alive\r\n\r\n"
    return section + b"\r\n"


def as_answer(error: BaseException) -> ProxyError:
    """Whatever went wrong while a request was served, as an error that can be answered: the app always gets an answer.

    That is the error itself, what the grammar objects to in a request's body, or a mistake of ours, which is logged.
    """
    if isinstance(error, GrammarError):
        return MalformedRequest(str(error))
    return known(_log, "while serving a request", error)


def unanswered(error: BaseException) -> None:
    """Nobody waited for what went wrong. An error of a credential was logged and counted by its manager."""
    if not isinstance(error, asyncio.CancelledError):
        as_answer(error)
