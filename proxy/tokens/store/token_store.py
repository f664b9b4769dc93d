"""Where a token outlives the process, and how processes that share it stay out of each other's way.

One record per credential: everything that must survive together. A rotated refresh token is saved before its access
token is used; whoever renews holds the lease and reads the record first, because another may have renewed meanwhile.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from typing import Protocol

from msgspec import Struct

from proxy.model import Field


class Grant(Struct, frozen=True, kw_only=True, omit_defaults=True, gc=False):
    """What is kept of one credential.

    `revision` counts the saves of this record, from 1. `generation`, `access_token` (None: none held), `token_type`,
    `lifetime` (seconds), `refresh_token`, `fields`, `key_thumbprint` and `kept` are those of `model.Token`;
    `expires_at` and `issued_at` are epoch seconds. `seed`: a hash of the configured seed that the grant began with.
    `key`: the private key (PEM) that the refresh token is bound to. `rotates`: the issuer was seen to replace a refresh
    token of this grant; `reusable`: it was seen to leave this one in use. `spending`: the refresh token was sent and no
    answer has been recorded; after a crash or a lost reply it may be spent. `spent`: the issuer took it, and what it
    gave for it could not be read.

    `audience`: who may receive the refresh token, as a hash (`tokens/audience.py`; None in a record of version 0.1);
    `request`: what the access token was asked for with, as a hash. `others`: the same of other audiences, whose turn it
    is not. `saves`: the ids of the last saves, this one's last.
    """

    revision: int = 0
    generation: int = 0
    access_token: str | None = None
    token_type: str = "Bearer"  # noqa: S105 - the name of a type
    expires_at: float | None = None
    issued_at: float = 0.0
    lifetime: float = 300.0
    refresh_token: str | None = None
    fields: tuple[Field, ...] = ()
    kept: tuple[tuple[str, str], ...] = ()
    key_thumbprint: str | None = None
    key: str | None = None
    seed: str | None = None
    audience: str | None = None
    request: str | None = None
    rotates: bool = False
    reusable: bool = False
    spending: bool = False
    spent: bool = False
    others: tuple[Grant, ...] = ()
    saves: tuple[str, ...] = ()

    @property
    def in_doubt(self) -> bool:
        """Whether the refresh token may be spent for good: it was sent, and what replaces it never came."""
        return (self.spending and self.rotates) or self.spent

    def __repr__(self) -> str:
        """A grant cannot be printed."""
        return f"Grant(revision={self.revision}, generation={self.generation}, expires_at={self.expires_at})"


class StoreError(Exception):
    """The store cannot be read or written now. `str()` says what is wrong and what mends it, without any secret.

    `degrade`: the program may go on from memory; False where the configuration says that it must not. `cut_off`: it is
    this process that cannot reach the store; others may, and go on with it. The store has logged that. `unchanged`:
    nothing was written, for certain.
    """

    def __init__(self, message: str, *, degrade: bool = True, cut_off: bool = False, unchanged: bool = False) -> None:
        super().__init__(message)
        self.degrade = degrade
        self.cut_off = cut_off
        self.unchanged = unchanged


class LeaseTakenError(StoreError):
    """Another holds the lease for longer than one may wait."""


class Lease(Protocol):
    """The right to renew a credential, for as long as it lasts."""

    def held(self) -> bool:
        """Whether it is still ours. A process that was stopped for longer than a lease lasts may have lost it."""


class LastingLease:
    """A lease that only its holder can end; one that is not `ours` is that of a store that could not be reached."""

    def __init__(self, *, ours: bool = True) -> None:
        self._ours = ours

    def held(self) -> bool:
        """Always the same."""
        return self._ours


def never() -> bool:
    """Whatever the holder of a lease does, it is waited for."""
    return False


class TokenStore(Protocol):
    """One store for all credentials; `name` is the credential's.

    `type`: as configured. `durable`: records outlive the process (else nobody writes ahead).
    """

    type: str
    durable: bool

    @property
    def essential(self) -> bool:
        """Whether tokens are neither renewed nor pushed while it fails."""

    @property
    def errors(self) -> int:
        """How many operations have failed."""

    @property
    def last_error(self) -> str | None:
        """What fails now, and what mends it."""

    async def load(self, name: str) -> Grant | None:
        """The newest record, None where there never was one. Raises StoreError; an unreadable record stays as it is."""

    async def save(self, name: str, grant: Grant) -> bool:
        """Replace the record that `grant` follows, atomically and for good.

        False, and nothing changed, where the stored revision is not below that of `grant`: another process saved. A
        record that was deleted or put back to an older copy is replaced: who has seen more knows the living grant.
        Raises StoreError; then the old record stands or the new one, whole, and nobody knows which: only the last step
        may have failed, after the new one was in its place.
        """

    def lease(self, name: str, wait: float, needless: Callable[[], bool] = never) -> AbstractAsyncContextManager[Lease]:
        """Be the only one that renews `name`, among all that share the store, while inside.

        Waits up to `wait` seconds for another holder, then raises LeaseTakenError; at once where it is `needless` to
        wait any longer, because of what that holder has done. Raises StoreError where the store
        cannot be reached. Ends by itself when the holder dies.
        """

    def watch(self, name: str, changed: Callable[[Grant | None], None]) -> Callable[[], None]:
        """Call `changed` with each record that another process saves, within seconds; the result ends it.

        Own saves may be reported too. None, or an older record than one that was seen: the store has lost it. Called
        within the event loop; a store that nobody shares never calls.
        """

    async def trial(self) -> list[str]:
        """Try everything that is asked of it, leaving nothing behind; what does not work, in sentences."""

    async def start(self) -> None:
        """Begin watching. Never raises because the store cannot be reached: that is reported by what needs it."""

    async def close(self) -> None:
        """Stop watching, let go of files and connections; twice is fine."""
