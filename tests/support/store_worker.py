"""Another process on the same files: `python -m support.store_worker DIRECTORY WHAT [NUMBER]`, tests/ on the path."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

from msgspec.structs import replace

from proxy.clock import SystemClock
from proxy.tokens.store.envelope import Envelope
from proxy.tokens.store.file import FileTokenStore
from proxy.tokens.store.token_store import Grant

NAME = "crm"


async def save_often(store: FileTokenStore, times: int) -> None:
    """Count the record's generation up, `times` times, beside others who do the same."""
    done = 0
    while done < times:
        held = await store.load(NAME) or Grant()
        done += await store.save(NAME, replace(held, revision=held.revision + 1, generation=held.generation + 1))


async def save_for_ever(store: FileTokenStore) -> None:
    """Write large records as fast as the disk takes them, until killed."""
    while True:
        held = await store.load(NAME) or Grant()
        filler = f"{held.revision + 1}-" * 20_000
        await store.save(NAME, replace(held, revision=held.revision + 1, refresh_token=filler))


async def renew_once(store: FileTokenStore, seen: int) -> None:
    """Under the lease: renew unless another has renewed since revision `seen`. One line per renewal."""
    async with store.lease(NAME, 20):
        held = await store.load(NAME) or Grant()
        if held.revision == seen:
            say("renewed")
            await asyncio.sleep(0.2)  # the issuer thinks
            await store.save(NAME, replace(held, revision=seen + 1))


async def hold(store: FileTokenStore) -> None:
    """Keep the lease until killed."""
    async with store.lease(NAME, 20):
        say("held")
        await asyncio.sleep(600)


def say(word: str) -> None:
    sys.stdout.write(f"{word}\n")
    sys.stdout.flush()


async def main(directory: str, what: str, number: str = "0") -> None:
    store = FileTokenStore(Path(directory), Envelope(), SystemClock())
    match what:
        case "save_often":
            await save_often(store, int(number))
        case "save_for_ever":
            await save_for_ever(store)
        case "renew_once":
            await renew_once(store, int(number))
        case "hold":
            await hold(store)


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
