"""Which places are refused because others may change what is kept there."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
import tempfile

import pytest

from proxy.tokens.store import disk
from proxy.tokens.store.permissions import NotPrivateError, require_private_directory

STRANGER = 4242


@pytest.fixture
def store(tmp_path):
    """A directory four deep, each level for us alone."""
    place = tmp_path
    for name in ("a", "b", "c", "store"):
        place /= name
        place.mkdir(mode=0o700)
    return place


def give_away(path, monkeypatch) -> None:
    """Let a path belong to another; who is not root may give nothing away, and becomes another one himself."""
    if os.geteuid() == 0:
        os.chown(path, STRANGER, -1, follow_symlinks=False)
    else:
        monkeypatch.setattr(os, "geteuid", lambda: STRANGER)


@pytest.mark.parametrize("mode", [0o700, 0o750, 0o755, 0o500, 0o2750, 0o1755])
def test_a_directory_that_only_we_may_write_to_is_good(store, mode):
    store.chmod(mode)
    require_private_directory(store)


@pytest.mark.parametrize("mode", [0o770, 0o702, 0o777, 0o1777, 0o2775, 0o720, 0o1770])
def test_a_directory_that_others_may_write_to_is_refused_with_the_command_that_mends_it(store, mode):
    """Sticky or not: who may add files can plant a record."""
    store.chmod(mode)
    with pytest.raises(NotPrivateError) as refusal:
        require_private_directory(store)
    assert refusal.value.strerror == f"others may write to {store} (mode {mode:04o})"
    assert refusal.value.mend == f"chmod go-w {store}"
    store.chmod(stat.S_IMODE(store.stat().st_mode) & ~0o022)
    require_private_directory(store)


@pytest.mark.parametrize("level", range(3))
@pytest.mark.parametrize(("mode", "good"), [(0o770, False), (0o777, False), (0o1777, True), (0o1770, True)])
def test_a_directory_above_may_be_open_only_where_it_is_sticky(store, level, mode, good):
    above = store.parents[level]
    above.chmod(mode)
    if good:
        require_private_directory(store)
    else:
        with pytest.raises(NotPrivateError, match=f"others may write to {above} "):
            require_private_directory(store)


@pytest.mark.parametrize("level", range(4))
def test_a_directory_of_another_is_refused_wherever_it_stands(store, level, monkeypatch):
    give_away([store, *store.parents][level], monkeypatch)
    with pytest.raises(NotPrivateError, match=r"belongs to uid \d+, and the sidecar runs as uid") as refusal:
        require_private_directory(store)
    assert "chown" in refusal.value.mend


def test_a_directory_that_is_not_there_yet_is_as_good_as_what_is_above_it(tmp_path):
    require_private_directory(tmp_path / "not" / "there")
    tmp_path.chmod(0o777)
    with pytest.raises(NotPrivateError):
        require_private_directory(tmp_path / "not" / "there")


def test_a_name_with_a_space_can_be_pasted(tmp_path):
    (tmp_path / "my store").mkdir()
    (tmp_path / "my store").chmod(0o777)
    with pytest.raises(NotPrivateError) as refusal:
        require_private_directory(tmp_path / "my store")
    assert refusal.value.mend == f"chmod go-w '{tmp_path}/my store'"


# ---- volumes ---------------------------------------------------------------------------------------------------------


@pytest.fixture
def open_path():
    """A directory that every user may pass through, unlike those of pytest."""
    with tempfile.TemporaryDirectory() as made:
        os.chmod(made, 0o755)
        yield made


@pytest.mark.skipif(os.geteuid() != 0 or sys.platform != "linux", reason="root alone mounts, and with Linux's unshare")
@pytest.mark.parametrize("mode", ["0777", "2775"])
def test_the_root_of_a_volume_may_be_open_if_the_directory_in_it_is_ours_alone(open_path, mode):
    """Kubernetes makes an emptyDir 0777, and any volume group-writable for its fsGroup; neither is ours to change."""
    worker = [sys.executable, "-m", "support.volume_worker", open_path, mode, str(STRANGER)]
    said = subprocess.run(
        ["unshare", "--mount", *worker],
        check=False,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    ).stdout
    others = f"belongs to uid {STRANGER + 1}, and the sidecar runs as uid {STRANGER} | chown -h {STRANGER}"
    instead = "name a directory in that volume, such as V/tokens: it is made for the sidecar alone"
    assert said.splitlines() == [
        "a directory of ours: kept, mode 0700",
        "two deep: kept, mode 0700",
        f"the volume itself: others may write to V (mode {mode}) | {instead}",
        "below an open directory: others may write to V/open (mode 0777) | chmod go-w V/open",
        "by a link of ours: kept, mode 0700",
        f"a directory of another: V/planted {others} V/planted, or run the sidecar as that user",
        f"by a link of another: V/planted-link {others} V/planted-link, or run the sidecar as that user",
        f"a file of another: V/tokens/crm.json {others} V/tokens/crm.json, or run the sidecar as that user",
    ]


# ---- links -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("relative", [True, False])
def test_a_link_is_as_good_as_the_place_where_it_leads(store, tmp_path, relative):
    link = tmp_path / "link"
    link.symlink_to("a/./b/../b/c/store/" if relative else store)
    require_private_directory(link)
    store.chmod(0o777)
    with pytest.raises(NotPrivateError, match=f"others may write to {store} "):
        require_private_directory(link)


def test_a_place_above_the_end_of_a_link_is_looked_at(store, tmp_path):
    (tmp_path / "link").symlink_to(store)
    store.parent.chmod(0o777)
    with pytest.raises(NotPrivateError, match=f"others may write to {store.parent} "):
        require_private_directory(tmp_path / "link")


def test_whoever_may_write_where_a_link_stands_decides_where_it_leads(store, tmp_path):
    between = tmp_path / "open"
    between.mkdir()
    (between / "link").symlink_to(store)
    between.chmod(0o777)
    with pytest.raises(NotPrivateError, match=f"others may write to {between} "):
        require_private_directory(between / "link")


def test_a_link_of_another_is_refused(store, tmp_path, monkeypatch):
    """In a sticky directory everybody may put links."""
    link = tmp_path / "link"
    link.symlink_to(store)
    give_away(link, monkeypatch)
    with pytest.raises(NotPrivateError, match="belongs to uid"):
        require_private_directory(link)


def test_a_way_back_at_the_end_does_not_make_an_open_directory_good(store, tmp_path):
    store.parent.chmod(0o1777)
    (tmp_path / "link").symlink_to(store / "..")
    with pytest.raises(NotPrivateError, match=f"others may write to {store.parent} "):
        require_private_directory(tmp_path / "link")


def test_links_in_a_circle_come_to_an_end(tmp_path):
    (tmp_path / "one").symlink_to("two")
    (tmp_path / "two").symlink_to("one")
    with pytest.raises(OSError, match="symbolic links"):
        require_private_directory(tmp_path / "one")


# ---- what the disk does with it --------------------------------------------------------------------------------------


def test_directories_that_we_make_are_for_us_alone_with_all_above_them(tmp_path):
    usual = os.umask(0)
    try:
        disk.make_directory(tmp_path / "x" / "y" / "z")
    finally:
        os.umask(usual)
    for made in ("x", "x/y", "x/y/z"):
        assert stat.S_IMODE((tmp_path / made).stat().st_mode) == 0o700


def test_nothing_is_made_in_an_open_directory(tmp_path):
    tmp_path.chmod(0o777)
    with pytest.raises(NotPrivateError):
        disk.make_directory(tmp_path / "x" / "y")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("mode", [0o620, 0o602, 0o666])
def test_a_file_that_others_may_write_to_is_not_read(store, mode):
    path = store / "crm.json"
    disk.replace(path, b"{}")
    path.chmod(mode)
    with pytest.raises(NotPrivateError, match=f"others may write to {path} "):
        disk.read(path)


def test_a_file_of_another_is_not_read(store, monkeypatch):
    path = store / "crm.json"
    disk.replace(path, b"{}")
    give_away(path, monkeypatch)
    with pytest.raises(NotPrivateError, match="belongs to uid"):
        disk.read(path)


def test_a_file_that_others_may_only_read_is_read(store):
    path = store / "crm.json"
    disk.replace(path, b"{}")
    path.chmod(0o644)
    assert disk.read(path) == b"{}"
