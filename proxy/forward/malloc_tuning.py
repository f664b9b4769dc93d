"""Reading in large pieces without paying for their memory, and giving back what is not needed again.

Every read of a connection asks the allocator for a piece of the largest size and gives most of it back. glibc takes
such pieces from the system and returns them to it, page faults included: half of what a large body costs. Told
to keep what is freed, it hands out the same pages again. Elsewhere (musl, macOS) pieces stay small.
"""

from __future__ import annotations

import ctypes
import gc
from contextlib import suppress
from functools import cache

_M_TRIM_THRESHOLD, _M_TOP_PAD, _M_MMAP_THRESHOLD = -1, -2, -3  # malloc.h
_KEPT = 16 * 1024 * 1024
_LARGE, _SMALL = 128 * 1024, 64 * 1024
_COLLECTED_AFTER = 700, 10, 30
"""When the collector looks at young, older and all objects. The last stops every request for some 15 ms while hundreds
of renewals are under way, and would come with each 70,000 objects more, not 210,000. No later: each of asyncio's
connections leaves a cycle of a few KiB behind."""


@cache
def read_size() -> int:
    """Octets per read: large ones where the allocator can be told to keep them, which this does."""
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError):
        return _SMALL
    told = (
        mallopt(_M_MMAP_THRESHOLD, _KEPT) and mallopt(_M_TRIM_THRESHOLD, 2 * _KEPT) and mallopt(_M_TOP_PAD, 4 * _LARGE)
    )
    return _LARGE if told else _SMALL


class Returned:
    """Memory that connections took and let go. `freed`: there may be some; it costs milliseconds to return it."""

    def __init__(self, every: float = 2.0) -> None:
        """`every`: seconds between two times."""
        self.freed = False
        self._every = every
        self._next = 0.0

    def sweep(self, now: float) -> None:
        """Return it if it is time."""
        if self.freed and now >= self._next:
            self.freed, self._next = False, now + self._every
            give_back()


def give_back() -> None:
    """Return to the system what is free: after a configuration was read, that may be most of what was taken."""
    with suppress(OSError, AttributeError):
        ctypes.CDLL(None).malloc_trim(0)


def settle() -> None:
    """What was made until now lives as long as the program: the collector need not look at it again.

    To be called before the first token request: what these leave behind must be collected.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(*_COLLECTED_AFTER)
    give_back()
