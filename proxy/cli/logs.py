"""Where log records go: standard error; text on a terminal, else JSON lines.

All records go through one handler, those of libraries too, and this is the one place where what strangers send (a path,
a name, an issuer's word) becomes part of a line. No character reaches the line that a terminal acts on or that a person
cannot see: C0 and C1 controls, DEL, line separators, direction overrides, lone surrogates. They are written as escapes.
"""

from __future__ import annotations

import json
import logging
import sys
import threading
import time
import warnings
from typing import TextIO

from proxy.config.schema import Log

_ROOT = "auth_sidecar"
_OF_PEERS = frozenset({"socket.send() raised exception.", "SSL connection is closed"})
"""asyncio's warning at each write after a peer has gone. Dropped: any peer could flood the log with it."""


class Handler(logging.StreamHandler[TextIO]):
    """Our handler, a class of its own so that it can be found and replaced."""


class TextFormatter(logging.Formatter):
    """`12:34:56 warning tokens: …`. Further lines of a record are indented, so that none looks like a record."""

    def format(self, record: logging.LogRecord) -> str:
        """One line; the traceback of an internal error follows it."""
        moment = time.strftime("%H:%M:%S", time.localtime(record.created))
        text = f"{record.levelname.lower():7} {_room(record)}: {record.getMessage()}"
        if record.exc_info:
            text += f"\n{self.formatException(record.exc_info)}"
        return moment + " " + "\n  ".join(map(_escaped, text.split("\n")))


class JsonFormatter(logging.Formatter):
    """One JSON object per line: time (RFC 3339, UTC), level, logger, message, and the record's own `members`."""

    def format(self, record: logging.LogRecord) -> str:
        """One line, whatever characters the message has."""
        moment = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created)) + f".{int(record.msecs):03d}Z"
        entry = {
            "time": moment,
            "level": record.levelname.lower(),
            "logger": _room(record),
            "message": record.getMessage(),
            **getattr(record, "members", {}),
        }
        if record.exc_info:
            entry["exception"] = self.formatException(record.exc_info)
        return _json_escaped(json.dumps(entry, ensure_ascii=False, default=repr))


def set_up(log: Log) -> None:
    """Send all records to standard error as configured; calling it again replaces what was set up before.

    Of libraries, warnings and worse: what they tell besides is of no use to who runs the program.
    """
    text = log.format == "text" or (log.format == "auto" and sys.stderr.isatty())
    handler = Handler(sys.stderr)
    handler.setFormatter(TextFormatter() if text else JsonFormatter())
    handler.addFilter(_is_news)
    ours = logging.getLogger(_ROOT)
    ours.handlers[:] = [handler]
    ours.setLevel(log.level.upper())
    ours.propagate = False
    root = logging.getLogger()
    root.handlers[:] = [other for other in root.handlers if not isinstance(other, Handler)] + [handler]
    root.setLevel(max(ours.level, logging.WARNING))
    logging.raiseExceptions = False  # a closed standard error must not become a traceback
    warnings.showwarning = _warned


def take_unraisable() -> None:
    """Log errors in finalizers and threads as records: the interpreter would print them itself."""
    sys.unraisablehook = _failed
    threading.excepthook = _failed


def _is_news(record: logging.LogRecord) -> bool:
    return record.name != "asyncio" or record.msg not in _OF_PEERS


def _warned(message: Warning | str, *_: object, **__: object) -> None:
    """Log a library's warning (of a weak key, say) as a record."""
    logging.getLogger(f"{_ROOT}.libraries").warning("%s", message)


def _failed(failure: sys.UnraisableHookArgs | threading.ExceptHookArgs) -> None:
    """Neither has anybody whom it could be told."""
    logging.getLogger(f"{_ROOT}.libraries").error("internal error, please report: %s", failure.exc_type.__name__)


def _room(record: logging.LogRecord) -> str:
    return record.name.removeprefix(_ROOT + ".")


def _escaped(line: str) -> str:
    """A line in which a person sees every character; those that cannot be shown as Python writes them."""
    if line.isprintable():
        return line
    return "".join(
        char if char.isprintable() or char == "\t" else char.encode("unicode_escape").decode() for char in line
    )


def _json_escaped(line: str) -> str:
    """The same of a JSON text, with JSON's own escapes (RFC 8259 §7).

    Half of a surrogate pair has none that every reader takes: it is written as text.
    """
    if line.isprintable():
        return line
    return "".join(char if char.isprintable() else _json_escape(char) for char in line)


def _json_escape(char: str) -> str:
    if "\ud800" <= char <= "\udfff":
        return f"\\\\u{ord(char):04x}"
    return json.dumps(char)[1:-1]
