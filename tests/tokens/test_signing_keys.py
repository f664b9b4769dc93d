"""Secrets that sign: followed as they change, waited for where a command prints them."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from proxy.errors import CredentialRefused
from proxy.tokens.signing_keys import SigningKeys


class Secret:
    """`value` is at hand, `later` must be waited for."""

    def __init__(self, value: str | None, later: str = "") -> None:
        self.value = value
        self.later = later
        self.changes = 0

    def at_hand(self) -> str | None:
        return self.value

    async def read(self, *, anew: bool = False) -> str:
        if self.value is None or (anew and self.later):
            self.value = self.later
        return self.value


def test_the_keys_of_now_are_in_use_before_anything_is_signed():
    used: list[Mapping[str, str]] = []
    secret = Secret("one")
    keys = SigningKeys({"consumer_secret": secret}, used.append)
    first = keys.at_hand()
    assert keys.at_hand() is first
    secret.value = "two"
    assert keys.at_hand() is not first
    assert used == [{"consumer_secret": "one"}, {"consumer_secret": "two"}]


def test_the_token_that_stands_for_them_holds_nothing():
    token = SigningKeys({"consumer_secret": Secret("one")}, lambda _: None).at_hand()
    assert token is not None
    assert token.access_token == ""


async def test_a_command_is_waited_for():
    used: list[Mapping[str, str]] = []
    keys = SigningKeys({"token_secret": Secret(None, "printed")}, used.append)
    assert keys.at_hand() is None
    token = await keys.current()
    assert keys.at_hand() is token
    assert used == [{"token_secret": "printed"}]


async def test_a_refused_signature_is_made_anew_only_with_other_secrets():
    secret = Secret("one")
    keys = SigningKeys({"consumer_secret": secret}, lambda _: None)
    refused = await keys.current()
    with pytest.raises(CredentialRefused):
        await keys.renew(refused)
    secret.later = "two"
    assert await keys.renew(refused) is not refused
