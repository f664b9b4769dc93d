"""Where a route leads whose upstream the token names."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from proxy.config.schema import Discover
from proxy.errors import CredentialRefused
from proxy.forward.directory import NOWHERE, BaseUrl, Rule
from proxy.forward.directory_errors import DirectoryRefused
from proxy.forward.token_upstream import TokenUpstream
from proxy.model import Token


class Pool:
    """Stands for the connections to one origin."""

    def __init__(self, found: BaseUrl) -> None:
        self.origin = found
        self.retired = False

    def retire(self) -> None:
        self.retired = True


class Waiter:
    """An exchange."""

    def __init__(self, token: Token | None) -> None:
        self.request = SimpleNamespace(token=token)
        self.led: Any = None
        self.error: Exception | None = None

    def upstream_resolved(self, pool, base) -> None:
        self.led = pool, base

    def not_connected(self, error) -> None:
        self.error = error


def named(value: str | None) -> Token:
    return Token(access_token="hush", kept=(("/url", value),) if value is not None else ())


def upstream(**options):
    rule = Rule(Discover(url="", allow_hosts=("*.example", "b.net"), json_pointer="/url"), (), "The token's answer")
    make_pool: Any = Pool
    return TokenUpstream(rule, "/url", "/v1/", make_pool, **options)


def test_a_request_is_led_where_its_token_says():
    one = upstream()
    assert one.origin.host == NOWHERE
    assert one.take(0.0) is None
    first, again = Waiter(named("https://a.example/base/")), Waiter(named("https://a.example/base/"))
    one.wait(first)
    one.wait(again)
    one.forget(again)
    assert first.led == again.led
    pool, base = first.led
    assert (pool.origin.host, base) == ("a.example", b"/base/v1")
    assert one.pools == [pool]
    assert one.found is not None
    assert one.found.url == "https://a.example/base"


@pytest.mark.parametrize("token", [None, named(None)])
def test_without_a_value_nobody_is_led_anywhere(token):
    waiter = Waiter(token)
    upstream().wait(waiter)
    assert isinstance(waiter.error, CredentialRefused)


@pytest.mark.parametrize(
    "value",
    [
        "https://evil.test",
        "http://a.example",
        "https://u:hush@a.example",
        "https://169.254.169.254",
        "https://a.example/../x",
        "",
    ],
)
def test_what_may_not_be_used_is_refused_and_told_once(value, caplog):
    one = upstream()
    one.of(named("https://b.net"))
    for _ in range(2):
        with pytest.raises(DirectoryRefused, match="token's answer"):
            one.of(named(value))
    assert one.last_error is not None
    assert [record.levelname for record in caplog.records].count("WARNING") == 1
    assert "hush" not in caplog.text
    one.of(named("https://b.net"))
    assert one.last_error is None


def test_another_value_takes_the_place_of_the_one_before_whose_connections_finish():
    one = upstream()
    before = one.of(named("https://a.example")).pool
    same = one.of(named("https://a.example/other"))
    assert same.pool is before
    assert not before.retired
    after = one.of(named("https://b.net")).pool
    assert before.retired
    assert one.pools == [after]
    one.retire()
    assert after.retired


def test_callers_have_a_place_each_and_the_one_that_was_idle_longest_goes():
    one = upstream(most=2)
    a, b = (one.of(named(f"https://{name}.example")).pool for name in "ab")
    assert one.of(named("https://a.example")).pool is a
    one.of(named("https://c.example"))
    assert (a.retired, b.retired) == (False, True)
