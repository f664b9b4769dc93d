"""What is filled into one token request."""

from __future__ import annotations

import uuid

import pytest
from support.clock import FakeClock

from proxy.config.schema import Secret
from proxy.model import Token
from proxy.tokens.parts import Parts, unfilled
from proxy.tokens.template import MissingPartError, UnfitPartError
from proxy.tokens.token_response import TokenPair


def reading(*values: str):
    left = iter(values)

    async def read() -> str:
        return next(left)

    return read


async def test_a_secret_is_read_anew_for_each_request_and_only_where_it_is_used():
    parts = Parts(FakeClock(), {"pw": reading("one", "two"), "idle": reading()})
    for value in ("one", "two"):
        assert (await parts.of(["{pw}", {"x": "{pw}{nobody}"}]))["pw"] == value


async def test_chance_and_time_are_made_anew_and_the_same_within_one_request():
    clock = FakeClock()
    found = await Parts(clock).of("{uuid}{timestamp}{timestamp_ms}{now:%Y}")
    assert uuid.UUID(found["uuid"] or "").version == 4
    assert found["timestamp"] == str(int(clock.wall()))
    assert found["timestamp_ms"] == str(int(clock.wall() * 1000))
    assert found["now:%Y"] == "2027"
    assert (await Parts(clock).of("{uuid}"))["uuid"] != found["uuid"]


async def test_the_previous_token_and_the_callers_value_are_parts():
    parts = Parts(FakeClock(), per="acme")
    found = await parts.of("", TokenPair(Token(access_token="a-1"), "r-1"))
    assert found == {"access_token": "a-1", "refresh_token": "r-1", "per": "acme"}
    assert await parts.of("") == {"access_token": None, "refresh_token": None, "per": "acme"}


async def test_references_are_read_wherever_they_stand():
    secret = Secret(env="X")
    parts = Parts(FakeClock(), references={secret: reading("one", "two")})
    assert await parts.resolved({"a": [secret, 1], "b": (None, {"c": secret})}) == {
        "a": ["one", 1],
        "b": [None, {"c": "two"}],
    }


@pytest.mark.parametrize(
    ("error", "said"), [(MissingPartError("per"), "a value for per"), (UnfitPartError("pw"), "lead the token request")]
)
def test_what_cannot_be_filled_in_is_a_refusal(error, said):
    assert said in unfilled(error).detail
