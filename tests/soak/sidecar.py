"""The program as `auth-sidecar serve` runs it. A script of its own.

The clock is stepped at every SIGUSR1; at every SIGUSR2 it says what it holds on to.
"""

from __future__ import annotations

import asyncio
import ctypes
import gc
import itertools
import os
import signal
import sys
from pathlib import Path

from proxy.app import App
from proxy.cli import logs
from proxy.clock import SystemClock
from proxy.config.load import load

STEPS = ((40.0, 0.0), (-80.0, 0.0), (40.0, 0.0), (30.0, 30.0), (-30.0, 0.0))
"""What NTP, an operator and the lid of a laptop do: seconds by which the wall clock moves, and the elapsed clock (which
never goes back, and moves with the other through a suspend). Together the wall clock stays near the truth: proofs of
possession that are minutes old are refused, rightly."""


class SteppedClock(SystemClock):
    """The machine's clocks, and what was stepped."""

    def __init__(self) -> None:
        self._steps = itertools.cycle(STEPS)
        self._ahead = [0.0, 0.0]

    def step(self) -> None:
        for clock, seconds in enumerate(next(self._steps)):
            self._ahead[clock] += seconds

    def wall(self) -> float:  # type: ignore[override]  # the machine's needs no self
        return SystemClock.wall() + self._ahead[0]

    def elapsed(self) -> float:  # type: ignore[override]
        return SystemClock.elapsed() + self._ahead[1]


class _Mallinfo(ctypes.Structure):
    """mallinfo(3)."""

    _fields_ = tuple(
        (name, ctypes.c_size_t)
        for name in (
            "arena",
            "ordblks",
            "smblks",
            "hblks",
            "hblkhd",
            "usmblks",
            "fsmblks",
            "uordblks",
            "fordblks",
            "top",
        )
    )


def say_what_is_held() -> None:
    """Octets that the C library has given out and not got back (0 where it cannot tell), and Python's blocks."""
    gc.collect()
    octets = 0
    if mallinfo := getattr(ctypes.CDLL(None), "mallinfo2", None):
        mallinfo.restype = _Mallinfo
        told = mallinfo()
        octets = told.uordblks + told.hblkhd
    sys.stdout.write(f"held: {octets} {sys.getallocatedblocks()}\n")
    sys.stdout.flush()


async def main(path: Path) -> None:
    loaded = load(path, os.environ)
    logs.set_up(loaded.config.log)
    clock = SteppedClock()
    app = App(path, loaded, os.environ, clock, on_log=logs.set_up)
    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGTERM, app.quit_by_signal)
    loop.add_signal_handler(signal.SIGHUP, app.reload_soon)
    loop.add_signal_handler(signal.SIGUSR1, clock.step)
    loop.add_signal_handler(signal.SIGUSR2, say_what_is_held)
    await app.start()
    await app.run()


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[-1])))
