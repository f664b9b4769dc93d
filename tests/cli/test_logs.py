"""Where log records go."""

from __future__ import annotations

import io
import json
import logging
import sys
import warnings

import pytest

from proxy.cli import logs
from proxy.config.schema import Log


@pytest.fixture(autouse=True)
def as_it_was():
    root = logging.getLogger("auth_sidecar")
    before = (root.handlers[:], root.level, root.propagate, logging.raiseExceptions)
    yield
    root.handlers[:], root.level, root.propagate, logging.raiseExceptions = before


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
