"""What starts, in which order, and what stops."""

from __future__ import annotations

import pytest
from support.settings import client_credentials

from proxy.assembly.credential_runtime import CredentialRuntime
from proxy.assembly.runtime import in_order

ISSUED = client_credentials("https://login.example/token", refresh={"eager": False})
FIRST = {"type": "bearer", "token": {"env": "KEY"}}


def asking(name):
    return {**ISSUED, "client_secret": {"credential": name}}


async def test_whoever_needs_another_ones_token_comes_after_it(bench):
    names = {"c": asking("b"), "b": asking("a"), "a": FIRST, "d": FIRST}
    order = in_order(bench.loaded({"credentials": names}).config.credentials)
    assert sorted(order) == ["a", "b", "c", "d"]
    assert order.index("a") < order.index("b") < order.index("c")


@pytest.fixture
def said(monkeypatch):
    """Notes which credentials start and stop, in order, and lets them do neither. `names`: by their identity."""

    def noting(word):
        async def note(built, **_):
            notes.append((word, names[id(built)]))

        return note

    names: dict[int, str] = {}
    notes: list[tuple[str, str]] = []
    monkeypatch.setattr(CredentialRuntime, "start", noting("start"))
    monkeypatch.setattr(CredentialRuntime, "stop", noting("stop"))
    return names, notes


async def test_credentials_start_in_their_order_and_stop_in_the_opposite_one(bench, said):
    names, notes = said
    runtime = bench.build({"credentials": {"c": asking("b"), "b": asking("a"), "a": FIRST}})
    names |= {id(built): name for name, built in runtime.credentials.items()}
    await runtime.start(None)
    await runtime.stop(None)
    assert notes == [("start", "a"), ("start", "b"), ("start", "c"), ("stop", "c"), ("stop", "b"), ("stop", "a")]


async def test_a_new_world_starts_only_what_is_new_and_the_old_one_stops_only_what_is_gone(bench, said):
    names, notes = said
    old = bench.build({"credentials": {"kept": ISSUED, "gone": ISSUED, "changed": ISSUED}})
    new = bench.build({"credentials": {"kept": {**ISSUED, "required": True}, "changed": {**ISSUED, "scope": "s"}}}, old)
    for which, runtime in (("old", old), ("new", new)):
        names |= {id(built): f"{which} {name}" for name, built in runtime.credentials.items()}
    await new.start(old)
    await old.stop(new)
    assert sorted(notes) == [("start", "new changed"), ("stop", "old changed"), ("stop", "old gone")]
    gone = {id(old.credentials[name].credential) for name in ("gone", "changed")}
    assert old.lives() - new.lives() == gone


async def test_a_command_is_run_once_for_a_guard_that_stays(bench, tmp_path):
    count = tmp_path / "count"
    guard = {"secret": {"exec": ["sh", "-c", f"echo x >> {count}; echo word"]}}
    config = {"type": "external", "update": guard}
    old = bench.build({"credentials": {"main": config}})
    await old.start(None)
    new = bench.build({"credentials": {"main": config, "other": FIRST}}, old)
    await new.start(old)
    await old.stop(new)
    assert new.entries["main"].update_secret() == "word"
    assert count.read_text() == "x\n"
    await new.stop(None)


async def test_one_that_fails_to_stop_keeps_no_other_from_it(bench, said, monkeypatch, caplog):
    names, notes = said
    runtime = bench.build({"credentials": {"c": asking("b"), "b": asking("a"), "a": FIRST}})
    names |= {id(built): name for name, built in runtime.credentials.items()}
    stop = CredentialRuntime.stop

    async def failing(built, **how):
        await stop(built, **how)
        if names[id(built)] == "b":
            raise KeyError("s3cret")

    monkeypatch.setattr(CredentialRuntime, "stop", failing)
    await runtime.stop(None, within=1.0)
    assert notes == [("stop", "c"), ("stop", "b"), ("stop", "a")]
    assert "internal error while b was stopped, please report: KeyError" in caplog.text
    assert "s3cret" not in caplog.text
