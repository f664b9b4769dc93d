"""`auth-sidecar serve`: run until told to stop."""

from __future__ import annotations

import argparse
import asyncio
import logging
import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

from proxy.app import App
from proxy.assembly.file_watch import FileWatch
from proxy.assembly.unusable import UnusableError
from proxy.cli import logs
from proxy.cli.codes import FAILED, GOOD, INVALID_CONFIGURATION
from proxy.clock import SystemClock
from proxy.config.load import Loaded, load, located
from proxy.config.report import render
from proxy.errors import ConfigurationError
from proxy.forward.write_batcher import BatchingLoop
from proxy.service_manager import ServiceManager

_THREADS_END = 0.2
"""Seconds after which a thread that has not ended is waiting for something."""
_THREADS_LOOK = 0.005

_log = logging.getLogger("auth_sidecar.app")


def run(arguments: argparse.Namespace) -> int:
    """Exit code 0 after SIGTERM, SIGINT or `POST /quit`; 78 for a configuration that cannot be used; 1 otherwise."""
    logs.take_unraisable()
    workers = ThreadPoolExecutor(thread_name_prefix="worker")
    with asyncio.Runner(loop_factory=BatchingLoop) as runner:
        runner.get_loop().set_default_executor(workers)
        code = runner.run(serve(arguments, read(arguments)))
        leave(workers, code)
    return code


def leave(workers: ThreadPoolExecutor, code: int) -> None:
    """Exit even if a thread does not end because it waits for a file (a lock, NFS) for ever."""
    workers.shutdown(wait=False, cancel_futures=True)
    until = SystemClock.monotonic() + _THREADS_END
    while busy := [thread for thread in threading.enumerate() if thread.name.startswith("worker")]:
        if SystemClock.monotonic() >= until:
            _log.warning("%d threads that still wait for files are left behind", len(busy))
            logging.shutdown()
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(code)
        time.sleep(_THREADS_LOOK)


class Given(NamedTuple):
    """A configuration, and the watch on its file. The watch is begun before the file is read, to miss no change."""

    loaded: Loaded
    watch: FileWatch


def read(arguments: argparse.Namespace) -> Given:
    """Load the configuration, set up the log and log the warnings. Raises InvalidConfigurationError."""
    watch = FileWatch(arguments.config)
    loaded = load(arguments.config, os.environ)
    logs.set_up(loaded.config.log)
    if loaded.warnings:
        _log.warning("the configuration may not be what you mean:\n%s", render(loaded.warnings))
    return Given(loaded, watch)


async def serve(arguments: argparse.Namespace, given: Given, started: Callable[[], None] = lambda: None) -> int:
    """Start, call `started`, wait for the end, drain. SIGHUP reloads; a second SIGTERM or SIGINT ends at once."""
    loop = asyncio.get_running_loop()
    try:
        manager = ServiceManager.of(os.environ, os.getpid())
        app = App(
            arguments.config,
            given.loaded,
            os.environ,
            SystemClock(),
            on_log=logs.set_up,
            watch=given.watch,
            manager=manager,
        )
        loop.add_signal_handler(signal.SIGTERM, app.quit_by_signal)
        loop.add_signal_handler(signal.SIGINT, app.quit_by_signal)
        loop.add_signal_handler(signal.SIGHUP, app.reload_soon)
        await app.start()
    except UnusableError as error:
        raise located(arguments.config, os.environ, error.errors) from None
    except ConfigurationError as error:
        print(f"auth-sidecar cannot start: {arguments.config}: {error}", file=sys.stderr)
        return INVALID_CONFIGURATION
    except OSError as error:
        print(f"auth-sidecar cannot start: {error.strerror or error}", file=sys.stderr)
        return FAILED
    started()
    await app.run()
    return GOOD
