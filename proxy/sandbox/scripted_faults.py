"""Enacts scripted faults on the wire."""

from __future__ import annotations

import asyncio

from aiohttp import web

from proxy.clock import Clock
from proxy.sandbox.script import Fault

_GARBAGE = b'{"access_token": \xff\x00'
_HUGE = 2 * 1024 * 1024
_HTML = "<!doctype html><title>Sign in</title><p>Please sign in to continue."


async def enact(fault: Fault, request: web.Request, clock: Clock) -> web.StreamResponse | None:
    """The faulty answer; None if the request is to be served as usual (after a delay)."""
    if fault.kind == "slow":
        await clock.sleep(fault.seconds)
        return None
    if fault.kind == "reset":
        return _cut_off(request)
    if fault.kind == "truncate":
        return await _half_an_answer(request)
    return _whole_answer(fault)


def _whole_answer(fault: Fault) -> web.Response:
    match fault.kind:
        case "html":
            answer = web.Response(text=_HTML, content_type="text/html")
        case "garbage":
            answer = web.Response(body=_GARBAGE, content_type="application/json")
        case "empty_token":
            answer = web.json_response({"access_token": "", "token_type": "Bearer", "expires_in": 3600})
        case "huge":
            answer = web.json_response({"access_token": "x" * _HUGE, "token_type": "Bearer"})
        case "redirect":
            answer = web.Response(status=307, headers={"Location": "/open/redirected"})
        case "error_in_200":
            answer = web.json_response({"error": fault.error, "error_description": "scripted"})
        case _:
            answer = _status(fault)
    return answer


def _status(fault: Fault) -> web.Response:
    body = {"error": fault.error, "error_description": "scripted"}
    answer = web.json_response(body, status=fault.status)
    if fault.retry_after is not None:
        answer.headers["Retry-After"] = fault.retry_after
    if fault.www_authenticate is not None:
        answer.headers["WWW-Authenticate"] = fault.www_authenticate
    return answer


def _cut_off(request: web.Request) -> web.StreamResponse:
    """End the connection without an answer. The response that is returned is never sent."""
    if request.transport is not None:
        request.transport.abort()
    return web.Response()


async def _half_an_answer(request: web.Request) -> web.StreamResponse:
    """Send fewer octets than Content-Length says, and end the connection."""
    answer = web.StreamResponse(headers={"Content-Length": "1000", "Content-Type": "application/json"})
    await answer.prepare(request)
    await answer.write(b'{"half": "')
    await asyncio.sleep(0)
    if request.transport is not None:
        request.transport.close()
    raise ConnectionResetError
