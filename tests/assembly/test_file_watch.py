"""Looking at a file: what counts as a change, however it was made."""

from __future__ import annotations

import os

import pytest

from proxy.assembly.file_watch import FileWatch


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "config.yaml"
    path.write_text("one")
    return path


def test_nothing_has_changed_until_something_has(file):
    watch = FileWatch(file)
    assert not watch.changed()
    file.write_text("two two")
    assert watch.changed()
    assert not watch.changed()


def test_a_file_that_was_only_touched_has_not_changed(file):
    watch = FileWatch(file)
    os.utime(file, (1, 1))
    assert not watch.changed()


def test_a_file_of_the_same_size_and_time_is_told_apart_by_its_inode(file, tmp_path):
    watch = FileWatch(file)
    status = file.stat()
    other = tmp_path / "other"
    other.write_text("two")
    os.utime(other, ns=(status.st_atime_ns, status.st_mtime_ns))
    other.replace(file)
    assert watch.changed()


def test_links_are_followed_so_that_every_swap_of_them_is_seen(tmp_path):
    for name in ("one", "two", "three"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "config.yaml").write_text(name)
    data = tmp_path / "..data"
    data.symlink_to("one")
    link = tmp_path / "config.yaml"
    link.symlink_to("..data/config.yaml")
    watch = FileWatch(link)
    for name in ("two", "three", "one"):
        (tmp_path / "new").symlink_to(name)
        (tmp_path / "new").replace(data)
        assert watch.changed()
        assert not watch.changed()


def test_a_file_that_is_gone_for_a_moment_has_not_changed(file):
    watch = FileWatch(file)
    file.unlink()
    assert not watch.changed()
    file.write_text("one")
    assert not watch.changed()
    file.unlink()
    file.write_text("two")
    os.utime(file, ns=(5, 5))  # older systems count time in milliseconds
    assert watch.changed()


def test_a_file_that_appears_later_has_changed(tmp_path):
    watch = FileWatch(tmp_path / "later")
    (tmp_path / "later").write_text("x")
    assert watch.changed()


def test_what_is_there_after_a_word_to_forget_has_changed(file):
    watch = FileWatch(file)
    watch.forget()
    assert watch.changed()
    assert not watch.changed()


def test_a_pipe_is_left_to_whoever_reads_the_configuration_from_it(tmp_path):
    path = tmp_path / "pipe"
    os.mkfifo(path)
    with os.fdopen(os.open(path, os.O_RDWR | os.O_NONBLOCK), "r+b", buffering=0) as pipe:
        pipe.write(b"routes: []")
        assert not FileWatch(path).changed()
        assert pipe.read(100) == b"routes: []"
