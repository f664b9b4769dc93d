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
from collections.abc import Callable, Coroutine, Sequence

from proxy import defects
from proxy.auth.dpop_key import DpopKeys
from proxy.clock import Clock
from proxy.config.schema import Refresh
from proxy.errors import CredentialError, CredentialRefused, CredentialUnavailable, GenerationMismatch, ProxyError
from proxy.model import Token
from proxy.tokens import policy
from proxy.tokens.attempts import Attempts, TokenReport
from proxy.tokens.audience import UNBOUND, Binding
from proxy.tokens.cache import TokenCache
from proxy.tokens.edits import pushed, same
from proxy.tokens.flight import Flight, outcome
from proxy.tokens.grant_record import GrantRecord
from proxy.tokens.held_token import HeldToken
from proxy.tokens.refresh_scheduler import RefreshScheduler
from proxy.tokens.renewal import Renewer, Seed
from proxy.tokens.renewal_pause import NEVER, NONE
from proxy.tokens.secret import LiveSecret
from proxy.tokens.shared_result import SharedResult, again
from proxy.tokens.source import TokenSource
from proxy.tokens.store.token_store import Grant, TokenStore
from proxy.tokens.stored_token import FROM_STORE, FromStore, held_token, token_of
from proxy.tokens.token_response import TokenResponse

_log = logging.getLogger("auth_sidecar.tokens")


class TokenManager:
    """One credential, or one caller's part of one. Needs a running loop from `start` on.

    `deadline`: `timeouts.total`, for one request to the source and for whoever waits. `keys`: the DPoP keys that tokens
    are bound to; `keeps_key`: whether the store keeps the current one. `binding`: for whom the grant is. `renews`:
    False for tokens that are only pushed. `inputs`: secrets that the source reads; a new one ends a refusal's wait.
    """

    __slots__ = (
        "__weakref__", "_attempts", "_clock", "_deadline", "_eager", "_flight", "_held", "_inputs",
        "_keys", "_pause", "_record", "_renews", "_repeats_until", "_scheduler", "_seed", "_shared", "_source", "name",
    )  # fmt: skip

    def __init__(
        self,
        name: str,
        source: TokenSource,
        *,
        store: TokenStore,
        clock: Clock,
        cache: TokenCache,
        scheduler: RefreshScheduler,
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
        self._scheduler = scheduler
        self._deadline = deadline
        self._keys = keys
        self._renews = renews
        self._eager = renews and refresh.eager
        self._held = HeldToken(clock, cache, refresh)
        self._inputs = inputs
        self._record = GrantRecord(name, store, keys=keys if keeps_key else None, binding=binding, wall=clock.wall)
        self._source = source
        self._seed = seed
        self._attempts = Attempts()
        self._pause = NONE
        self._repeats_until = NEVER
        self._flight = Flight()
        self._shared = SharedResult()

    # ---- handing out -------------------------------------------------------------------------------------------------

    def ready(self) -> Token | None:
        """A token to send now, or None. Never waits; starts what is due."""
        held_token, now = self._held, self._clock.elapsed()
        token = held_token.ready(now)
        if token is not None and now >= held_token.due:
            try:
                self.renew_if_due()
            except Exception as error:  # noqa: BLE001 - the token in hand is good whatever became of the next
                held_token.due = self._clock.elapsed() + policy.LOST_FOR
                defects.tell(_log, f"while {self.name} was kept fresh", error)
        return token

    def held(self) -> Token | None:
        """The last token known, usable or not."""
        return self._held.token

    async def current(self) -> Token:
        """A token to send, as soon as there is one. Raises CredentialError."""
        if (token := self.ready()) is not None:
            return token
        suspect = self._held.usable()
        if not self._renews:
            patience = policy.push_awaited(self._deadline, before=self._held.token is not None)
            return suspect or await self._shared.wait(patience, CredentialRefused("No token was pushed in time"))
        if suspect is None:
            self._pause.check(self._clock.elapsed(), self._changes)
            return await self._awaited(self._deadline)
        with contextlib.suppress(CredentialError):
            return await self._awaited(self._held.quarantine_left(), suspect)
        return suspect if self._held.serves(suspect) else await self.current()

    def predecessor(self, young: Token) -> Token | None:
        """The token before this one, if this one is very young, and that one neither ended nor refused."""
        before = self._held.predecessor(young)
        return before if before is not None and (self._keys is None or self._keys.has(before)) else None

    async def renew(self, refused: Token) -> Token:
        """A token other than the refused one. Raises CredentialError; CredentialRefused where there is no other."""
        self._held.refused(refused)
        held = self._held.usable()
        if held is not None and held.access_token != refused.access_token:
            return held
        if self._clock.elapsed() < self._repeats_until:
            raise CredentialRefused("The issuer gave the refused token again")
        if not self._flight.under_way:
            self._pause.check(self._clock.elapsed(), self._changes)
        self._held.quarantine()
        # A renewal under way may have begun before this token was refused, and bring the same one: then try once more.
        for _ in range(2 if self._flight.under_way else 1):
            token = await self._awaited(self._deadline, refused)
            if token.access_token != refused.access_token:
                return token
        self._repeats_until = self._clock.elapsed() + policy.repeat_after(0)
        raise CredentialRefused("The issuer gave the refused token again")

    async def renew_now(self) -> Token:
        """A token newer than the one held, whatever stood in the way until now. Raises CredentialError."""
        self._pause = self._pause.lifted()
        return await self._awaited(self._deadline)

    async def look(self) -> None:
        """See now what another process has saved. Raises CredentialUnavailable where the store is a must and fails."""
        known = self._record.grant
        await self._record.read()
        if self._record.grant is not known:
            self._seen()

    async def adopt(
        self, came: TokenResponse, if_match: int | None = None, refuse: Callable[[Token], None] | None = None
    ) -> Token:
        """Take in a token from outside, save it, wake whoever waits. The very same token keeps its generation.

        Raises GenerationMismatch where `if_match` is not the generation held, what `refuse` raises of the token that
        would be replaced, CredentialUnavailable where the store must keep the token and cannot.
        """
        known, kept = self._record.grant, came if self._renews else TokenResponse(came.token)

        def edit(grant: Grant) -> Grant:  # several processes may take pushes: what is stored at that moment counts
            if if_match not in {None, grant.generation}:
                raise GenerationMismatch
            if refuse is not None and (held := token_of(grant, self._clock)) is not None:
                refuse(held)
            return grant if same(grant, kept) else pushed(grant, kept)

        try:
            await self._record.read()
            await self._record.change(edit)
            self._record.pushed = self._record.unsaved
        except ProxyError:
            if self._record.grant is not known:
                self._seen()
            raise
        self._pause = NONE
        self._repeats_until = NEVER
        self._take(came.token)
        return self._held.token or came.token

    # ---- its life ----------------------------------------------------------------------------------------------------

    async def start(self) -> None:
        """Take up what the store and the configuration hold, and begin. Never raises for want of a token."""
        self._record.watch(self._seen)
        try:
            await self._record.read()
            await self._renewer().plant()
        except CredentialError as error:
            _log.warning("%s: %s", self.name, error)
        self._take(FROM_STORE)
        if self._eager and self._held.usable() is None:
            self._scheduler.schedule(self, self._clock.elapsed())  # it starts one after the other, however many
        else:
            self._attempts.any = True

    async def stop(self, *, within: float = math.inf) -> None:
        """End. A renewal that has sent its refresh token is waited for, `within` seconds: it must not be lost."""
        await self._flight.end(within=min(self._deadline, within) if self._record.grant.spending else 0.0)
        await self._record.saved(within)
        self._record.unwatch()
        self.detach()

    def detach(self) -> None:
        """Give up its place with the scheduler and in the cache. Whoever waits gets what comes."""
        self._scheduler.forget(self)
        self._held.drop()

    def renew_if_due(self) -> bool:
        """Start a renewal that is due; whether one was started."""
        self._record.save_again(self._schedule)
        due = self._renews and self._held.is_due(self._clock.elapsed())
        if due and not self._flight.under_way and not self._pause.holds(self._clock.elapsed(), self._changes):
            self._begin()
            return True
        self._schedule()
        return False

    def report(self) -> TokenReport:
        """How it stands."""
        due = max(self._held.due, self._pause.until) if self._renews else math.inf
        generation = self._record.grant.generation
        return self._attempts.report(self._held, self._pause.error, self._clock, due=due, generation=generation)

    # ---- within ------------------------------------------------------------------------------------------------------

    def _awaited(self, patience: float, refused: Token | None = None) -> Coroutine[None, None, Token]:
        """Wait with all others; if there is no flight, begin one."""
        self._begin(refused)
        return self._shared.wait(patience)

    def _begin(self, refused: Token | None = None) -> None:
        if not self._flight.under_way:
            self._flight.begin(self.name, self._fly(refused, self._record.grant.generation), self._lost)

    async def _fly(self, refused: Token | None, generation: int) -> None:
        """Renew, unless another process has since `generation`; what comes, comes to everyone."""
        began = self._clock.elapsed()
        error = await outcome(self.name, self._renewed(refused, generation))
        self._flight.landed()
        self._held.release()
        seconds = self._clock.elapsed() - began
        if error is None:
            self._attempts.succeeded(self._clock.wall(), seconds)
            self._pause = NONE
        else:
            self._fail(error, seconds)
        self._schedule()

    async def _renewed(self, refused: Token | None, generation: int) -> None:
        came = await self._renewer().run(
            lambda grant: grant.generation != generation and self._held.helps(token_of(grant, self._clock), refused),
            usable=lambda: refused is None and self._held.usable() is not None,
            by_hand=self._pause.by_hand,
        )
        if not self._take(came, renewal=True):
            raise CredentialUnavailable("The token had expired when it arrived")

    def _lost(self, error: CredentialError) -> None:
        """A renewal ended without a word: who waits for it is told why, and the next attempt is made all the same."""
        if self._eager:
            self._scheduler.schedule(self, self._clock.elapsed() + policy.LOST_FOR)
        self._shared.publish(error)

    def _renewer(self) -> Renewer:
        return Renewer(self.name, self._source, self._record, self._clock, deadline=self._deadline, seed=self._seed)

    def _take(self, came: Token | FromStore, *, renewal: bool = False) -> bool:
        """Hold what the record says now, exactly as it `came` if it is that token. Whether it may be sent."""
        before, grant = self._held.usable(), self._record.grant
        token = held_token(grant, self._clock, came, self._keys)
        self._held.take(token, asked=renewal or came is FROM_STORE, to_its_end=grant.in_doubt)
        if (predecessor := self._held.before) is not None:
            asyncio.get_running_loop().call_later(policy.YOUNG, self._held.forget, predecessor)
        if (usable := self._held.usable()) is None:
            return False
        if renewal or before is None or before.access_token != usable.access_token:
            self._shared.publish(usable)
        self._schedule()
        return True

    def _seen(self) -> None:
        """Another process changed the record."""
        if self._take(FROM_STORE):
            self._pause = NONE

    def _fail(self, error: CredentialError, seconds: float) -> None:
        grant, now = self._record.grant, self._clock.elapsed()
        self._attempts.failed(error, self._clock.wall(), seconds)
        slowly = grant.in_doubt and not grant.spent and self._held.usable() is None
        pause = self._pause = self._pause.after(error, now, self._clock.chance(), self._changes(), slowly=slowly)
        _log.warning("%s: no new token: %s; next attempt in %d s", self.name, error, math.ceil(pause.until - now))
        if grant.in_doubt:
            self._held.due = self._held.end()
        self._shared.publish(again(error, pause.wanted - now))

    def _schedule(self) -> None:
        """Say when to look next."""
        if self._record.unsaved:
            self._scheduler.schedule(self, self._clock.elapsed() + policy.SAVE_AGAIN)
        elif self._eager and not self._flight.under_way:
            self._scheduler.schedule(self, self._pause.next_look(self._held.due, self._clock.elapsed()))

    def _changes(self) -> int:
        """How many new values the secrets have had."""
        return sum(secret.changes for secret in self._inputs)
