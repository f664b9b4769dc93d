"""Secret references that are answered from the machine itself."""

from __future__ import annotations

import json
import logging
import os

import pytest

from proxy.config.schema import Secret
from proxy.config.secrets import SecretError, WatchedSecret, extract, is_local, named, padded, read_secret

TRIMMED = [
    ("s", "s"),
    ("s\n", "s"),
    ("s\r\n", "s"),
    ("s\r", "s\r"),
    ("s\n\n", "s\n"),
    ("s\r\n\r\n", "s\r\n"),
    ("\ns", "\ns"),
    (" s \n", " s "),
    ("ß\n", "ß"),
    ("a\nb\n", "a\nb"),
    ("\ufeffs", "s"),
    ("\ufeffs\r\n", "s"),
    ("s\ufeff", "s\ufeff"),
]


@pytest.mark.parametrize(("text", "secret"), TRIMMED)
def test_one_line_break_and_a_byte_order_mark_are_no_part_of_a_secret_wherever_it_comes_from(tmp_path, text, secret):
    path = tmp_path / "s"
    path.write_bytes(text.encode())
    (tmp_path / "json").write_text("\ufeff" + json.dumps({"a": [text]}))

    assert read_secret(Secret(file=str(path)), {}) == secret
    assert read_secret(Secret(file=str(tmp_path / "json"), json_pointer="/a/0"), {}) == secret
    assert read_secret(Secret(env="A"), {"A": text}) == secret
    assert read_secret(Secret(value=text), {}) == secret


@pytest.mark.parametrize("text", ["", "\n", "\r\n", "\ufeff", "\ufeff\n", " ", "\t\n\n", "a\0b", "a\udcff"])
def test_what_is_no_secret_is_refused_wherever_it_comes_from(text):
    for secret in (Secret(env="A"), Secret(value=text)):
        with pytest.raises(SecretError, match=f"^{named(secret)} "):
            read_secret(secret, {"A": text})


@pytest.mark.parametrize("text", [" s", "s ", "s\n", "\ts", "s\r", "s\u00a0", "\u200bs", "s\ufeff", "s\n\n"])
def test_a_secret_with_white_space_at_an_end_is_padded(text):
    assert padded(text)


@pytest.mark.parametrize(
    "text", ["s", "a b", "a\nb", "-----BEGIN KEY-----\nAA\n-----END KEY-----\n\n", '{"kty": "EC"}\n']
)
def test_a_key_of_several_lines_is_not(text):
    assert not padded(text)


def test_what_is_made_elsewhere_is_told_apart():
    assert [is_local(s) for s in (Secret(env="A"), Secret(file="f"), Secret(value="v"))] == [True] * 3
    assert [is_local(s) for s in (Secret(exec=("a",)), Secret(credential="c"))] == [False] * 2
    for secret in (Secret(exec=("hush",)), Secret(credential="c")):
        with pytest.raises(SecretError, match=rf"^{named(secret)} is not read here$"):
            read_secret(secret, {})


@pytest.mark.parametrize(
    ("pointer", "found"),
    [
        ("/a", "1"),
        ("/b/0/c~1d", "x"),
        ("/b/1", "2.5"),
        ("/", "blank"),
        ("/e~0", "tilde"),
        ("", None),
        ("/b/00", None),
        ("/b/9", None),
        ("/b/-", None),
        ("/z", None),
        ("/t", None),
        ("/n", None),
        ("/a/x", None),
    ],
)
def test_a_json_pointer_finds_one_string_or_number(pointer, found):
    text = '{"a": 1, "b": [{"c/d": "x"}, 2.5], "": "blank", "e~": "tilde", "t": true, "n": null}'
    if found is not None:
        assert extract(text, pointer, "it") == found
        return
    with pytest.raises(SecretError, match=r"^it has no"):
        extract(text, pointer, "it")


@pytest.mark.parametrize("text", ["hush", "[" * 100_000, '{"a": hush}'])
def test_what_is_no_json_is_told_without_being_shown(text):
    with pytest.raises(SecretError) as caught:
        extract(text, "/a", "the file f")
    assert str(caught.value) == "the file f holds no JSON"


def test_a_fifo_neither_blocks_nor_passes_for_a_secret(tmp_path):
    os.mkfifo(tmp_path / "fifo")
    with pytest.raises(SecretError, match="no regular file"):
        read_secret(Secret(file=str(tmp_path / "fifo")), {})


@pytest.mark.parametrize("content", [b"", b"\n", b"a\0b", b"\xff", b"x" * (1024 * 1024 + 1)])
def test_what_cannot_be_a_secret_is_refused(tmp_path, content):
    (tmp_path / "s").write_bytes(content)
    with pytest.raises(SecretError, match=r"^the file "):
        read_secret(Secret(file=str(tmp_path / "s")), {})


class Watch:
    """A watched file and the clock that it is watched by."""

    def __init__(self, path) -> None:
        self.path = path
        self.now = 0.0
        path.write_text("first")
        self.secret = WatchedSecret(Secret(file=str(path)), {}, lambda: self.now)

    def rewrite(self, text: str) -> None:
        fresh = self.path.with_suffix(".new")
        fresh.write_text(text)
        fresh.replace(self.path)


@pytest.fixture
def watch(tmp_path):
    return Watch(tmp_path / "secret")


def test_a_file_that_changes_gives_the_new_secret_within_a_second(watch):
    watch.rewrite("second")
    watch.now = 0.9
    assert watch.secret.current() == "first"
    watch.now = 1.0
    assert (watch.secret.current(), watch.secret.changes) == ("second", 1)


def test_a_file_that_is_touched_is_no_new_secret(watch):
    watch.rewrite("first\n")
    watch.now = 2.0
    assert (watch.secret.current(), watch.secret.changes) == ("first", 0)


@pytest.mark.parametrize("mishap", ["gone", "empty", "binary", "a directory"])
def test_the_last_good_secret_outlives_its_file_and_that_is_said_once(watch, caplog, mishap):
    watch.path.unlink()
    match mishap:
        case "empty":
            watch.path.write_text("")
        case "binary":
            watch.path.write_bytes(b"\xff\xff")
        case "a directory":
            watch.path.mkdir()
    with caplog.at_level(logging.DEBUG, "auth_sidecar.config"):
        for watch.now in (1.0, 2.0, 3.0):
            assert watch.secret.current() == "first"
    assert len(caplog.records) == 1
    assert "first" not in caplog.text
    watch.path.rmdir() if mishap == "a directory" else watch.path.unlink(missing_ok=True)
    watch.path.write_text("back again")
    watch.now = 4.0
    assert watch.secret.current() == "back again"


def test_a_config_map_swap_is_seen(tmp_path):
    """Kubernetes swaps a directory behind a symbolic link."""
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "token").write_text(name)
    (tmp_path / "data").symlink_to("one")
    now = [0.0]
    secret = WatchedSecret(Secret(file=str(tmp_path / "data" / "token")), {}, lambda: now[0])
    (tmp_path / "swap").symlink_to("two")
    (tmp_path / "swap").replace(tmp_path / "data")
    now[0] = 1.0
    assert secret.current() == "two"


def test_other_secrets_stay_as_they_are(tmp_path):
    environ = {"A": "x"}
    secret = WatchedSecret(Secret(env="A"), environ, lambda: 99.0)
    environ["A"] = "y"
    assert secret.current() == "x"
    with pytest.raises(SecretError):
        WatchedSecret(Secret(file=str(tmp_path / "no")), {}, lambda: 0.0)


def test_a_secret_cannot_be_printed(watch):
    assert "first" not in repr(watch.secret)
    assert repr(Secret(value="hush")) == "Secret(value)"
