"""What of a store fails now, and how often anything has: for /status, the metrics, and one log line per change."""

from __future__ import annotations

from collections.abc import Hashable


class StoreFailures:
    """By use: reading one record, writing another, reaching the server. `errors` counts failed operations."""

    def __init__(self) -> None:
        self.errors = 0
        self._failing: dict[Hashable, str] = {}

    @property
    def last(self) -> str | None:
        """The message of the last failure among those that were not followed by a success."""
        return next(reversed(self._failing.values()), None)

    def failed(self, use: Hashable, message: str) -> bool:
        """Whether that is news."""
        self.errors += 1
        news = self._failing.get(use) != message
        self._failing[use] = message
        return news

    def failing(self, use: Hashable) -> bool:
        """Whether the last one failed."""
        return use in self._failing

    def worked(self, *uses: Hashable) -> bool:
        """Whether any of them had failed."""
        return [use for use in uses if self._failing.pop(use, None) is not None] != []
