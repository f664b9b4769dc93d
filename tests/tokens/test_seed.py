from __future__ import annotations

import jwt
import pytest
from support.clock import FakeClock

from proxy.config.schema import InitialToken, Secret
from proxy.errors import CredentialUnavailable
from proxy.tokens.edits import mark_of
from proxy.tokens.secret import live_secret
from proxy.tokens.seed import ConfiguredSeed
from proxy.tokens.token_response import TokenPair

NOW = 1_800_000_000.0


def seed(
    clock: FakeClock | None = None, *, access: str | None = None, refresh: str | None = None, **initial
) -> ConfiguredSeed:
    clock = clock or FakeClock()

    def given(value: str | None):
        return None if value is None else live_secret(Secret(value=value), {}, clock, None)

    return ConfiguredSeed(
        clock,
        initial=InitialToken(**initial) if initial else None,
        access_token=given(access),
        refresh_token=given(refresh),
        assumed=77.0,
    )


async def test_a_refresh_token_alone_is_a_seed_without_anything_to_send():
    assert await seed(refresh="r")() == TokenPair(None, "r")


async def test_nothing_is_no_seed():
    assert not await seed()()


async def test_an_initial_token_lives_from_its_timestamp():
    token = (await seed(access="a", refresh="r", expires_in=3600, timestamp=NOW - 600)()).access
    assert (token.expires_wall, token.lifetime, token.issued_wall) == (NOW + 3000, 3600, NOW - 600)
    assert (token.expires_elapsed, token.issued_elapsed) == (4000.0, 400.0)


async def test_a_timestamp_may_be_in_milliseconds():
    token = (await seed(access="a", expires_in=3600, timestamp=(NOW - 600) * 1000)()).access
    assert token.expires_wall == NOW + 3000


async def test_a_timestamp_of_the_future_counts_as_now():
    token = (await seed(access="a", expires_in=3600, timestamp=NOW + 9999)()).access
    assert (token.expires_wall, token.expires_elapsed) == (NOW + 3600, 4600.0)


async def test_without_a_timestamp_it_was_issued_now():
    assert (await seed(access="a", expires_in=3600)()).access.expires_wall == NOW + 3600


async def test_an_expired_initial_token_says_so():
    token = (await seed(access="a", refresh="r", expires_in=3600, timestamp=1_625_216_009)()).access
    assert token.expires_wall < NOW


async def test_an_expiry_of_zero_is_an_expiry():
    token = (await seed(access="a", expires_in=0)()).access
    assert (token.expires_wall, token.lifetime) == (NOW, 0)


async def test_a_jwt_says_itself_when_it_ends():
    token = jwt.encode({"exp": int(NOW) + 50}, "a secret that is long enough for HS256")
    assert (await seed(access=token)()).access.expires_wall == NOW + 50


async def test_an_unstated_lifetime_stays_unstated():
    token = (await seed(access="opaque")()).access
    assert (token.expires_wall, token.lifetime) == (None, 77.0)


async def test_a_seed_without_a_timestamp_is_the_same_seed_a_minute_later():
    clock = FakeClock()
    made = seed(clock, access="a", refresh="r", expires_in=3600)
    before = mark_of(await made())
    clock.suspend(60)
    assert mark_of(await made()) == before


async def test_a_seed_that_cannot_be_read_is_an_error():
    class Broken:
        changes = 0

        def ready(self) -> str | None:
            return None

        async def read(self, *, anew: bool = False) -> str:
            raise CredentialUnavailable("gone" if anew else "not there")

    with pytest.raises(CredentialUnavailable):
        await ConfiguredSeed(FakeClock(), refresh_token=Broken())()
