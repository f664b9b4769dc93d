"""What one process holds of a record and could not save, and what may have become of its tries. No I/O.

A save that failed may have happened all the same. Its id is remembered with what it saved: a record that has the id
among its last ones is our own, or was made of it by another process.
"""

from __future__ import annotations

import math
from itertools import islice

from proxy.tokens.edits import keep_pushed, reconciled
from proxy.tokens.lifetime import dated_ahead
from proxy.tokens.store.token_store import Grant

_MOST_UNCERTAIN = 64


class UnsavedChanges:
    """`base`: what the store held for certain when ours began to differ from it. `uncertain`: our tries, by their ids.

    `given`: the last refresh token that an issuer gave to this process.
    """

    __slots__ = ("base", "given", "uncertain")

    def __init__(self) -> None:
        self.base = Grant()
        self.uncertain: dict[str, Grant] = {}
        self.given: str | None = None

    def begin(self, grant: Grant) -> bool:
        """A save of this is about to be tried; whether it was never tried before."""
        save = grant.saves[-1]
        new = save not in self.uncertain
        self.uncertain[save] = grant
        if len(self.uncertain) > _MOST_UNCERTAIN:  # the first may be what the store still holds, for all we know
            del self.uncertain[next(islice(self.uncertain, 1, None))]
        return new

    def wrote(self, stored: Grant | None) -> bool:
        """Whether a record is one of our tries."""
        return stored is not None and bool(stored.saves) and stored.saves[-1] in self.uncertain

    def alone_knows(self, refresh_token: str | None) -> bool:
        """Whether nobody else can have it: an issuer gave it to this process, and it was certainly never saved."""
        return refresh_token is not None and refresh_token == self.given and refresh_token not in self._known()

    def merged(self, held: Grant, theirs: Grant, *, pushed: bool, unread: bool, now: float) -> Grant:
        """What is held, brought together with what another process saved.

        `pushed`: what is held came from outside. `unread`: the store was never read before. `now`: epoch seconds.
        """
        made_of = next((self.uncertain[save] for save in reversed(theirs.saves) if save in self.uncertain), None)
        issued = -math.inf if dated_ahead(theirs.issued_at, now) else theirs.issued_at
        if made_of is None and unread and pushed and held.issued_at >= issued:
            return keep_pushed(held, theirs)
        newer = pushed and held.issued_at > issued
        return reconciled(made_of or self.base, held, theirs, replaced=self._known(), ours_is_newer=newer)

    def _known(self) -> set[str | None]:
        return {grant.refresh_token for grant in (self.base, *self.uncertain.values())}
