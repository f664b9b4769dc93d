"""What ends a command early, besides a configuration that cannot be used."""

from __future__ import annotations


class UnreachableError(Exception):
    """The running instance cannot be reached. `str()` says where it was looked for, and why not."""


class RefusedError(Exception):
    """The running instance answered, and not as was asked. `str()` is its own word for it."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status
