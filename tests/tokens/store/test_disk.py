"""What the store asks of the disk, where the store's own tests do not reach."""

from __future__ import annotations

import errno
import os
import threading
import time

import pytest

from proxy.file_stamp import stamp_at
from proxy.tokens.store import disk


def test_a_replaced_file_has_another_stamp(tmp_path):
    path = tmp_path / "a"
    assert stamp_at(path) is None
    disk.replace(path, b"1")
    first = stamp_at(path)
    disk.replace(path, b"2")
    assert stamp_at(path) != first
    assert disk.read(path) == b"2"


def test_a_lock_that_never_comes_free_is_an_error(tmp_path):
    with (
        disk.locked(tmp_path / "lock", 0, time.monotonic),
        pytest.raises(disk.BusyError),
        disk.locked(tmp_path / "lock", 0.02, time.monotonic),
    ):
        pass


def test_a_lock_is_had_as_soon_as_it_is_free(tmp_path):
    held, free, order = threading.Event(), threading.Event(), []

    def first() -> None:
        with disk.locked(tmp_path / "lock", 0, time.monotonic):
            held.set()
            free.wait(5)
            order.append("first")

    thread = threading.Thread(target=first)
    thread.start()
    held.wait(5)
    free.set()
    with disk.locked(tmp_path / "lock", 5, time.monotonic):
        order.append("second")
    thread.join()
    assert order == ["first", "second"]


@pytest.mark.parametrize(("number", "passes"), [(errno.EINVAL, True), (errno.EIO, False)])
def test_a_directory_that_cannot_be_synced_matters_only_where_it_could_be(tmp_path, monkeypatch, number, passes):
    """No disk fails on demand: fsync is what we replace here, for directories only."""
    real = os.fsync

    def failing(descriptor: int) -> None:
        if os.fstat(descriptor).st_mode & 0o040000:
            raise OSError(number, "no")
        real(descriptor)

    monkeypatch.setattr(os, "fsync", failing)
    if passes:
        disk.replace(tmp_path / "a", b"1")
    else:
        with pytest.raises(OSError, match="no"):
            disk.replace(tmp_path / "a", b"1")
    assert disk.read(tmp_path / "a") == b"1"


def test_a_file_in_the_place_of_the_directory_holds_no_record(tmp_path):
    (tmp_path / "tokens").write_text("")

    assert disk.read(tmp_path / "tokens" / "crm.json") is None
