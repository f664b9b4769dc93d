"""Where log records go: standard error; text for a person at a terminal, JSON lines for everything else."""

from __future__ import annotations

import json
import logging
import sys
import time
import warnings

from proxy.config.schema import Log

_ROOT = "auth_sidecar"


class TextFormatter(logging.Formatter):
    """As in `12:34:56 warning tokens: …`."""

    def format(self, record: logging.LogRecord) -> str:
        """One line, and the traceback of a defect of ours behind it."""
        moment = time.strftime("%H:%M:%S", time.localtime(record.created))
        line = f"{moment} {record.levelname.lower():7} {_room(record)}: {record.getMessage()}"
        return line + (f"\n{self.formatException(record.exc_info)}" if record.exc_info else "")


class JsonFormatter(logging.Formatter):
    """One JSON object per line: time (RFC 3339, UTC), level, logger, message, and the record's own `members`."""

    def format(self, record: logging.LogRecord) -> str:
        """One line, whatever the message holds."""
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
        return json.dumps(entry, ensure_ascii=False)


def set_up(log: Log) -> None:
    """Send our records to standard error as configured; calling it again replaces what was set up before."""
    text = log.format == "text" or (log.format == "auto" and sys.stderr.isatty())
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(TextFormatter() if text else JsonFormatter())
    root = logging.getLogger(_ROOT)
    root.handlers[:] = [handler]
    root.setLevel(log.level.upper())
    root.propagate = False
    logging.raiseExceptions = False  # a closed standard error must not become a traceback
    warnings.showwarning = _warned


def _warned(message: Warning | str, *_: object, **__: object) -> None:
    """What a library warns of (a weak key) is a record like all others."""
    logging.getLogger(f"{_ROOT}.libraries").warning("%s", message)


def _room(record: logging.LogRecord) -> str:
    return record.name.removeprefix(_ROOT + ".")
