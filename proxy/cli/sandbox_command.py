"""`auth-sidecar sandbox`: the embedded sandbox, alone or with the sidecar in front of it."""

from __future__ import annotations

import argparse
import asyncio
import signal
import sys

from proxy.cli import serve_command
from proxy.cli.codes import FAILED, GOOD
from proxy.config.schema import Config
from proxy.forward.write_batcher import BatchingLoop
from proxy.sandbox.sandbox_server import Sandbox, SandboxOptions


def run(arguments: argparse.Namespace) -> int:
    """Run until SIGTERM or SIGINT."""
    with asyncio.Runner(loop_factory=BatchingLoop) as runner:
        return runner.run(_run(arguments))


async def _run(arguments: argparse.Namespace) -> int:
    given = None
    if arguments.serve is not None:
        arguments.config = arguments.serve
        given = serve_command.read(arguments)
    stopped = _signalled()
    sandbox = Sandbox(SandboxOptions(host=arguments.host, port=arguments.port))
    try:
        await sandbox.start()
    except OSError as error:
        reason = error.strerror or error
        print(f"the sandbox cannot listen on {arguments.host}:{arguments.port}: {reason}", file=sys.stderr)
        return FAILED
    try:
        print(f"sandbox: token endpoint {sandbox.token_endpoint}, echo API {sandbox.url}/api", flush=True)
        if given is None:
            await stopped.wait()
            return GOOD
        line = hint(given.loaded.config)
        return await serve_command.serve(arguments, given, lambda: print(line, flush=True))
    finally:
        await sandbox.stop()


def hint(config: Config) -> str:
    """The `curl` line to paste."""
    listen = config.listen[0]
    path = config.routes[0].match.path.rstrip("/")
    scheme = "https" if listen.tls is not None else "http"
    if listen.address.startswith("unix:"):
        return f"\n    curl --unix-socket {listen.address.removeprefix('unix:')} {scheme}://localhost{path}/hello\n"
    return f"\n    curl {scheme}://{listen.address}{path}/hello\n"


def _signalled() -> asyncio.Event:
    """An event that SIGTERM or SIGINT sets."""
    loop = asyncio.get_running_loop()
    stopped = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopped.set)
    return stopped
