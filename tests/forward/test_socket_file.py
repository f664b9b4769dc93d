"""Whose file a unix socket is."""

from __future__ import annotations

import os
import socket
import stat

import pytest

from proxy.forward.socket_file import SocketFile, private, remove_stale


def bound(path):
    with socket.socket(socket.AF_UNIX) as one:
        one.bind(str(path))


def test_what_is_no_socket_is_never_removed(tmp_path):
    path = tmp_path / "file"
    path.write_text("precious")
    with pytest.raises(FileExistsError):
        remove_stale(str(path))
    assert path.read_text() == "precious"
    remove_stale(str(tmp_path / "nothing"))


def test_a_socket_that_somebody_listens_on_is_never_removed(tmp_path):
    path = tmp_path / "socket"
    with socket.socket(socket.AF_UNIX) as alive:
        alive.bind(str(path))
        alive.listen()
        with pytest.raises(OSError, match="another process"):
            remove_stale(str(path))
    remove_stale(str(path))
    assert not path.exists()


def test_it_is_private_from_its_first_moment_until_somebody_lets_others_in(tmp_path):
    path = tmp_path / "socket"
    usual = os.umask(0)  # an operator's careless shell
    try:
        with private():
            bound(path)
    finally:
        assert os.umask(usual) == 0
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    SocketFile(str(path)).chmod(0o666)
    assert stat.S_IMODE(path.stat().st_mode) == 0o666


def test_what_stands_in_its_place_by_now_is_left_alone(tmp_path):
    path = tmp_path / "socket"
    bound(path)
    ours = SocketFile(str(path))
    path.rename(tmp_path / "kept")  # or its number might be given to the next
    bound(path)
    mode = stat.S_IMODE(path.stat().st_mode)
    ours.chmod(0o600 if mode != 0o600 else 0o666)
    ours.remove()
    assert stat.S_IMODE(path.stat().st_mode) == mode
    theirs = SocketFile(str(path))
    theirs.remove()
    assert not path.exists()
    theirs.remove()


def test_it_is_removed_once_though_the_next_one_there_is_given_its_number(tmp_path):
    path, kept = tmp_path / "socket", tmp_path / "kept"
    bound(path)
    os.link(path, kept)
    ours = SocketFile(str(path))
    ours.remove()
    os.link(kept, path)
    ours.remove()
    assert path.exists()
