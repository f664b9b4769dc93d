"""Where log records go."""

from __future__ import annotations

import io
import json
import logging
import sys
import threading
import unicodedata
import warnings

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from proxy.cli import logs
from proxy.config.schema import Log


@pytest.fixture(autouse=True)
def as_it_was():
    ours, root = logging.getLogger("auth_sidecar"), logging.getLogger()
    before = (ours.handlers[:], ours.level, ours.propagate, logging.raiseExceptions)
    others = (root.handlers[:], root.level, sys.unraisablehook, threading.excepthook)
    yield
    ours.handlers[:], ours.level, ours.propagate, logging.raiseExceptions = before
    root.handlers[:], root.level, sys.unraisablehook, threading.excepthook = others


def test_json_lines_hold_time_level_room_and_message(capsys):
    logs.set_up(Log(format="json"))
    logging.getLogger("auth_sidecar.tokens").warning("two\nlines: %s", "x")
    said = capsys.readouterr().err
    entry = json.loads(said)
    assert said.count("\n") == 1
    assert (entry["level"], entry["logger"], entry["message"]) == ("warning", "tokens", "two\nlines: x")
    assert entry["time"].endswith("Z")


def test_what_a_library_warns_of_is_a_record_like_all_others(capsys):
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        logs.set_up(Log(format="json"))
        warnings.warn("The key is weak", UserWarning, stacklevel=1)
    entry = json.loads(capsys.readouterr().err)
    assert (entry["level"], entry["logger"], entry["message"]) == ("warning", "libraries", "The key is weak")


def test_a_record_brings_members_of_its_own(capsys):
    logs.set_up(Log(format="json"))
    logging.getLogger("auth_sidecar.access").info("GET /", extra={"members": {"method": "GET", "status": 502}})
    entry = json.loads(capsys.readouterr().err)
    assert (entry["message"], entry["method"], entry["status"]) == ("GET /", "GET", 502)


def test_text_is_one_readable_line(capsys):
    logs.set_up(Log(format="text"))
    logging.getLogger("auth_sidecar.app").info("hello")
    assert capsys.readouterr().err[8:] == " info    app: hello\n"


@pytest.mark.parametrize("form", ["text", "json"])
def test_the_traceback_of_a_defect_is_kept(capsys, form):
    logs.set_up(Log(format=form))
    try:
        dict[str, int]()["x"]
    except KeyError:
        logging.getLogger("auth_sidecar.app").exception("defect")
    assert "KeyError" in capsys.readouterr().err


def test_auto_is_text_on_a_terminal_and_json_elsewhere(monkeypatch):
    logs.set_up(Log())
    assert isinstance(logging.getLogger("auth_sidecar").handlers[0].formatter, logs.JsonFormatter)
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    logs.set_up(Log())
    assert isinstance(logging.getLogger("auth_sidecar").handlers[0].formatter, logs.TextFormatter)


def test_the_level_and_the_format_can_be_set_up_again(capsys):
    logs.set_up(Log(level="error", format="json"))
    logging.getLogger("auth_sidecar.app").warning("not this")
    logs.set_up(Log(level="debug", format="text"))
    logging.getLogger("auth_sidecar.app").debug("this")
    said = capsys.readouterr().err
    assert "not this" not in said
    assert said.endswith(" debug   app: this\n")


def test_a_closed_standard_error_makes_no_traceback(monkeypatch):
    stream = io.StringIO()
    monkeypatch.setattr("sys.stderr", stream)
    logs.set_up(Log())
    stream.close()
    logging.getLogger("auth_sidecar.app").info("nobody hears this")


def _to(stream):
    (handler,) = logging.getLogger("auth_sidecar").handlers
    assert isinstance(handler, logs.Handler)
    handler.setStream(stream)


def _logged(form, message, *values, **members):
    stream = io.StringIO()
    logs.set_up(Log(format=form))
    _to(stream)
    extra = {"members": members} if members else None
    logging.getLogger("auth_sidecar.access").warning(message, *values, extra=extra)
    return stream.getvalue()


def _unseen(text):
    """What a terminal may act on or a person cannot see."""
    return [char for char in text if unicodedata.category(char) in {"Cc", "Cf", "Cs", "Zl", "Zp"} and char != "\n"]


_ANY = st.text(st.characters(), max_size=40)


@given(_ANY, _ANY)
@example("\x85\x9b2J", "\x7f")
@example("\x1b[2J\r", "\u2028")
@example("\ud800", "\u202e")
def test_json_holds_whatever_was_sent_and_shows_no_control(path, other):
    said = _logged("json", "GET %s", path, path=other)

    assert not _unseen(said)
    assert said.count("\n") == 1
    said.encode()
    entry = json.loads(said)
    if not any("\ud800" <= char <= "\udfff" for char in path + other):
        assert (entry["message"], entry["path"]) == (f"GET {path}", other)


@given(_ANY)
@example("x\n12:00:00 error   app: forged")
@example("\x85\x9b2J\x7f\x1b[2J\r\u2028")
@example("\ud800")
def test_text_shows_no_control_and_no_line_passes_for_another(path):
    said = _logged("text", "GET %s", path)

    assert not _unseen(said.replace("\t", ""))
    said.encode()
    assert all(line.startswith("  ") for line in said.splitlines()[1:])


def test_the_octets_of_a_target_that_are_c1_controls_are_escaped_in_both_forms():
    path = bytes(range(0x80, 0xA0)).decode("latin-1")

    assert r"\x80\x81" in _logged("text", "GET %s", path)
    assert r"\u0080\u0081" in _logged("json", "GET %s", path)


@pytest.mark.parametrize("form", ["text", "json"])
def test_what_people_write_is_shown_as_it_is(form):
    assert "Jos\u00e9 \u65e5\u672c \U0001f600" in _logged(form, "hello %s", "Jos\u00e9 \u65e5\u672c \U0001f600")


@pytest.mark.parametrize("form", ["text", "json"])
def test_the_message_of_an_exception_is_escaped_too(form):
    stream = io.StringIO()
    logs.set_up(Log(format=form))
    _to(stream)

    def fail() -> None:
        raise ValueError("\x9b2J\n12:00:00 error   app: forged")

    try:
        fail()
    except ValueError:
        logging.getLogger("auth_sidecar.app").exception("defect")

    assert not _unseen(stream.getvalue())
    assert all(line.startswith("  ") for line in stream.getvalue().splitlines()[1:])


@pytest.mark.parametrize("name", ["asyncio", "aiohttp.server", "aiohttp.access", "aiohttp.web", "anything"])
def test_what_libraries_log_is_a_json_line_too(capsys, name):
    logs.set_up(Log(format="json"))
    logging.getLogger(name).debug("not this")
    logging.getLogger(name).error("two\nlines", exc_info=ValueError("x"))

    entry = json.loads(capsys.readouterr().err)

    assert (entry["level"], entry["logger"], entry["message"]) == ("error", name, "two\nlines")


@pytest.mark.parametrize("message", ["socket.send() raised exception.", "SSL connection is closed"])
def test_a_peer_that_has_gone_is_no_news_however_often_asyncio_tells_of_it(capsys, message):
    logs.set_up(Log(format="json", level="debug"))
    logging.getLogger("asyncio").warning(message)
    logging.getLogger("asyncio").warning("another thing")
    assert [json.loads(line)["message"] for line in capsys.readouterr().err.splitlines()] == ["another thing"]


def test_setting_up_again_leaves_one_handler_and_that_of_others(capsys):
    others = logging.NullHandler()
    logging.getLogger().addHandler(others)
    logs.set_up(Log(format="json"))
    logs.set_up(Log(format="json"))
    logging.getLogger("asyncio").error("once")

    assert capsys.readouterr().err.count("once") == 1
    assert others in logging.getLogger().handlers


def test_what_fails_where_nobody_can_be_told_is_a_record(capsys):
    class Broken:
        def __del__(self) -> None:
            raise ValueError("s3cret")

    def fail() -> None:
        raise KeyError("s3cret")

    logs.set_up(Log(format="json"))
    logs.take_unraisable()
    Broken()
    thread = threading.Thread(target=fail)
    thread.start()
    thread.join()

    said = capsys.readouterr().err
    entries = [json.loads(line) for line in said.splitlines()]
    assert [entry["message"].rpartition(" ")[2] for entry in entries] == ["ValueError", "KeyError"]
    assert "s3cret" not in said
