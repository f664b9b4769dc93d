"""Checks that need more than the file: keys, certificates, issuers, directories, upstreams.

An issuer is asked as the program would ask it. A refresh token that may be good only once is not spent where no store
would keep its successor.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any, Literal

from msgspec import Struct

from proxy.assembly.credential_runtime import CredentialRuntime
from proxy.assembly.listeners import certificates
from proxy.assembly.runtime import Runtime
from proxy.assembly.runtime_builder import RuntimeBuilder
from proxy.assembly.unusable import ErrorCollector
from proxy.clock import Clock, SystemClock
from proxy.config import schema
from proxy.config.load import Loaded
from proxy.errors import CredentialError, ProxyError
from proxy.forward.directory_errors import DirectoryError
from proxy.forward.pool import Pool
from proxy.forward.upstream_discovery import UpstreamDiscovery
from proxy.model import Token
from proxy.tokens.manager import TokenManager
from proxy.tokens.store.token_store import StoreError, TokenStore


class Finding(Struct, frozen=True):
    """The result of one check. `works`: None if nothing was tried. `detail`: one sentence, no secret."""

    kind: Literal["store", "credential", "directory", "upstream"]
    name: str
    works: bool | None
    detail: str

    def as_text(self) -> str:
        """One line for people."""
        word = {True: "works", False: "FAILS", None: "-"}[self.works]
        return f"{word:5}  {self.kind} {self.name}: {self.detail}"

    def as_json(self) -> dict[str, Any]:
        """The same as a JSON object."""
        return {"kind": self.kind, "name": self.name, "works": self.works, "detail": self.detail}


async def tried(
    loaded: Loaded, environ: Mapping[str, str], *, online: bool, clock: Clock | None = None
) -> list[Finding]:
    """Build the runtime and, with `online`, try issuers and upstreams. Raises UnusableError if it cannot be built."""
    clock = clock or SystemClock()
    errors = ErrorCollector()
    with errors.collect():
        certificates(loaded.config)
    builder = RuntimeBuilder(loaded, environ, clock)
    with errors.collect():
        runtime = builder.build(loaded, None)
    errors.raise_collected()
    builder.use(runtime)
    if not online:
        return []
    try:
        kept = await _try_store(builder.store, runtime)
        found = await asyncio.gather(
            *(_ask(name, built, builder.store.durable, clock) for name, built in runtime.credentials.items())
        )
        named = await asyncio.gather(*(_look(discovery) for discovery in runtime.discoveries.values()))
        # What changes to another protocol goes by CONNECT, for which many proxies take port 443 alone: no mistake.
        reached = await asyncio.gather(*(_connect(pool) for pool in runtime.pools if not pool.origin.connects))
    finally:
        await _end(runtime, builder)
    return [*kept, *found, *named, *reached]


async def _try_store(store: TokenStore, runtime: Runtime) -> list[Finding]:
    """Use the store once, and open every record that it holds of ours; nothing to say of one that keeps nothing."""
    if not store.durable:
        return []
    failures = await store.trial()
    for name in runtime.credentials if not failures else ():
        try:
            await store.load(name)
        except StoreError as error:
            failures.append(str(error))
    if failures:
        return [Finding("store", store.type, works=False, detail=failure) for failure in failures]
    return [Finding("store", store.type, works=True, detail="it can be read and written; its records can be opened")]


async def _ask(name: str, built: CredentialRuntime, durable: bool, clock: Clock) -> Finding:  # noqa: FBT001 - one question
    """Ask a credential's issuer for a token."""
    config, tokens = built.config, built.credential.tokens
    if tokens is None:
        return Finding("credential", name, works=None, detail="has a token for each caller or call; not tried")
    if isinstance(config, schema.External):
        return Finding("credential", name, works=None, detail="lives on pushes; nothing to ask")
    if isinstance(config, schema.Renewed) and not durable and _holds_refresh_token(config):
        detail = "not asked: its refresh token may be good only once, and no store would keep the next one"
        return Finding("credential", name, works=None, detail=detail)
    try:
        if isinstance(tokens, TokenManager):
            await tokens.start()
            token = await tokens.renew_now()
            return Finding("credential", name, works=True, detail="a token came, " + _life(token, clock))
        await tokens.current()
    except CredentialError as error:
        return Finding("credential", name, works=False, detail=error.detail)
    return Finding("credential", name, works=True, detail="its secrets can be read")


def _holds_refresh_token(config: schema.Renewed) -> bool:
    seed = config.initial_token.refresh_token if config.initial_token is not None else None
    return seed is not None or (isinstance(config, schema.OAuth2) and config.refresh_token is not None)


def _life(token: Token, clock: Clock) -> str:
    if token.expires_wall is None:
        return "without a stated end"
    return f"good for {max(0, round(token.expires_wall - clock.wall()))} s"


async def _look(discovery: UpstreamDiscovery) -> Finding:
    """Ask a directory; what it names is tried like any other upstream."""
    try:
        found = await discovery.look()
    except DirectoryError as error:
        return Finding("directory", discovery.directory, works=False, detail=error.detail)
    return Finding("directory", discovery.directory, works=True, detail=f"names {found.url}")


async def _connect(pool: Pool) -> Finding:
    """Open one connection to an upstream, and close it."""
    origin = pool.dialler.origin
    name = origin.url
    opened: list[asyncio.BaseTransport] = []

    class Probe(asyncio.Protocol):
        def connection_made(self, transport: asyncio.BaseTransport) -> None:
            opened.append(transport)

    try:
        await pool.dialler.dial(Probe)
    except ProxyError as error:
        return Finding("upstream", name, works=False, detail=error.detail)
    finally:
        for transport in opened:
            transport.abort() if isinstance(transport, asyncio.Transport) else transport.close()
    if pool.forwards is not None:
        return Finding(
            "upstream", name, works=None, detail="the egress proxy is there; what is behind it was not tried"
        )
    return Finding("upstream", name, works=True, detail="TLS verified" if origin.scheme == "https" else "connected")


async def _end(runtime: Runtime, builder: RuntimeBuilder) -> None:
    await runtime.stop(None)
    await builder.close()
