"""Counts requests to the sandbox, in all and at the same time."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from msgspec import Struct, field


class Concurrent(Struct):
    """Requests to one endpoint: the total, those in progress, and the most that were in progress at the same time."""

    total: int = 0
    now: int = 0
    most: int = 0

    @contextmanager
    def one(self) -> Iterator[None]:
        """Count one request for as long as it lasts."""
        self.total += 1
        self.now += 1
        self.most = max(self.most, self.now)
        try:
            yield
        finally:
            self.now -= 1


class Counters(Struct):
    """What `GET /control/stats` answers. `grants` counts issued tokens by grant type, `refusals` by error code."""

    token_requests: Concurrent = field(default_factory=Concurrent)
    api_requests: Concurrent = field(default_factory=Concurrent)
    api_accepted: int = 0
    api_unauthorized: int = 0
    introspections: int = 0
    revocations: int = 0
    nonce_challenges: int = 0
    refresh_token_reuses: int = 0
    grants: dict[str, int] = field(default_factory=dict)
    refusals: dict[str, int] = field(default_factory=dict)

    def granted(self, grant_type: str) -> None:
        """One token was issued."""
        self.grants[grant_type] = self.grants.get(grant_type, 0) + 1

    def refused(self, error: str) -> None:
        """One token request got an error."""
        self.refusals[error] = self.refusals.get(error, 0) + 1
