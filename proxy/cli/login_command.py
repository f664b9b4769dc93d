"""`auth-sidecar login`: the first token of a credential that begins with a person.

The token goes into the store, if that outlives the program, or else into the running instance through its update
endpoint; whether there is such a place is looked at before anybody is asked. No token is ever printed.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import sys
from collections.abc import Awaitable, Callable
from urllib.parse import quote

from proxy.assembly.credential_runtime import CredentialRuntime
from proxy.assembly.runtime_builder import RuntimeBuilder
from proxy.assembly.unusable import UnusableError
from proxy.cli.codes import FAILED, GOOD, NO_MATCH
from proxy.cli.command_errors import RefusedError, UnreachableError
from proxy.cli.login_flows import LoginError, by_browser, by_device, has_browser_flow
from proxy.cli.running import Running, secret_of
from proxy.cli.table import span
from proxy.clock import Clock, SystemClock
from proxy.config import schema
from proxy.config.load import Loaded, load, located
from proxy.errors import CredentialError
from proxy.tokens.token_response import TokenResponse


def run(arguments: argparse.Namespace) -> int:
    """Exit code 0; 1 where nobody said yes in time; 3 without a running instance; 4 without such a credential."""
    loaded = load(arguments.config, os.environ)
    config = loaded.config.credentials.get(arguments.name)
    if config is None:
        names = ", ".join(loaded.config.credentials) or "none"
        print(f"there is no credential {arguments.name}; there are: {names}", file=sys.stderr)
        return NO_MATCH
    try:
        asyncio.run(_login(loaded, arguments))
    except UnusableError as error:
        raise located(arguments.config, os.environ, error.errors) from None
    except (LoginError, RefusedError) as error:
        print(f"{arguments.name}: {error}", file=sys.stderr)
        return FAILED
    except CredentialError as error:
        print(f"{arguments.name}: {error.detail}", file=sys.stderr)
        return FAILED
    return GOOD


async def _login(loaded: Loaded, arguments: argparse.Namespace) -> None:
    config = loaded.config.credentials[arguments.name]
    if not isinstance(config, schema.OAuth2) or config.grant_type != "refresh_token":
        raise LoginError("a person logs in for credentials of type oauth2 with grant_type: refresh_token")
    clock = SystemClock()
    builder = RuntimeBuilder(loaded, os.environ, clock)
    runtime = builder.build(loaded, None)
    builder.use(runtime)
    try:
        built = runtime.credentials[arguments.name]
        deliver = await _delivery(loaded.config, arguments.name, built, clock, durable=builder.store.durable)
        if built.issuer is None:
            raise LoginError("it has no issuer that a person could be sent to")
        device = arguments.device or not (arguments.browser or await has_browser_flow(built.issuer))
        flow = by_device if device else by_browser
        response = await flow(built.issuer, clock, arguments.timeout)
        await deliver(response)
    finally:
        await runtime.stop(None)
        await builder.close()
    print(_told(arguments.name, response, clock))


async def _delivery(
    config: schema.Config, name: str, built: CredentialRuntime, clock: Clock, *, durable: bool
) -> Callable[[TokenResponse], Awaitable[None]]:
    """Where the token will go. Raises LoginError where it would be lost, UnreachableError."""
    credential = built.config
    if not isinstance(credential, schema.OAuth2) or built.manager is None:
        raise LoginError("it holds no token of its own")
    manager = built.manager
    running = Running(config) if config.admin.listen is not None else None

    async def into_store(response: TokenResponse) -> None:
        await manager.adopt(response)
        if running is not None:
            await asyncio.to_thread(_renew, running, name)

    if durable:
        return into_store
    guard = credential.update.secret if credential.update is not None else None
    if guard is None or running is None:
        raise LoginError(
            "its token would be lost: the store is `memory`, and the running instance takes no pushes for it. Give it "
            "a `store: {type: file, path: …, encryption_key: …}`, or the credential an `update: {secret: …}`"
        )
    if credential.dpop is True or (isinstance(credential.dpop, schema.Dpop) and credential.dpop.key is None):
        raise LoginError(
            "its token would be bound to a key that the running instance does not have: give it `dpop: {key: …}`, or a "
            "store that outlives the program"
        )
    await asyncio.to_thread(running.must, "GET", "/status")
    bearer = await asyncio.to_thread(secret_of, guard)

    async def into_running_instance(response: TokenResponse) -> None:
        path = f"/credentials/{quote(name, safe='')}/token"
        await asyncio.to_thread(running.must, "PUT", path, _document(response, clock), bearer=bearer)

    return into_running_instance


def _renew(running: Running, name: str) -> None:
    """Let the running instance, if there is one, find in the store what has come."""
    try:
        running.ask("POST", f"/credentials/{quote(name, safe='')}/refresh")
    except UnreachableError:
        return


def _document(response: TokenResponse, clock: Clock) -> dict[str, object]:
    token = response.token
    said: dict[str, object] = {"access_token": token.access_token, "token_type": token.token_type}
    if response.refresh_token is not None:
        said["refresh_token"] = response.refresh_token
    if token.expires_wall is not None:
        said["expires_in"] = max(0, round(token.expires_wall - clock.wall()))
    return said


def _told(name: str, response: TokenResponse, clock: Clock) -> str:
    ends = response.token.expires_wall
    life = "without a stated end" if ends is None else f"good for {span(ends - clock.wall())}"
    if response.refresh_token is not None:
        return f"{name}: logged in; the token is {life}, and is renewed from now on"
    return (
        f"{name}: logged in; the token is {life}, and cannot be renewed: no refresh token came with it. Many servers "
        "want to be asked for one: `scope: … offline_access`, or `authorization_parameters: {access_type: offline}`"
    )
