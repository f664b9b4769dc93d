import os

import pytest

from proxy.file_stamp import stamp_at, stamp_of


def test_nothing_has_no_stamp(tmp_path):
    assert stamp_at(tmp_path / "missing") is None


def test_a_file_that_stays_as_it_is_keeps_its_stamp(tmp_path):
    file = tmp_path / "file"
    file.write_text("one")
    first = stamp_at(file)
    assert file.read_text() == "one"
    file.chmod(0o600)
    assert stamp_at(str(file)) == first == stamp_of(file.stat())


def longer(file):
    file.write_text("longer")


def at_another_time(file):
    before = file.stat()
    file.write_text("two")
    os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns + 1))


def replaced_with_its_time_and_size(file):
    before = file.stat()
    fresh = file.with_name("fresh")
    fresh.write_text("two")
    os.utime(fresh, ns=(before.st_atime_ns, before.st_mtime_ns))
    fresh.rename(file)


@pytest.mark.parametrize("change", [longer, at_another_time, replaced_with_its_time_and_size])
def test_another_version_has_another_stamp(tmp_path, change):
    file = tmp_path / "file"
    file.write_text("one")
    first = stamp_at(file)
    change(file)
    assert stamp_at(file) != first


def test_links_are_followed(tmp_path):
    (tmp_path / "a").write_text("one")
    (tmp_path / "b").write_text("one")
    link = tmp_path / "link"
    link.symlink_to("a")
    first = stamp_at(link)
    link.unlink()
    link.symlink_to("b")
    assert first == stamp_at(tmp_path / "a") != stamp_at(link) == stamp_at(tmp_path / "b")
