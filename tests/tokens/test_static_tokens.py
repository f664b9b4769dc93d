from __future__ import annotations

import os

import pytest
from support.clock import FakeClock

from proxy.config.schema import Secret
from proxy.errors import CredentialRefused, CredentialUnavailable
from proxy.tokens.secret import live_secret
from proxy.tokens.static_tokens import FixedTokens


class Played:
    """A secret that must be waited for."""

    changes = 0

    def __init__(self, *values: str) -> None:
        self.values = list(values)
        self.value: str | None = None
        self.error: Exception | None = None

    def ready(self) -> str | None:
        return self.value

    async def read(self, *, anew: bool = False) -> str:
        if self.error:
            raise self.error
        if (anew or self.value is None) and self.values:
            self.value = self.values.pop(0)
        return self.value


async def test_the_same_object_is_handed_out_as_long_as_the_value_is_the_same():
    tokens = FixedTokens(live_secret(Secret(env="K"), {"K": "v"}, FakeClock(), None))
    assert tokens.ready() is tokens.ready() is await tokens.current()
    assert (tokens.ready().access_token, tokens.ready().generation) == ("v", 1)
    assert tokens.ready().expires_wall is None


async def test_a_file_that_changes_changes_the_token(tmp_path):
    path, clock = tmp_path / "token", FakeClock()
    path.write_text("one")
    tokens = FixedTokens(live_secret(Secret(file=str(path)), {}, clock, None))
    first = tokens.ready()
    path.write_text("two")
    os.utime(path, ns=(5, 5))
    await clock.advance(1)
    assert (tokens.ready().access_token, tokens.ready().generation) == ("two", 2)
    assert first.access_token == "one"


async def test_a_refused_value_is_read_again_at_once(tmp_path):
    """A projected token that was rotated a moment ago."""
    path = tmp_path / "token"
    path.write_text("one")
    tokens = FixedTokens(live_secret(Secret(file=str(path)), {}, FakeClock(), None))
    refused = tokens.ready()
    path.write_text("two")
    os.utime(path, ns=(5, 5))
    assert (await tokens.renew(refused)).access_token == "two"
    assert (await tokens.renew(refused)).access_token == "two", "a late refusal changes nothing"


async def test_a_value_that_has_not_changed_lets_the_refusal_stand():
    tokens = FixedTokens(live_secret(Secret(env="K"), {"K": "s3cret"}, FakeClock(), None))
    with pytest.raises(CredentialRefused, match="not changed") as caught:
        await tokens.renew(tokens.ready())
    assert "s3cret" not in str(caught.value)


async def test_a_value_that_must_be_waited_for_is_not_at_hand_at_first():
    secret = Played("one", "two")
    tokens = FixedTokens(secret)
    assert tokens.ready() is None
    first = await tokens.current()
    assert tokens.ready() is first
    assert (await tokens.renew(first)).access_token == "two"
    secret.value = None
    secret.values = ["three"]
    assert (await tokens.renew(first)).access_token == "three"


async def test_a_value_that_cannot_be_read_is_an_error():
    secret = Played()
    secret.error = CredentialUnavailable("down")
    tokens = FixedTokens(secret)
    with pytest.raises(CredentialUnavailable):
        await tokens.current()
