"""Everything that the store asks of Redis, tried once under a key of its own, which is gone afterwards."""

from __future__ import annotations

import hashlib
from collections.abc import Awaitable, Callable

from proxy.background import bounded
from proxy.clock import Clock
from proxy.tokens.store.redis_client import LIBRARY_ERRORS
from proxy.tokens.store.redis_operations import RedisOperations
from proxy.tokens.store.redis_scripts import EXTEND, RELEASE, SAVE, RedisKeys
from proxy.tokens.store.token_store import StoreError

_OCTETS = 6
_HEARD_WITHIN = 5.0
_MILLISECONDS = 10_000


async def try_redis(operations: RedisOperations, keys: RedisKeys, clock: Clock) -> list[str]:
    """What does not work, each a sentence that names the step; empty where all does."""
    trial = _Trial(operations, keys, clock.octets(_OCTETS).hex())
    steps: dict[str, Callable[[], Awaitable[None]]] = {
        "reading a record (GET)": trial.read,
        "compare-and-set of a record (EVAL with GET, SET and PUBLISH)": trial.compare_and_set,
        "taking, extending and releasing a lease (SET NX, EVAL with PEXPIRE and DEL)": trial.lease,
        "hearing of changes (SUBSCRIBE)": trial.hear,
    }
    failures = []
    for name, step in steps.items():
        try:
            await step()
        except StoreError as error:
            failures.append(f"{name}: {error}")
            if "cannot be reached" in str(error) or "refuses the login" in str(error):
                break  # every further step would say the same
    await trial.clean_up()
    return failures


class _Trial:
    def __init__(self, operations: RedisOperations, keys: RedisKeys, word: str) -> None:
        self._operations = operations
        self._keys = keys
        self._name = f"check {word}"
        self._first = f'{{"revision":1,"check":"{word}"}}'
        self._second = f'{{"revision":2,"check":"{word}"}}'

    async def read(self) -> None:
        if await self._operations.run("read", "GET", self._keys.record(self._name)) is not None:
            raise StoreError("a key that nobody has written holds something")

    async def compare_and_set(self) -> None:
        digest = hashlib.sha1(self._first.encode(), usedforsecurity=False).hexdigest()
        said = [
            await self._save(1, self._first, ""),
            await self._save(1, f"{self._first} ", ""),
            await self._save(2, self._second, ""),
            await self._save(2, self._second, digest),
        ]
        if said != [b"saved", b"later", b"unread", b"saved"]:
            raise StoreError("scripts do not do here what they do in Redis 6 or later")

    async def lease(self) -> None:
        key, owner = self._keys.lease(self._name), self._name
        await self._operations.run("take a lease", "SET", key, owner, "NX", "PX", _MILLISECONDS)
        await self._operations.run("extend a lease", "EVAL", EXTEND, 1, key, owner, _MILLISECONDS)
        await self._operations.run("release a lease", "EVAL", RELEASE, 1, key, owner)

    async def hear(self) -> None:
        try:
            await bounded(self._heard(), _HEARD_WITHIN)
        except (*LIBRARY_ERRORS, TimeoutError) as error:
            raise self._operations.failed("hear of changes", error) from None

    async def clean_up(self) -> None:
        """Delete what was written, by the one script that may delete."""
        for left in (self._first, self._second):
            try:
                await self._operations.run("write", "EVAL", RELEASE, 1, self._keys.record(self._name), left)
            except StoreError:
                return

    async def _save(self, revision: int, record: str, known: str) -> bytes:
        arguments = (revision, record, known, self._keys.channel, "check")
        answer: list[bytes] = await self._operations.run(
            "write", "EVAL", SAVE, 1, self._keys.record(self._name), *arguments
        )
        return answer[0]

    async def _heard(self) -> None:
        subscription = await self._operations.client.subscription()
        try:
            await subscription.subscribe(self._keys.channel)
            if await subscription.get_message(timeout=_HEARD_WITHIN) is None:
                raise TimeoutError
        finally:
            await subscription.aclose()
