"""Where a route leads whose upstream is looked up: at the start, at every `ttl`, and where nobody answers there.

One request to the directory at a time, in one task, whoever waits. What was found last stays in use while a newer
answer cannot be had or used, for as long as that takes: APIs hardly ever move. Only where nothing was found yet do
requests wait, and no longer than one look-up takes; between two attempts they fail at once.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable
from typing import Protocol

from proxy.clock import Clock, WakeableSleep
from proxy.default_ports import DEFAULT_PORTS
from proxy.defects import tell
from proxy.errors import ConfigurationError, CredentialError
from proxy.forward.dial import Origin
from proxy.forward.directory import NOWHERE, BaseUrl, Rule
from proxy.forward.directory_errors import DirectoryError, DirectoryRefused, DirectoryUnavailable
from proxy.forward.egress import Egress
from proxy.forward.pool import Pool, Waiter
from proxy.model import Token
from proxy.tokens import policy
from proxy.tokens.backoff import NO_FAILURES
from proxy.tokens.http_client import HttpClient, Received

_JITTER = 0.1
"""The part of `ttl` up to which a look-up is made earlier, by chance: many sidecars must not ask at once."""

_UNAUTHORIZED = 401
_LEAST_RECHECK = 30.0
"""Seconds between a look-up and the next for no better reason than that the upstream cannot be reached."""

_log = logging.getLogger("auth_sidecar.forward")


class LookUpSigner(Protocol):
    """Signs look-ups."""

    async def signed(self, url: str, refused: Token | None = None) -> tuple[str, list[tuple[str, str]], Token]:
        """The URL and the fields of a GET, and the token in them. Raises CredentialError."""


class UpstreamDiscovery:
    """What a route has for a pool until it is known where it leads (`take`, `wait`, `forget`), and who finds that out.

    `found`, `pool` and `base`: where it leads; None before the first success. `found_at`: when the directory last said
    so, on the elapsed clock. `last_error`: why the last look-up failed; None if it did not. `moved`: called when `pool`
    or `base` has changed, before anyone is served by it. `make_pool` is also given whom to tell of dials that fail.
    """

    forwards: Egress | None = None

    def __init__(
        self,
        rule: Rule,
        client: HttpClient,
        clock: Clock,
        make_pool: Callable[[BaseUrl, Callable[[], None]], Pool],
        moved: Callable[[], None],
        signer: LookUpSigner | None = None,
    ) -> None:
        self._signer = signer
        self.rule = rule
        self.origin = Origin(rule.discover.scheme, NOWHERE, DEFAULT_PORTS[rule.discover.scheme], 0.0)
        self.found: BaseUrl | None = None
        self.found_at = 0.0
        self.last_error: DirectoryError | None = None
        self.pool: Pool | None = None
        self._client = client
        self._clock = clock
        self._make_pool = make_pool
        self._moved = moved
        self._backoff = NO_FAILURES
        self._next = 0.0
        self._waiting: deque[Waiter] = deque()
        self._looking = self._ending = False
        self._task: asyncio.Task[None] | None = None
        self._pause = WakeableSleep(clock)

    @property
    def directory(self) -> str:
        """The directory's URL without its query, which may hold a key."""
        return self.rule.discover.url.partition("?")[0]

    @property
    def base(self) -> bytes:
        """The path of the base URL."""
        return self.found.base.encode("ascii") if self.found is not None else b""

    # ---- in the place of a pool --------------------------------------------------------------------------------------

    def take(self, now: float) -> None:
        """There are no connections to nowhere."""

    def wait(self, waiter: Waiter) -> None:
        """Show the way, now or when it is known; where that is not being found out just now, say so."""
        if self.pool is not None:
            waiter.upstream_resolved(self.pool, self.base)
        elif self._looking:
            self._waiting.append(waiter)
        else:
            waiter.not_connected(self._again())

    def forget(self, waiter: Waiter) -> None:
        """The app hung up."""
        if waiter in self._waiting:
            self._waiting.remove(waiter)

    # ---- the directory -----------------------------------------------------------------------------------------------

    def inherit(self, other: UpstreamDiscovery) -> None:
        """Go on with what another one found in the same directory, if it may still be used."""
        mine, its = self.rule.discover, other.rule.discover
        if other.found is None or (mine.url, mine.json_pointer) != (its.url, its.json_pointer):
            return
        try:
            self._lead_to(self.rule.judge(other.found.value))
            self.found_at = other.found_at
        except DirectoryError:
            return

    def start(self) -> None:
        """Begin to look. Twice is fine."""
        if self._task is None:
            self._looking = True
            self._task = asyncio.get_running_loop().create_task(self._run(), name="upstream discovery")

    async def stop(self) -> None:
        """Stop looking; who waits for the look-up that is under way is still served by it."""
        self._ending = True
        task = self._task
        if task is not None:
            if not self._waiting:
                task.cancel()
            await asyncio.wait((task,))
            self._looking = False
        if self.pool is not None:
            self.pool.retire()

    async def _run(self) -> None:
        while not self._ending:
            try:
                await self.look()
                pause = self.rule.discover.ttl * (1 - _JITTER * self._clock.chance())
                self._next = self._clock.elapsed() + pause
            except DirectoryError:
                self._next = self._backoff.until
            except Exception as error:  # noqa: BLE001 - whatever it is, the next look is due all the same
                tell(_log, "while a route was led elsewhere", error)
                self._next = NO_FAILURES.after(policy.FAILURE, self._clock.elapsed(), self._clock.chance()).until
            self._answer_all()
            if not self._ending:
                await self._pause.sleep(self._next - self._clock.elapsed())

    def recheck(self) -> None:
        """No connection can be had where it leads: that may have moved. Look again now, unless we just did."""
        if self.last_error is None and self._clock.elapsed() >= self.found_at + _LEAST_RECHECK:
            self._pause.wake()

    async def look(self) -> BaseUrl:
        """Ask the directory, now. Raises DirectoryError; what was found before stays then."""
        self._looking = True
        try:
            found = await self._ask()
            changed = self._lead_to(found)
        except DirectoryError as error:
            self._failed(error)
            raise
        except Exception as error:  # noqa: BLE001 - whatever it is, who waits must not wait for ever
            _log.error("internal error while looking up, please report: %s", type(error).__name__)
            unread = DirectoryUnavailable("The directory's answer could not be read")
            self._failed(unread)
            raise unread from None
        finally:
            self._looking = False
        self.found_at = self._clock.elapsed()
        if changed:
            _log.info("%s: the upstream is %s", self.directory, found.url)
            self._moved()
        elif self.last_error is not None:
            _log.info("%s: well again; the upstream still is %s", self.directory, found.url)
        self.last_error = None
        self._backoff = NO_FAILURES
        return found

    async def _ask(self) -> BaseUrl:
        try:
            received = await self._send()
        except CredentialError as error:
            raise DirectoryUnavailable(error.detail) from None
        requested = policy.retry_after(received.headers.get("Retry-After"), self._clock.wall())
        return self.rule.read(received.status, received.body, requested)

    async def _send(self) -> Received:
        """One GET; with a token that is refused, a second one with its successor."""
        url = self.rule.discover.url
        if self._signer is None:
            return await self._client.send("GET", url, peer="directory")
        signed, fields, token = await self._signer.signed(url)
        received = await self._client.send("GET", signed, headers=fields, peer="directory")
        if received.status != _UNAUTHORIZED:
            return received
        signed, fields, _ = await self._signer.signed(url, token)
        return await self._client.send("GET", signed, headers=fields, peer="directory")

    def _lead_to(self, found: BaseUrl) -> bool:
        """Whether that is elsewhere than before. Raises DirectoryUnavailable where our own TLS files are of no use."""
        before, pool = self.found, self.pool
        if before is None or (before.scheme, before.host, before.port) != (found.scheme, found.host, found.port):
            try:
                pool = self._make_pool(found, self.recheck)
            except ConfigurationError:
                raise DirectoryUnavailable("The route's TLS files cannot be used") from None
        self.found, self.pool = found, pool
        return before is None or before.url != found.url

    def _failed(self, error: DirectoryError) -> None:
        requested = error.requested if isinstance(error, DirectoryUnavailable) else 0.0
        now, chance = self._clock.elapsed(), self._clock.chance()
        self._backoff = self._backoff.after(policy.FAILURE, now, chance, requested=requested)
        if self.last_error is None or self.last_error.detail != error.detail:
            named = f" ({error.named})" if isinstance(error, DirectoryRefused) and error.named else ""
            kept = f"; {self.found.url} stays in use" if self.found is not None else ""
            _log.warning("%s: the upstream cannot be looked up: %s%s%s", self.directory, error.detail, named, kept)
        self.last_error = error

    def _answer_all(self) -> None:
        """Everyone who waits, and nobody twice: who comes from now on waits for the next outcome."""
        waiting, self._waiting = self._waiting, deque()
        for waiter in waiting:
            try:
                if self.pool is not None:
                    waiter.upstream_resolved(self.pool, self.base)
                else:
                    waiter.not_connected(self._again())
            except Exception as error:  # noqa: BLE001 - one request's mistake leaves no other waiting
                tell(_log, "while a request was shown its way", error)

    def _again(self) -> DirectoryError:
        """The last error for one more caller: an exception that is raised twice collects both tracebacks."""
        error = self.last_error
        if isinstance(error, DirectoryRefused):
            return DirectoryRefused(error.detail)
        detail = error.detail if error is not None else "The directory is not asked any more"
        return DirectoryUnavailable(detail, retry_after=self._next - self._clock.elapsed())
