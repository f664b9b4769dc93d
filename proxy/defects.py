"""Mistakes of ours, met at run time: told where they happened, and never what they said, which may hold a secret.

One of them must end nothing but what it happened in: whoever runs a loop, a timer or a callback for many catches what
one of them raises, tells of it here, and goes on with the next.
"""

from __future__ import annotations

import asyncio
import logging
import traceback

from proxy.errors import ProxyError

ENDS = (KeyboardInterrupt, GeneratorExit)
"""What is meant for the program itself, whoever it passes through."""


def tell(log: logging.Logger, what: str, error: BaseException) -> None:
    """One line: what was being done, which exception came, and where in the code."""
    frames = traceback.extract_tb(error.__traceback__)
    place = f" at {frames[-1].filename.rpartition('/')[2]}:{frames[-1].lineno}" if frames else ""
    log.error("internal error %s, please report: %s%s", what, type(error).__name__, place)


def known(log: logging.Logger, what: str, error: BaseException) -> ProxyError:
    """The error itself, if it is one that the app can be told of; else a mistake of ours, which is logged."""
    if isinstance(error, ProxyError):
        return error
    tell(log, what, error)
    return ProxyError()


def cancelled(error: BaseException) -> bool:
    """Whether this is the end that somebody wants of the present task, and no cancellation that leaked out of its work.

    A library that cancels what it awaits for itself may let the CancelledError out; it must not end a task for good.
    """
    task = asyncio.current_task()
    return isinstance(error, asyncio.CancelledError) and task is not None and task.cancelling() > 0
