"""One credential as the admin side sees it; how it lives is told with each type."""

from __future__ import annotations

PUSHED = {"type": "external", "update": {"secret": {"env": "KEY"}}}
ISSUED = {"type": "oauth2", "token_endpoint": "https://login.example/token", "client_id": "c"}


async def test_the_admin_side_sees_every_credential_by_its_name(bench):
    runtime = bench.build({"credentials": {"a": PUSHED, "b": {"type": "bearer", "token": {"env": "KEY"}}}})
    assert {name: entry.type for name, entry in runtime.entries.items()} == {"a": "external", "b": "bearer"}
    assert len(runtime.entries) == 2
    assert runtime.entries["a"].tokens is runtime.credentials["a"].manager
    assert "c" not in runtime.entries


async def test_an_entry_says_what_is_configured(bench):
    plain = bench.credential({**ISSUED, "default_expires_in": "7m", "required": True}).entry
    assert (plain.eager, plain.required, plain.vend, plain.kind) == (True, True, False, "Bearer")
    assert plain.default_expires_in == 420
    assert bench.credential({**ISSUED, "dpop": True, "refresh": {"eager": False}}).entry.kind == "DPoP"
    pushed = bench.credential(PUSHED)
    assert pushed.entry.update is pushed.config.update
    assert pushed.entry.update_secret() == "hush-key"


async def test_what_needs_neither_start_nor_stop_may_have_both(bench):
    built = bench.credential({"type": "bearer", "token": {"env": "KEY"}})
    await built.start()
    await built.stop()
    assert built.entry.tokens is None
