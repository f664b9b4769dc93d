"""`auth-sidecar store`: records go from one store to another by an encrypted file, and no token is printed."""

from __future__ import annotations

import asyncio
import base64

import pytest

from proxy.clock import SystemClock
from proxy.tokens.store.envelope import Envelope
from proxy.tokens.store.file import FileTokenStore
from proxy.tokens.store.token_store import Grant

KEY, OTHER = (base64.b64encode(octet * 32).decode() for octet in (b"k", b"o"))
GRANT = Grant(revision=5, generation=2, access_token="secret-access", refresh_token="secret-refresh")
CREDENTIALS = {name: {"type": "external", "update": {"secret": {"value": "hush"}}} for name in ("crm", "erp")}


def config(store, **more):
    routes = [{"match": "/a", "upstream": "https://api.example", "credential": "crm"}]
    return {"routes": routes, "credentials": CREDENTIALS, "store": store, **more}


@pytest.fixture
def filled(tmp_path):
    """A file store with one record."""
    path = tmp_path / "state"
    envelope = Envelope.from_lines(KEY)
    asyncio.run(FileTokenStore(path, envelope, SystemClock()).save("crm", GRANT))
    return {"type": "file", "path": str(path), "encryption_key": {"value": KEY}}


@pytest.mark.peer("redis-server")
def test_records_move_from_files_to_redis_and_back(command, written, filled, tmp_path, redis_server):
    prefix = f"{tmp_path.name}:".replace("_", "-")
    redis = {
        "type": "redis",
        "url": {"value": redis_server.url},
        "encryption_key": {"value": OTHER},
        "key_prefix": prefix,
    }
    (tmp_path / "key").write_text(KEY)
    archive = str(tmp_path / "records")
    written(config(filled))
    said = command("store", "export", archive)
    assert (said.code, said.out) == (0, f"{archive}: 1 record (crm)\n")
    written(config(redis))
    said = command("store", "import", archive, "--key-file", str(tmp_path / "key"))
    assert (said.code, said.out) == (0, "crm: saved\n")
    raw = redis_server.raw()
    assert b"secret" not in raw.get(f"{prefix}{{crm}}")
    raw.close()
    said = command("store", "import", archive, "--key-file", str(tmp_path / "key"))
    assert (said.code, said.out) == (0, "crm: kept as it is, the store holds one that is as new or newer\n")
    assert command("store", "export", archive + "2").code == 0
    elsewhere = {"type": "file", "path": str(tmp_path / "elsewhere"), "encryption_key": {"value": OTHER}}
    written(config(elsewhere))
    assert command("store", "import", archive + "2").out == "crm: saved\n"
    store = FileTokenStore(tmp_path / "elsewhere", Envelope.from_lines(OTHER), SystemClock())
    assert asyncio.run(store.load("crm")) == GRANT


def test_nothing_is_ever_written_plainly_or_over_another_file(command, written, filled, tmp_path):
    written(config({key: filled[key] for key in ("type", "path")}))
    said = command("store", "export", str(tmp_path / "records"))
    assert (said.code, said.out) == (78, "")
    assert "always encrypted" in said.err
    (tmp_path / "records").write_text("mine")
    written(config(filled))
    said = command("store", "export", str(tmp_path / "records"))
    assert (said.code, said.err) == (1, f"{tmp_path / 'records'}: file exists\n")
    assert (tmp_path / "records").read_text() == "mine"


@pytest.mark.parametrize("action", ["export", "import"])
def test_where_there_is_nothing_to_move_the_code_is_4(command, written, filled, tmp_path, action):
    records = tmp_path / "records"
    if action == "import":
        written(config(filled))
        command("store", "export", str(records))
        others = config({**filled, "path": str(tmp_path / "empty")})
        others["credentials"] = {"other": CREDENTIALS["crm"]}
        others["routes"][0]["credential"] = "other"
        written(others)
    else:
        written(config({**filled, "path": str(tmp_path / "empty")}))
    said = command("store", action, str(records))
    assert (said.code, said.out) == (4, "")
    assert "no record of any credential" in said.err


def test_what_cannot_be_read_is_told_with_its_place(command, written, filled, tmp_path):
    written(config(filled))
    said = command("store", "import", str(tmp_path / "none"))
    assert (said.code, said.err) == (1, f"{tmp_path / 'none'}: no such file or directory\n")
    (tmp_path / "bad").write_text("{}")
    said = command("store", "import", str(tmp_path / "bad"))
    assert said.code == 1
    assert "bad: line 1: this is no record" in said.err
    said = command("store", "import", str(tmp_path / "bad"), "--key-file", str(tmp_path / "none"))
    assert (said.code, said.err) == (78, f"{tmp_path / 'none'}: no such file or directory\n")
    written(config({"type": "memory"}))
    said = command("store", "export", str(tmp_path / "x"))
    assert said.code == 78
    assert "keeps nothing to move" in said.err


def test_a_store_that_fails_is_told(command, written, filled, tmp_path):
    written(config(filled))
    (tmp_path / "state" / "crm.json").write_text("{")
    said = command("store", "export", str(tmp_path / "records"))
    assert said.code == 1
    assert "crm.json cannot be used" in said.err
    assert not (tmp_path / "records").exists()
