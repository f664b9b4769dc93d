from __future__ import annotations

import asyncio
import logging

from proxy import defects

_log = logging.getLogger("auth_sidecar.test")


def test_a_mistake_is_told_with_its_place_and_without_its_words(caplog):
    try:
        int("s3cret")
    except ValueError as error:
        defects.tell(_log, "while counting", error)
    assert [record.levelname for record in caplog.records] == ["ERROR"]
    assert "internal error while counting, please report: ValueError at test_defects.py:" in caplog.text
    assert "s3cret" not in caplog.text


def test_one_that_was_never_raised_has_no_place(caplog):
    defects.tell(_log, "somewhere", ValueError("s3cret"))
    assert caplog.messages == ["internal error somewhere, please report: ValueError"]


async def test_a_cancellation_counts_only_where_somebody_wants_the_task_to_end():
    found: list[bool] = []

    async def work() -> None:
        found.append(defects.cancelled(asyncio.CancelledError()))
        found.append(defects.cancelled(ValueError()))
        try:
            await asyncio.sleep(1000)
        except asyncio.CancelledError as error:
            found.append(defects.cancelled(error))

    task = asyncio.create_task(work())
    await asyncio.sleep(0)
    task.cancel()
    await task
    assert found == [False, False, True]
