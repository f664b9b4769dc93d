"""Errors that end a command, beside ConfigurationError."""

from __future__ import annotations


class UnreachableError(Exception):
    """The running instance cannot be reached. `str()` gives the address and the reason."""


class RefusedError(Exception):
    """The running instance refused. `str()` is the reason that it gave."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status
