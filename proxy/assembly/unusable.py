"""What the file says well and yet cannot be made: all of it is told at once, each under the key where it stands."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager

from proxy.config.parse_context import spelled
from proxy.errors import ConfigurationError


class UnusableError(ConfigurationError):
    """Keys, certificates, callables that cannot be used. `faults`: each of them, for `config.load.located`."""

    def __init__(self, faults: Iterable[ConfigurationError]) -> None:
        self.faults = tuple(faults)
        super().__init__("\n".join(f"{spelled(fault.at[:2])}: {fault}" for fault in self.faults))


@contextmanager
def under(*path: str | int) -> Iterator[None]:
    """A ConfigurationError from within is about what stands at this path."""
    try:
        yield
    except ConfigurationError as error:
        error.at = (*path, *error.at)
        raise


class Faults:
    """Those that were met so far."""

    def __init__(self) -> None:
        self._met: list[ConfigurationError] = []

    @contextmanager
    def noted(self, *path: str | int) -> Iterator[None]:
        """A ConfigurationError from within is kept, and what stands behind goes on."""
        try:
            with under(*path):
                yield
        except UnusableError as error:
            self._met += error.faults
        except ConfigurationError as error:
            self._met.append(error)

    def tell(self) -> None:
        """Raises UnusableError where there were any."""
        if self._met:
            raise UnusableError(self._met)
