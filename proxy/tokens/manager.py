"""One credential's life: hand out, renew once for all, adopt a push, keep fresh. The only place that starts renewals.

    empty ──► fresh ──► stale ──► expired          a token is handed out while fresh or stale, never after
                ▲          │         │
                └── flight ┴─────────┘             one flight at a time, in a task of its own; whoever waits, waits for
                                                   the arrival of a token, from the flight or from a push

A failed early renewal fails nobody. A late 401 renews only the token that it refused, never a newer one. What is held
stays held until something better is there.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import math
from collections.abc import Coroutine, Sequence

from msgspec import structs

from proxy import defects
from proxy.auth.dpop_key import DpopKeys
from proxy.clock import Clock
from proxy.config.schema import Refresh
from proxy.errors import CredentialFault, CredentialRefused, CredentialUnavailable
from proxy.model import Token
from proxy.tokens import policy
from proxy.tokens.adoption import Refuse, adopt, look
from proxy.tokens.arrival import Arrival, again
from proxy.tokens.audience import UNBOUND, Binding
from proxy.tokens.cache import TokenCache
from proxy.tokens.flight import Flight, outcome
from proxy.tokens.hand import Hand
from proxy.tokens.keeper import Keeper
from proxy.tokens.pause import NEVER, NONE
from proxy.tokens.record import Record
from proxy.tokens.renewal import FROM_STORE, FromStore, Renewer, Seed, held_token, token_of
from proxy.tokens.report import Attempts, TokenReport
from proxy.tokens.secret import LiveSecret
from proxy.tokens.source import TokenSource
from proxy.tokens.store.store import TokenStore

_log = logging.getLogger("auth_sidecar.tokens")


class TokenManager:
    """One credential, or one caller's part of one. Needs a running loop from `start` on.

    `deadline`: `timeouts.total`, for one request to the source and for whoever waits. `seed` reads the configured
    seed. `keys`: the DPoP keys that tokens are bound to; `keeps_key`: whether the store keeps the current one (else
    the operator does). `binding`: for whom the grant is. `renews`: False for tokens that are only pushed. `inputs`:
    the secrets that the source reads; a new one ends a refusal's waiting time.
    """

    __slots__ = (
        "__weakref__", "_arrival", "_attempts", "_clock", "_deadline", "_eager", "_flight", "_hand",
        "_inputs", "_keeper", "_keys", "_pause", "_record", "_renews", "_repeats_until", "_seed", "_source", "name",
    )  # fmt: skip

    def __init__(
        self,
        name: str,
        source: TokenSource,
        *,
        store: TokenStore,
        clock: Clock,
        cache: TokenCache,
        keeper: Keeper,
        refresh: Refresh | None = None,
        deadline: float = 10.0,
        seed: Seed | None = None,
        keys: DpopKeys | None = None,
        keeps_key: bool = True,
        binding: Binding = UNBOUND,
        renews: bool = True,
        inputs: Sequence[LiveSecret] = (),
    ) -> None:
        refresh = refresh or Refresh()
        self.name = name
        self._clock = clock
        self._keeper = keeper
        self._deadline = deadline
        self._keys = keys
        self._renews = renews
        self._eager = renews and refresh.eager
        self._hand = Hand(clock, cache, refresh)
        self._inputs = inputs
        self._record = Record(name, store, keys=keys if keeps_key else None, binding=binding, wall=clock.wall)
        self._source = source
        self._seed = seed
        self._attempts = Attempts()
        self._pause = NONE
        self._repeats_until = NEVER
        self._flight = Flight()
        self._arrival = Arrival()

    # ---- handing out -------------------------------------------------------------------------------------------------

    def at_hand(self) -> Token | None:
        """A token to send now, or None. Never waits; starts what is due."""
        hand, now = self._hand, self._clock.elapsed()
        token = hand.ready(now)
        if token is not None and now >= hand.due:
            try:
                self.attend()
            except Exception as error:  # noqa: BLE001 - the token in hand is good whatever became of the next
                hand.due = self._clock.elapsed() + policy.LOST_FOR
                defects.tell(_log, f"while {self.name} was kept fresh", error)
        return token

    def held(self) -> Token | None:
        """The last token known, usable or not."""
        return self._hand.token

    async def current(self) -> Token:
        """A token to send, as soon as there is one. Raises CredentialFault."""
        if (token := self.at_hand()) is not None:
            return token
        suspect = self._hand.usable()
        if not self._renews:
            patience = policy.push_awaited(self._deadline, before=self._hand.token is not None)
            return suspect or await self._arrival.wait(patience, CredentialRefused("No token was pushed in time"))
        if suspect is None:
            self._pause.check(self._clock.elapsed(), self._changes)
            return await self._awaited(self._deadline)
        with contextlib.suppress(CredentialFault):
            return await self._awaited(self._hand.suspicion(), suspect)
        return suspect if self._hand.serves(suspect) else await self.current()

    def predecessor(self, young: Token) -> Token | None:
        """The token before this one, if this one is very young, and that one neither ended nor refused."""
        before = self._hand.predecessor(young)
        return before if before is not None and (self._keys is None or self._keys.has(before)) else None

    async def renew(self, refused: Token) -> Token:
        """A token other than the refused one. Raises CredentialFault; CredentialRefused where there is no other."""
        self._hand.refused(refused)
        held = self._hand.usable()
        if held is not None and held.access_token != refused.access_token:
            return held
        if self._clock.elapsed() < self._repeats_until:
            raise CredentialRefused("The issuer gave the refused token again")
        if not self._flight.under_way:
            self._pause.check(self._clock.elapsed(), self._changes)
        self._hand.suspect()
        # A renewal under way may have begun before this token was refused, and bring the same one: then try once more.
        for _ in range(2 if self._flight.under_way else 1):
            token = await self._awaited(self._deadline, refused)
            if token.access_token != refused.access_token:
                return token
        self._repeats_until = self._clock.elapsed() + policy.repeat_after(0)
        raise CredentialRefused("The issuer gave the refused token again")

    async def renew_now(self) -> Token:
        """A token newer than the one held, whatever stood in the way until now. Raises CredentialFault."""
        self._pause = self._pause.lifted()
        return await self._awaited(self._deadline)

    async def look(self) -> None:
        """See now what another process has saved. Raises CredentialUnavailable where the store is a must and fails."""
        await look(self._record, self._seen)

    async def adopt(self, token: Token, if_match: int | None = None, refuse: Refuse | None = None) -> Token:
        """Take in a token from outside, save it, wake whoever waits. The very same token keeps its generation.

        Raises what `adoption.adopt` raises.
        """
        came = token if self._renews else structs.replace(token, refresh_token=None)
        await adopt(self._record, came, self._clock, self._seen, if_match=if_match, refuse=refuse)
        self._pause = NONE
        self._repeats_until = NEVER
        self._take(came)
        return self._hand.token or came

    # ---- its life ----------------------------------------------------------------------------------------------------

    async def start(self) -> None:
        """Take up what the store and the configuration hold, and begin. Never raises for want of a token."""
        self._record.watch(self._seen)
        try:
            await self._record.read()
            await self._renewer().plant()
        except CredentialFault as fault:
            _log.warning("%s: %s", self.name, fault)
        self._take(FROM_STORE)
        if self._eager and self._hand.usable() is None:
            self._keeper.at(self, self._clock.elapsed())  # which starts one after the other, however many there are
        else:
            self._attempts.any = True

    async def stop(self, *, within: float = math.inf) -> None:
        """End. A renewal that has sent its refresh token is waited for, `within` seconds: it must not be lost."""
        await self._flight.end(within=min(self._deadline, within) if self._record.grant.spending else 0.0)
        await self._record.saved(within)
        self._record.unwatch()
        self.leave()

    def leave(self) -> None:
        """Give up its place with the keeper and in the cache. Whoever waits gets what comes."""
        self._keeper.forget(self)
        self._hand.drop()

    def attend(self) -> bool:
        """Start a renewal that is due; whether one was started."""
        self._record.save_again(self._schedule)
        due = self._renews and self._hand.is_due(self._clock.elapsed())
        if due and not self._flight.under_way and not self._pause.holds(self._clock.elapsed(), self._changes):
            self._begin()
            return True
        self._schedule()
        return False

    def report(self) -> TokenReport:
        """How it stands."""
        due = max(self._hand.due, self._pause.until) if self._renews else math.inf
        return self._attempts.report(self._hand, self._pause.fault, self._clock, due=due)

    # ---- within ------------------------------------------------------------------------------------------------------

    def _awaited(self, patience: float, refused: Token | None = None) -> Coroutine[None, None, Token]:
        """Wait with all others; if there is no flight, begin one."""
        self._begin(refused)
        return self._arrival.wait(patience)

    def _begin(self, refused: Token | None = None) -> None:
        if not self._flight.under_way:
            self._flight.begin(self.name, self._fly(refused, self._record.grant.generation), self._lost)

    async def _fly(self, refused: Token | None, generation: int) -> None:
        """Renew, unless another process has since `generation`; what comes, comes to everyone."""
        began = self._clock.elapsed()
        fault = await outcome(self.name, self._renewed(refused, generation))
        self._flight.landed()
        self._hand.trust()
        seconds = self._clock.elapsed() - began
        if fault is None:
            self._attempts.succeeded(self._clock.wall(), seconds)
            self._pause = NONE
        else:
            self._fail(fault, seconds)
        self._schedule()

    async def _renewed(self, refused: Token | None, generation: int) -> None:
        came = await self._renewer().run(
            lambda grant: grant.generation != generation and self._hand.helps(token_of(grant, self._clock), refused),
            usable=lambda: refused is None and self._hand.usable() is not None,
            by_hand=self._pause.by_hand,
        )
        if not self._take(came, renewal=True):
            raise CredentialUnavailable("The token had expired when it arrived")

    def _lost(self, fault: CredentialFault) -> None:
        """A renewal ended without a word: who waits for it is told why, and the next attempt is made all the same."""
        self._arrival.comes(fault)
        if self._eager:
            self._keeper.at(self, self._clock.elapsed() + policy.LOST_FOR)

    def _renewer(self) -> Renewer:
        return Renewer(self.name, self._source, self._record, self._clock, deadline=self._deadline, seed=self._seed)

    def _take(self, came: Token | FromStore, *, renewal: bool = False) -> bool:
        """Hold what the record says now, exactly as it `came` if it is that token. Whether it may be sent."""
        before, grant = self._hand.usable(), self._record.grant
        token = held_token(grant, self._clock, came, self._keys)
        self._hand.take(token, asked=renewal or came is FROM_STORE, to_its_end=grant.in_doubt)
        if (predecessor := self._hand.before) is not None:
            asyncio.get_running_loop().call_later(policy.YOUNG, self._hand.forget, predecessor)
        if (usable := self._hand.usable()) is None:
            return False
        if renewal or before is None or before.access_token != usable.access_token:
            self._arrival.comes(usable)
        self._schedule()
        return True

    def _seen(self) -> None:
        """Another process changed the record."""
        if self._take(FROM_STORE):
            self._pause = NONE

    def _fail(self, fault: CredentialFault, seconds: float) -> None:
        grant, now = self._record.grant, self._clock.elapsed()
        self._attempts.failed(fault, self._clock.wall(), seconds)
        slowly = grant.in_doubt and not grant.spent and self._hand.usable() is None
        self._pause = self._pause.after(fault, now, self._clock.chance(), self._changes(), slowly=slowly)
        _log.warning("%s: no new token: %s; next attempt in %d s", self.name, fault, math.ceil(self._pause.until - now))
        if grant.in_doubt:
            self._hand.due = self._hand.end()
        self._arrival.comes(again(fault, self._pause.wanted - now))

    def _schedule(self) -> None:
        """Say when to look next."""
        if self._record.unsaved:
            self._keeper.at(self, self._clock.elapsed() + policy.SAVE_AGAIN)
        elif self._eager and not self._flight.under_way:
            self._keeper.at(self, self._pause.next_look(self._hand.due, self._clock.elapsed()))

    def _changes(self) -> int:
        """How many new values the secrets have had."""
        return sum(secret.changes for secret in self._inputs)
