"""The two ways to ask a person: a page in their browser, or a short code that they enter on another device."""

from __future__ import annotations

import asyncio
import sys
import threading
import webbrowser
from collections.abc import Callable
from dataclasses import replace

from proxy.cli.redirect_listener import RedirectListener
from proxy.clock import Clock
from proxy.errors import CredentialError, CredentialRefused, CredentialUnavailable
from proxy.tokens.authorization_request import AuthorizationRequest, answered, authorization_request, wanted
from proxy.tokens.device_authorization import SLOWER_BY, DeviceAuthorization, device_authorization
from proxy.tokens.grants import Parameters
from proxy.tokens.sources.issuer import IssuerSource
from proxy.tokens.token_response import NOTHING, TokenResponse


class LoginError(Exception):
    """Why nobody could be asked, or nobody answered: a sentence."""


async def has_browser_flow(source: IssuerSource) -> bool:
    """Whether it is known where a person's browser would be sent."""
    if source.config.authorization_endpoint is not None:
        return True
    if source.config.device_authorization_endpoint is not None:
        return False
    return await source.says("authorization_endpoint") is not None


async def by_browser(source: IssuerSource, clock: Clock, within: float) -> TokenResponse:
    """Authorization code. `within`: seconds that the person has. Raises LoginError, CredentialError."""
    config = source.config
    endpoint = config.authorization_endpoint or await source.endpoint_of("authorization_endpoint")
    names_issuer = bool(await source.says("authorization_response_iss_parameter_supported"))
    loop = asyncio.get_running_loop()
    answer: asyncio.Future[Parameters] = loop.create_future()
    waiting: list[AuthorizationRequest] = []

    def take(text: str) -> bool:
        if answer.done() or not waiting:
            return False
        try:
            parameters = answered(waiting[0], text)
        except CredentialError as error:
            answer.set_exception(error)
            return True
        if parameters is not None:
            answer.set_result(parameters)
        return parameters is not None

    try:
        async with RedirectListener(config.redirect_port or 0, take) as listener:
            request = authorization_request(
                config, endpoint, listener.url, clock.octets, issuer=config.issuer, names_issuer=names_issuer
            )
            waiting.append(request)
            print(f"Open this page and say yes there:\n\n  {request.url}\n")
            print("If the browser runs on another machine, it ends at an address that it cannot open. Paste that here.")
            sys.stdout.flush()
            _background(lambda: webbrowser.open(request.url))
            _background(lambda: _pasted(loop, take))
            async with asyncio.timeout(within):
                parameters = await answer
    except TimeoutError:
        raise LoginError(f"nobody answered within {within:g} seconds") from None
    except OSError as error:
        raise LoginError(
            f"127.0.0.1:{config.redirect_port} cannot be listened on ({error.strerror}): end what holds it, or give "
            "the credential another `redirect_port`, and register that"
        ) from None
    try:
        return await replace(source, presented=parameters).fetch(NOTHING)
    except CredentialRefused as error:
        if error.code != "invalid_grant":
            raise
        raise LoginError(
            "the code was refused (invalid_grant): it serves once and not for long. Log in again"
        ) from None


async def by_device(source: IssuerSource, clock: Clock, within: float) -> TokenResponse:
    """Device authorization. `within`: seconds that the person has. Raises LoginError, CredentialError."""
    config = source.config
    endpoint = config.device_authorization_endpoint or await source.endpoint_of("device_authorization_endpoint")
    asked = replace(source, presented=list(wanted(config).items()), presented_at=endpoint)
    given = device_authorization(await asked.members())
    print(f"On any device open\n\n  {given.verification_uri}\n\nand enter this code:  {given.user_code}\n")
    if given.complete_uri is not None:
        print(f"Or open the page that has it already:\n\n  {given.complete_uri}\n")
    sys.stdout.flush()
    return await polled(replace(source, presented=given.parameters), given, clock, within)


async def polled(source: IssuerSource, given: DeviceAuthorization, clock: Clock, within: float) -> TokenResponse:
    """Ask until the person has decided (RFC 8628 §3.5). Raises LoginError, CredentialError."""
    until = clock.elapsed() + min(within, given.lifetime)
    interval = given.interval
    while clock.elapsed() + interval < until:
        await clock.sleep(interval)
        try:
            return await source.fetch(NOTHING)
        except CredentialUnavailable as error:
            if error.code == "slow_down":
                interval += SLOWER_BY
            elif error.code != "authorization_pending":
                interval = min(2 * interval, given.interval + 12 * SLOWER_BY)  # it did not answer
        except CredentialRefused as error:
            if error.code == "access_denied":
                raise LoginError("the person who was asked said no (access_denied)") from None
            if error.code == "expired_token":
                break
            raise
    raise LoginError("nobody entered the code in time. Log in again")


def _background(work: Callable[[], object]) -> None:
    """Whatever waits for a person or another program: it must not keep this one from ending."""
    threading.Thread(target=work, daemon=True).start()


def _pasted(loop: asyncio.AbstractEventLoop, take: Callable[[str], bool]) -> None:
    """Lines of standard input, until one is the answer."""
    for line in sys.stdin:
        if loop.is_closed():
            return
        if line.strip():
            loop.call_soon_threadsafe(_tried, take, line)


def _tried(take: Callable[[str], bool], line: str) -> None:
    if not take(line):
        print(
            "This is not the address that this login waits for: it ends in …/callback?code=…&state=…", file=sys.stderr
        )
