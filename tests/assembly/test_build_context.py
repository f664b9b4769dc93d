"""What credentials share."""

from __future__ import annotations

import pytest

from proxy.assembly.build_context import present
from proxy.config.schema import Secret
from proxy.errors import ConfigurationError


def test_what_the_rules_have_demanded_is_there():
    assert present("x", "scope") == "x"
    with pytest.raises(ConfigurationError, match="scope is missing"):
        present(None, "scope")


async def test_ways_out_and_what_was_discovered_on_them_are_shared(bench):
    config = {"type": "oauth2", "issuer": "https://login.example", "client_id": "c", "client_secret": {"env": "KEY"}}
    bench.build(
        {"credentials": {"a": config, "b": {**config, "scope": "s"}, "c": {**config, "timeouts": {"total": "1s"}}}}
    )
    assert len(bench.builder._context.clients._clients) == 2
    assert len(bench.builder._context._discoveries) == 2


async def test_only_a_credential_can_use_another_one(bench):
    bench.build({"credentials": {"main": {"type": "bearer", "token": {"env": "KEY"}}}})
    with pytest.raises(ConfigurationError, match=r"admin\.bearer: only a credential"):
        bench.builder._context.watched(Secret(credential="main"), "admin.bearer")


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
        bench.builder.build(loaded, old)
