"""AWS keys as tokens."""

from __future__ import annotations

import datetime as dt

from support.clock import FakeClock

from proxy.auth.aws_keys import AwsKeys, from_text
from proxy.tokens.aws.aws_key_source import AwsKeySource
from proxy.tokens.aws.keys import GivenKeys
from proxy.tokens.token_response import NOTHING

KEYS = AwsKeys(access_key_id="a", secret_access_key="b", session_token="c")


class Giver:
    def __init__(self, expires_at=None) -> None:
        self.expires_at = expires_at

    async def give(self) -> GivenKeys:
        return GivenKeys(KEYS, self.expires_at)


async def test_keys_live_as_long_as_their_giver_says():
    clock = FakeClock()
    end = dt.datetime.fromtimestamp(clock.wall() + 900, dt.UTC).isoformat().replace("+00:00", "Z")
    token = (await AwsKeySource(Giver(end), clock, 3600.0).fetch(NOTHING)).token
    assert from_text(token.access_token) == KEYS
    assert (token.expires_wall, token.lifetime) == (clock.wall() + 900, 900)


async def test_keys_without_an_end_are_asked_for_again_after_a_while_and_never_stop():
    token = (await AwsKeySource(Giver(), FakeClock(), 3600.0).fetch(NOTHING)).token
    assert (token.expires_wall, token.lifetime) == (None, 3600)
