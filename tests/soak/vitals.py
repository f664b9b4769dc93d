"""Memory and descriptors of the sidecar's process, once a second, from /proc; and what it holds on to, from itself."""

from __future__ import annotations

import asyncio
import os
import signal
import statistics
from dataclasses import dataclass
from pathlib import Path

from support.process import Program

_PAGE = os.sysconf("SC_PAGE_SIZE")
_MIB = 1024 * 1024
_HELD = "held: "


@dataclass(frozen=True)
class Vitals:
    """Octets of resident memory, and open descriptors."""

    memory: int
    descriptors: int


def vitals_of(pid: int) -> Vitals:
    """As they are now."""
    resident = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return Vitals(resident * _PAGE, len(os.listdir(f"/proc/{pid}/fd")))


@dataclass(frozen=True)
class HeldResponse:
    """What is in use of the memory, by the C library's count (0 where it does not tell) and by Python's."""

    octets: int
    blocks: int


async def held_by(program: Program) -> HeldResponse:
    """As it is now."""
    times = program.log.count(_HELD) + 1
    program.signal(signal.SIGUSR2)
    await program.logged(_HELD, times=times)
    octets, blocks = program.log.rpartition(_HELD)[2].split("\n")[0].split()
    return HeldResponse(int(octets), int(blocks))


class Watch:
    """Takes a sample a second until it is cancelled. `samples`: all of them."""

    def __init__(self, pid: int) -> None:
        self._pid = pid
        self.samples: list[Vitals] = []

    async def run(self) -> None:
        while True:
            self.samples.append(vitals_of(self._pid))
            await asyncio.sleep(1.0)

    def growth(self, warm: int) -> tuple[Vitals, Vitals]:
        """Medians of the first and of the last fifth of what came after `warm` seconds, before the callers left."""
        after = self.samples[warm:-2]
        fifth = max(3, len(after) // 5)
        return _median(after[:fifth]), _median(after[-fifth:])


def grown(early: Vitals, late: Vitals, allowed_mib: float) -> list[str]:
    """Complaints. Buffers of the requests in flight come and go: `allowed_mib` is for them."""
    found = []
    if late.memory - early.memory > allowed_mib * _MIB:
        found.append(f"memory grew from {early.memory / _MIB:.1f} to {late.memory / _MIB:.1f} MiB")
    if late.descriptors > early.descriptors * 1.25 + 16:
        found.append(f"descriptors grew from {early.descriptors} to {late.descriptors}")
    return found


def hoarded(before: HeldResponse, after: HeldResponse) -> list[str]:
    """Complaints about what is in use still once everybody is gone. Caches and kept buffers have bounds well below."""
    found = []
    if after.octets - before.octets > 2 * _MIB:
        found.append(f"{(after.octets - before.octets) / _MIB:.1f} MiB more are in use than before the first request")
    if after.blocks > before.blocks * 1.2:
        found.append(f"{after.blocks} objects are left of {before.blocks}")
    return found


def _median(samples: list[Vitals]) -> Vitals:
    return Vitals(
        int(statistics.median(sample.memory for sample in samples)),
        int(statistics.median(sample.descriptors for sample in samples)),
    )
