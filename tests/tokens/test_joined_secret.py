"""Several secrets as one."""

from __future__ import annotations

import pytest

from proxy.errors import CredentialRefused
from proxy.tokens.joined_secret import JoinedSecret, PlainText, as_base64, as_login, password_of


class Changing:
    """A secret that a test changes; `waits`: it must be read."""

    def __init__(self, value: str, *, waits: bool = False) -> None:
        self.value = value
        self.waits = waits
        self.changes = 0
        self.anew: list[bool] = []

    def ready(self) -> str | None:
        return None if self.waits else self.value

    async def read(self, *, anew: bool = False) -> str:
        self.anew.append(anew)
        return self.value


async def test_the_parts_are_joined_as_they_are_now():
    part = Changing("k")
    joined = JoinedSecret([PlainText("u"), part], as_base64)
    assert (joined.ready(), await joined.read(), joined.changes) == ("dTpr", "dTpr", 0)
    part.value, part.changes = "ü", 3
    assert (joined.ready(), await joined.read(anew=True), joined.changes) == ("dTrDvA==", "dTrDvA==", 3)
    assert part.anew == [False, True]


async def test_one_part_that_must_be_waited_for_is_enough():
    joined = JoinedSecret([PlainText("u"), Changing("k", waits=True)], as_base64)
    assert joined.ready() is None
    assert await joined.read() == "dTpr"


def test_a_login_is_a_name_and_a_password_that_may_hold_anything():
    assert as_login(["u", ":p:"]) == "u::p:"
    assert as_login(["", ""]) == ":"
    assert password_of("u::p:") == ":p:"


@pytest.mark.parametrize("name", ["a:hush", "a\nhush", "\x7fhush"])
def test_a_user_name_that_basic_cannot_carry_is_refused_and_not_named(name):
    with pytest.raises(CredentialRefused, match="no colon") as refused:
        as_login([name, "p"])
    assert "hush" not in str(refused.value)
