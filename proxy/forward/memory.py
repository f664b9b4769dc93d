"""Reading in large pieces without paying for their memory, and giving back what is not needed again.

Every read of a connection asks the allocator for a piece of the largest size and gives most of it back. glibc takes
such pieces from the system and returns them to it, page faults included: half of what a large body costs. Told
to keep what is freed, it hands out the same pages again. Elsewhere (musl, macOS) pieces stay small.
"""

from __future__ import annotations

import ctypes
from contextlib import suppress
from functools import cache

_M_TRIM_THRESHOLD, _M_TOP_PAD, _M_MMAP_THRESHOLD = -1, -2, -3  # malloc.h
_KEPT = 16 * 1024 * 1024
_LARGE, _SMALL = 128 * 1024, 64 * 1024


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


def give_back() -> None:
    """Return to the system what is free: after a configuration was read, that may be most of what was taken."""
    with suppress(OSError, AttributeError):
        ctypes.CDLL(None).malloc_trim(0)
