"""Secrets that sign: followed as they change, waited for where a command prints them."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from proxy.errors import ConfigurationError, CredentialRefused
from proxy.tokens.signing_keys import SigningKeys


class Secret:
    """`value` is at hand, `later` must be waited for."""

    def __init__(self, value: str | None, later: str = "") -> None:
        self.value = value
        self.later = later
        self.changes = 0

    def ready(self) -> str | None:
        return self.value

    async def read(self, *, anew: bool = False) -> str:
        if self.value is None or (anew and self.later):
            self.value = self.later
        return self.value


def test_the_keys_of_now_are_in_use_before_anything_is_signed():
    used: list[Mapping[str, str]] = []
    secret = Secret("one")
    keys = SigningKeys("main", {"consumer_secret": secret}, used.append, in_use={"consumer_secret": "one"})
    first = keys.ready()
    assert keys.ready() is first
    assert used == []
    secret.value = "two"
    assert keys.ready() is not first
    assert used == [{"consumer_secret": "two"}]


def test_the_token_that_stands_for_them_holds_nothing():
    token = SigningKeys("main", {"consumer_secret": Secret("one")}, lambda _: None, in_use={}).ready()
    assert token is not None
    assert token.access_token == ""


def test_keys_that_cannot_be_used_leave_the_last_good_ones_in_use_and_are_told_once(caplog):
    """A file is seen half-written, or holds another kind of key."""
    tried = []

    def use(values):
        tried.append(values["private_key"])
        if values["private_key"].startswith("bad"):
            raise ConfigurationError("private_key: not an RSA key")

    secret = Secret("one")
    keys = SigningKeys("main", {"private_key": secret}, use, in_use={"private_key": "one"})
    good = keys.ready()
    secret.value = "bad key"
    assert [keys.ready(), keys.ready()] == [good, good]
    assert tried == ["bad key"]
    (told,) = caplog.messages
    assert told.startswith("main: ")
    assert "private_key: not an RSA key" in told
    assert "bad key" not in told
    secret.value = "one"
    assert keys.ready() is good
    secret.value = "two"
    assert keys.ready() is not good


async def test_a_command_is_waited_for():
    used: list[Mapping[str, str]] = []
    keys = SigningKeys("main", {"token_secret": Secret(None, "printed")}, used.append, in_use={})
    assert keys.ready() is None
    token = await keys.current()
    assert keys.ready() is token
    assert used == [{"token_secret": "printed"}]


async def test_a_refused_signature_is_made_anew_only_with_other_secrets():
    secret = Secret("one")
    keys = SigningKeys("main", {"consumer_secret": secret}, lambda _: None, in_use={"consumer_secret": "one"})
    refused = await keys.current()
    with pytest.raises(CredentialRefused):
        await keys.renew(refused)
    secret.later = "two"
    assert await keys.renew(refused) is not refused
