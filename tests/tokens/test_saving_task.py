from __future__ import annotations

import asyncio

from support.clock import settle

from proxy.errors import CredentialUnavailable
from proxy.tokens.saving_task import SavingTask


async def test_one_try_at_a_time():
    task = SavingTask("crm")
    begun: list[int] = []
    ended: list[int] = []
    gate = asyncio.Event()

    async def save() -> None:
        begun.append(len(begun))
        await gate.wait()

    for _ in range(3):
        task.begin(save, lambda: ended.append(len(begun)))
    await settle()
    assert (begun, ended) == ([0], [])
    await task.ended(within=0.01)
    gate.set()
    await task.ended()
    assert ended == [1]
    task.begin(save)
    await task.ended()
    assert begun == [0, 1]
    await task.ended()


async def test_a_try_that_fails_ends_nothing_and_a_mistake_of_ours_is_told(caplog):
    task = SavingTask("crm")
    ended: list[int] = []

    async def unavailable() -> None:
        raise CredentialUnavailable("no store")

    async def mistaken() -> None:
        raise ZeroDivisionError

    for save in (unavailable, mistaken):
        task.begin(save, lambda: ended.append(1))
        await task.ended()
    assert ended == [1, 1]
    assert "while saving crm, please report: ZeroDivisionError" in caplog.text
    assert "no store" not in caplog.text
