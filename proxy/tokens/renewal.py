"""One renewal: who may send the refresh token, when it may be sent again, and what is saved before what.

1. Hold the lease, read the record: another process may have renewed already. A changed seed wins.
2. Note that the refresh token is about to be sent (a crash from here on leaves that note). If another process took the
   lease over meanwhile, because this one was stopped for a while, begin again; else send it.
3. Save what came back, then use it.

A refresh token whose answer was lost may be spent: a server that rotates revokes the whole grant when it sees it again.
Where this issuer was never seen to rotate, it is sent again at once. Otherwise the access token is used to its
end, the record is read once more, and the refresh token is sent one last time, which is reported.

Where an answer came and says that the issuer agreed (2xx), but cannot be read, nothing is left to guess: unless this
very refresh token was left in use before, it is spent, and is sent again only when somebody asks for that.

Whatever code a refresh token is refused with, the configured grant is tried next where it can be repeated. A configured
refresh token is not sent while the store cannot be read: it may hold what that one was replaced by.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from functools import partial

from msgspec import structs

from proxy.clock import Clock
from proxy.errors import CredentialError, CredentialRefused, CredentialUnavailable
from proxy.model import Token
from proxy.tokens.audience import spent_elsewhere
from proxy.tokens.deadline import deadline
from proxy.tokens.edits import apply_seed, begun_anew, clear_sent, mark_of, mark_sent, renewed, rotated, spent
from proxy.tokens.grant_record import GrantRecord
from proxy.tokens.issuer_errors import (
    CUT_OFF,
    MAY_BE_LOST,
    SPENT,
    GrantRefused,
    GrantWithheld,
    NoGrant,
    RenewedElsewhere,
    ReplyLost,
    ReplyUnreadable,
)
from proxy.tokens.reply import OTHER
from proxy.tokens.source import TokenSource
from proxy.tokens.store.token_store import Grant, LastingLease, Lease
from proxy.tokens.stored_token import FROM_STORE, FromStore, token_of
from proxy.tokens.token_response import NOTHING, TokenPair, TokenResponse

Seed = Callable[[], Awaitable[TokenPair]]
"""Reads the configured seed. Raises CredentialError where it cannot be read."""

_UNKNOWN_TYPE = "the token's type is none that is known; it is sent with header_prefix, as a bearer token is"

_WITHHELD = "The token store cannot be read: it may hold what the configured refresh token was replaced by"

_REPLACED = (
    "the configured refresh token was replaced by this server already, for another client or endpoint, and is not sent "
    "again: configure a new one, or put the configuration back"
)

_TRIES = 3
_SETTLED = 2.0
"""Seconds until everyone who knows of a later record than a store that has lost some has put it back there."""
_SLACK = 1.0
"""Seconds: the source keeps its own deadline, and knows what became of the request; ours is a safeguard."""

_log = logging.getLogger("auth_sidecar.tokens")


class _OvertakenError(Exception):
    """While this process was stopped, another may have renewed: the record has to be read again."""


class Renewer:
    """Renews one credential's record. `deadline`: seconds that the source takes at most for one request."""

    __slots__ = ("_clock", "_deadline", "_lease", "_name", "_record", "_seed", "_source")

    def __init__(
        self, name: str, source: TokenSource, record: GrantRecord, clock: Clock, *, deadline: float, seed: Seed | None
    ) -> None:
        self._name = name
        self._source = source
        self._record = record
        self._clock = clock
        self._deadline = deadline
        self._seed = seed
        self._lease: Lease = LastingLease()

    async def plant(self) -> bool:
        """Take in the configured seed if it is not the one that the record began with. Raises CredentialError."""
        whole = await self._seed() if self._seed is not None else NOTHING
        seed, held = whole, self._record.grant
        if self._record.unread:
            seed = structs.replace(whole, refresh_token=None)
        elif held.seed != mark_of(whole) and spent_elsewhere(whole, held):
            _log.warning("%s: %s", self._name, _REPLACED)
            seed = structs.replace(whole, refresh_token=None)
        if not seed:
            return False
        mark, marks = mark_of(seed), {mark_of(seed), mark_of(whole)}
        if self._record.grant.seed == mark:
            return False
        # What is stored may be seen only as this is saved, and may have begun with the same seed and gone on since.
        await self._record.change(lambda held: held if held.seed in marks else apply_seed(held, seed, mark))
        return True

    async def run(
        self, good: Callable[[Grant], bool], *, usable: Callable[[], bool], by_hand: bool = False
    ) -> Token | FromStore:
        """Bring a new token into the record.

        `good`: whether a record that somebody else saved makes asking needless. `usable`: whether the token that is
        held can serve meanwhile. `by_hand`: somebody asked for it, whatever that costs. The result is the token as
        the source gave it, FROM_STORE where another process saved one. Raises CredentialError.
        """

        def renewed_meanwhile() -> bool:
            return good(self._record.grant)

        for _ in range(_TRIES):
            try:
                async with self._record.alone(2 * (self._deadline + _SLACK), renewed_meanwhile) as self._lease:
                    return await self._renew(good, usable, by_hand=by_hand)
            except RenewedElsewhere:
                if not renewed_meanwhile():
                    raise
                return FROM_STORE
            except _OvertakenError:
                continue
        raise CredentialUnavailable("Other processes keep taking over the renewal of this token")

    async def _renew(
        self, good: Callable[[Grant], bool], usable: Callable[[], bool], *, by_hand: bool
    ) -> Token | FromStore:
        record = self._record
        await self._read()
        if good(record.grant) or (await self._replanted() and good(record.grant)):
            return FROM_STORE
        asked_for = record.grant
        if asked_for.spent and not by_hand:
            return await self._instead(asked_for, GrantRefused(SPENT))
        try:
            return await self._spend(asked_for, usable)
        except ReplyUnreadable as lost:
            if usable() or not record.grant.spent:
                raise
            return await self._instead(record.grant, lost)
        except GrantWithheld as error:
            if usable():
                raise
            return await self._instead(record.grant, error)
        except CredentialError as error:
            if error.refuses_grant:
                return await self._after_refusal(asked_for, error, good, usable)
            withheld = self._seed is not None and record.unread and asked_for.refresh_token is None
            if withheld and isinstance(error, CredentialRefused):
                raise CredentialUnavailable(_WITHHELD) from None
            raise

    async def _read(self) -> None:
        """Look at the store; where it has just lost what it held, once more after a while."""
        await self._record.read()
        if 0 < (left := self._record.behind + _SETTLED - self._clock.wall()) <= _SETTLED:
            await self._clock.sleep(left)
            await self._record.read()

    async def _replanted(self) -> bool:
        try:
            return await self.plant()
        except CredentialError as error:
            if self._record.grant.refresh_token is None:
                raise
            _log.warning("%s: its seed cannot be read (%s); what is held goes on", self._name, error)
            return False

    async def _after_refusal(
        self, asked_for: Grant, refusal: CredentialError, good: Callable[[Grant], bool], usable: Callable[[], bool]
    ) -> Token | FromStore:
        """Give up only once nobody else has a newer grant and the source has no other way."""
        await self._record.read()
        if good(now := self._record.grant):
            return FROM_STORE
        if now.refresh_token != asked_for.refresh_token:
            return await self._spend(now, usable)
        if asked_for.refresh_token is None:
            raise refusal
        return await self._instead(asked_for, refusal)

    async def _instead(self, asked_for: Grant, error: CredentialError) -> Token:
        """Ask with the configured grant, because of what became of the refresh token."""
        try:
            came = await self._ask(NOTHING)
        except CredentialRefused as refused:
            if asked_for.spending and isinstance(error, CredentialRefused):
                _log.error("%s: %s", self._name, lost := SPENT if asked_for.spent else MAY_BE_LOST)
                raise GrantRefused(lost) from None
            tells_more = not isinstance(refused, NoGrant) and not isinstance(error, CredentialRefused)
            raise (refused if tells_more else error) from None
        await self._record.change(partial(begun_anew, asked_for=asked_for, came=came), came=True)
        return came.token

    async def _spend(self, asked_for: Grant, usable: Callable[[], bool]) -> Token:
        """Ask with what the record holds, and save what comes."""
        previous = TokenPair(token_of(asked_for, self._clock), asked_for.refresh_token)
        spends, in_doubt = asked_for.refresh_token is not None, asked_for.spending
        self._withhold(asked_for)
        try:
            if spends:
                await self._record.change(partial(mark_sent, asked_for=asked_for))
                self._check(asked_for)
            if asked_for.in_doubt:
                _log.warning("%s: the answer to a renewal never came; its refresh token is sent once more", self._name)
            came = await self._ask(previous)
        except ReplyUnreadable as error:
            await self._unread(error, asked_for)
            raise
        except ReplyLost:
            if not spends or in_doubt or (asked_for.rotates and usable()):
                raise
            if asked_for.rotates:
                _log.warning("%s: the answer to a renewal was lost; its refresh token is sent once more", self._name)
            await self._record.read()
            self._check(asked_for)
            came = await self._ask_again(previous, asked_for)
        except CredentialError as error:
            if spends and not in_doubt and error.rotated is None:
                await self._record.change(partial(clear_sent, asked_for=asked_for))
            await self._keep(error, asked_for)
            raise
        if came.token.token_type == OTHER != asked_for.token_type:
            _log.warning("%s: %s", self._name, _UNKNOWN_TYPE)
        await self._record.change(partial(renewed, asked_for=asked_for, came=came), came=True)
        return came.token

    def _check(self, asked_for: Grant) -> None:
        """Raises _OvertakenError where another process may have sent this refresh token, or has replaced it."""
        self._withhold(asked_for)
        ours = self._lease.held() or self._record.cut_off
        if self._record.grant.refresh_token != asked_for.refresh_token or not ours:
            raise _OvertakenError

    def _withhold(self, asked_for: Grant) -> None:
        """Raises GrantWithheld where others may have used the refresh token, and whoever has is out of our sight."""
        serves_once = asked_for.refresh_token is not None and not asked_for.reusable
        if serves_once and self._record.cut_off and not self._record.sole:
            raise GrantWithheld(CUT_OFF)

    async def _ask_again(self, previous: TokenPair, asked_for: Grant) -> TokenResponse:
        try:
            return await self._ask(previous)
        except GrantRefused:
            _log.error("%s: %s", self._name, MAY_BE_LOST)
            raise GrantRefused(MAY_BE_LOST) from None
        except ReplyUnreadable as error:
            await self._unread(error, asked_for)
            raise
        except CredentialError as error:
            await self._keep(error, asked_for)
            raise

    async def _unread(self, error: ReplyUnreadable, asked_for: Grant) -> None:
        """The issuer agreed, and what it gave cannot be read but for, perhaps, the refresh token."""
        if error.rotated is None and asked_for.refresh_token is not None:
            await self._record.change(partial(spent, asked_for=asked_for))
        await self._keep(error, asked_for)

    async def _keep(self, error: CredentialError, asked_for: Grant) -> None:
        """Save the refresh token that came although no access token did that can be used."""
        if error.rotated is not None and asked_for.refresh_token is not None:
            await self._record.change(partial(rotated, asked_for=asked_for, refresh_token=error.rotated), came=True)
        error.rotated = None  # whoever remembers the error has no need of it

    async def _ask(self, previous: TokenPair) -> TokenResponse:
        try:
            async with deadline(self._deadline + _SLACK):
                return await self._source.fetch(previous)
        except TimeoutError:
            raise ReplyLost("The issuer did not answer in time") from None
