from __future__ import annotations

import pytest

from proxy.tokens.store.archive import put, read_archive, write_archive
from proxy.tokens.store.envelope import Envelope, EnvelopeError
from proxy.tokens.store.memory import MemoryTokenStore
from proxy.tokens.store.token_store import Grant, StoreError

GRANTS = {"crm": Grant(revision=3, refresh_token="secret"), "a b": Grant(revision=1, access_token="secret", key="pem")}
KEY = Envelope((b"k" * 32,))


def test_what_is_written_is_read_by_whoever_has_the_key(tmp_path):
    path = tmp_path / "records"
    write_archive(path, GRANTS, KEY)
    assert path.stat().st_mode & 0o777 == 0o600
    assert b"secret" not in path.read_bytes()
    assert read_archive(path, KEY) == GRANTS
    with pytest.raises(EnvelopeError, match=r"line 1: it is encrypted with key .* add that key"):
        read_archive(path, Envelope((b"o" * 32,)))
    with pytest.raises(FileExistsError):
        write_archive(path, GRANTS, KEY)


@pytest.mark.parametrize("text", [b"{", b"[]", b'{"name": "crm"}', b'{"name": "crm", "record": 1}'])
def test_what_is_no_archive_is_refused_by_its_line(tmp_path, text):
    path = tmp_path / "records"
    write_archive(path, GRANTS, KEY)
    with path.open("ab") as file:
        file.write(text + b"\n")
    with pytest.raises(EnvelopeError, match="line 3"):
        read_archive(path, KEY)


def test_a_record_under_another_name_does_not_open(tmp_path):
    path = tmp_path / "records"
    write_archive(path, GRANTS, KEY)
    path.write_bytes(path.read_bytes().replace(b'"crm"', b'"erp"'))
    with pytest.raises(EnvelopeError, match="belongs to another"):
        read_archive(path, KEY)


async def test_only_what_is_newer_is_put_into_a_store():
    store = MemoryTokenStore()
    assert await put(store, "crm", GRANTS["crm"])
    assert not await put(store, "crm", GRANTS["crm"])
    assert not await put(store, "crm", Grant(revision=2))
    assert await put(store, "crm", Grant(revision=4))


async def test_a_record_that_changes_meanwhile_is_not_replaced(monkeypatch):
    store = MemoryTokenStore()

    async def late(_name, _grant):
        return False

    monkeypatch.setattr(store, "save", late)
    with pytest.raises(StoreError, match="crm: a running process"):
        await put(store, "crm", GRANTS["crm"])
