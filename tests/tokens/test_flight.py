from __future__ import annotations

import asyncio

import pytest
from support.clock import settle

from proxy.errors import CredentialError, CredentialUnavailable
from proxy.tokens.flight import Flight, outcome


class Lost(list[CredentialError]):
    def __call__(self, error: CredentialError) -> None:
        self.append(error)


async def raising(error: BaseException) -> None:
    raise error


async def test_while_one_is_under_way_it_says_so_and_when_it_has_ended_it_does_not():
    flight, go = Flight(), asyncio.Event()

    async def renewal() -> None:
        await go.wait()

    flight.begin("crm", renewal(), Lost())
    assert flight.under_way
    go.set()
    await settle()
    assert not flight.under_way
    await flight.end(within=0.0)


async def test_one_that_says_that_it_is_over_makes_way_for_the_next():
    flight = Flight()
    go = asyncio.Event()

    async def renewal() -> None:
        flight.landed()
        flight.begin("crm", second(), Lost())

    async def second() -> None:
        await go.wait()

    flight.begin("crm", renewal(), Lost())
    await settle()
    assert flight.under_way, "the end of the first does not end the second"
    await flight.end(within=0.0)


async def test_whatever_ends_a_renewal_is_told_without_what_it_said(caplog):
    lost = Lost()
    flight = Flight()
    flight.begin("crm", raising(ZeroDivisionError("s3cret")), lost)
    await settle()
    assert [type(one) for one in lost] == [CredentialUnavailable]
    assert not flight.under_way
    assert "ZeroDivisionError" in caplog.text
    assert "s3cret" not in caplog.text


@pytest.mark.parametrize("within", [0.0, 0.01])
async def test_it_is_ended_after_the_time_that_it_was_given(within):
    lost = Lost()
    flight = Flight()
    flight.begin("crm", asyncio.sleep(1000), lost)
    await settle()
    async with asyncio.timeout(30):
        await flight.end(within=within)
    assert [str(one) for one in lost] == ["The sidecar is shutting down"]


class Odd(BaseException):
    """No Exception, and no cancellation."""


@pytest.mark.parametrize(
    "error", [ValueError("s3cret"), Odd("s3cret"), SystemExit("s3cret"), asyncio.CancelledError("s3cret")]
)
async def test_no_mistake_in_a_renewal_is_more_than_a_renewal_that_failed(error, caplog):
    """A library may let a cancellation of its own out, an operator's code may call `exit`."""
    ended = await outcome("crm", raising(error))  # type: ignore[arg-type]
    assert isinstance(ended, CredentialUnavailable)
    assert f"while renewing crm, please report: {type(error).__name__} at test_flight.py:" in caplog.text
    assert "s3cret" not in caplog.text


async def test_a_cancellation_that_is_meant_ends_it():
    task = asyncio.create_task(outcome("crm", asyncio.sleep(1000)))  # type: ignore[arg-type]
    await settle()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
