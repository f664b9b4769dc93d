"""Valid configuration that cannot be used (keys, certificates, callables): all errors at once, each with its key."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager

from proxy.config.parse_context import spelled
from proxy.errors import ConfigurationError


class UnusableError(ConfigurationError):
    """Keys, certificates, callables that cannot be used. `errors`: each of them, for `config.load.located`."""

    def __init__(self, errors: Iterable[ConfigurationError]) -> None:
        self.errors = tuple(errors)
        super().__init__("\n".join(f"{spelled(error.at[:2])}: {error}" for error in self.errors))


@contextmanager
def under(*path: str | int) -> Iterator[None]:
    """Put this path before that of a ConfigurationError that is raised within."""
    try:
        yield
    except ConfigurationError as error:
        error.at = (*path, *error.at)
        raise


class ErrorCollector:
    """Collects configuration errors, so that all of them can be told at once."""

    def __init__(self) -> None:
        self._met: list[ConfigurationError] = []

    @contextmanager
    def collect(self, *path: str | int) -> Iterator[None]:
        """Keep a ConfigurationError that is raised within, and go on behind the block."""
        try:
            with under(*path):
                yield
        except UnusableError as error:
            self._met += error.errors
        except ConfigurationError as error:
            self._met.append(error)

    def raise_collected(self) -> None:
        """Raise UnusableError if there were any."""
        if self._met:
            raise UnusableError(self._met)
