"""What credentials share, and what makes one credential's stored token another one's."""

from __future__ import annotations

from typing import Any

import pytest

from proxy.assembly.parts import identity_of, present, tag_of
from proxy.config import schema
from proxy.config.schema import Duration, Secret
from proxy.errors import ConfigurationError

ISSUED: dict[str, Any] = {
    "token_endpoint": "https://login.example/token",
    "client_id": "c",
    "client_secret": Secret(env="A"),
}


@pytest.mark.parametrize(
    "change",
    [
        {"header": "X-Token"},
        {"vend": True},
        {"refresh": schema.Refresh(at=0.5)},
        {"timeouts": schema.TokenTimeouts(total=Duration(1))},
        {"client_secret": Secret(env="B")},
        {"initial_token": schema.InitialToken(refresh_token=Secret(env="C"))},
    ],
)
def test_how_a_token_is_sent_guarded_and_timed_does_not_make_it_another(change):
    """A14."""
    assert identity_of(schema.OAuth2(**ISSUED)) == identity_of(schema.OAuth2(**{**ISSUED, **change}))


@pytest.mark.parametrize(
    "change",
    [
        {"scope": "s"},
        {"audience": "a"},
        {"resource": ("https://r.example",)},
        {"client_id": "d"},
        {"token_endpoint": "https://other.example/token"},
        {"token_parameters": {"tenant": "t"}},
        {"username": "u"},
    ],
)
def test_what_is_asked_for_and_by_whom_does(change):
    """A14."""
    assert identity_of(schema.OAuth2(**ISSUED)) != identity_of(schema.OAuth2(**{**ISSUED, **change}))


def test_two_types_never_ask_for_the_same():
    assert identity_of(schema.External()) != identity_of(schema.Exec(command=("x",)))


def test_a_type_is_called_as_in_the_file():
    assert tag_of(schema.DirectLine(secret=Secret(env="A"))) == "direct_line"


def test_what_the_rules_have_demanded_is_there():
    assert present("x", "scope") == "x"
    with pytest.raises(ConfigurationError, match="scope is missing"):
        present(None, "scope")


async def test_ways_out_and_what_was_discovered_on_them_are_shared(bench):
    config = {"type": "oauth2", "issuer": "https://login.example", "client_id": "c", "client_secret": {"env": "KEY"}}
    bench.build(
        {"credentials": {"a": config, "b": {**config, "scope": "s"}, "c": {**config, "timeouts": {"total": "1s"}}}}
    )
    assert len(bench.workshop._parts.clients._clients) == 2
    assert len(bench.workshop._parts._discoveries) == 2


async def test_only_a_credential_can_use_another_one(bench):
    bench.build({"credentials": {"main": {"type": "bearer", "token": {"env": "KEY"}}}})
    with pytest.raises(ConfigurationError, match=r"admin\.bearer: only a credential"):
        bench.workshop._parts.watched(Secret(credential="main"), "admin.bearer")


async def test_who_reads_the_same_file_follows_it_once_and_who_reads_another_way_alone(bench, tmp_path):
    (tmp_path / "s").write_text("one")
    one = {"type": "bearer", "token": {"file": "s"}}
    shouted = {"type": "bearer", "token": {"exec": ["true"]}}
    built = bench.build({"credentials": {"a": one, "b": one, "c": shouted, "d": shouted}}).credentials
    a, b, c, d = (built[name].credential.tokens._secret for name in "abcd")
    assert a is b
    assert c is not d


async def test_a_file_that_is_gone_is_missed_although_another_build_has_found_it(bench, tmp_path):
    (tmp_path / "s").write_text("one")
    old = bench.build({"credentials": {"a": {"type": "bearer", "token": {"file": "s"}}}})
    loaded = bench.loaded({"credentials": {"b": {"type": "bearer", "token": {"file": "s"}}}})
    (tmp_path / "s").unlink()
    with pytest.raises(ConfigurationError, match=r"credentials\.b: .*cannot be read"):
        bench.workshop.build(loaded, old)
