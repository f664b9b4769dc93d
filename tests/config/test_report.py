"""Problems as text and as JSON."""

from __future__ import annotations

import json

from proxy.config.report import InvalidConfigurationError, Problem, render, to_json
from proxy.errors import ConfigurationError

ERROR = Problem(file="c.yaml", line=7, column=5, path="a.b", message="bad", hint="mend it", excerpt="b: x", caret=3)
WARNING = Problem(file="c.yaml", line=1, column=1, path="", message="odd", severity="warning")


def test_a_problem_is_its_place_its_line_with_a_caret_and_its_mend():
    assert render([ERROR, WARNING]) == "c.yaml:7:5: bad\n    b: x\n       ^\n  mend it\nc.yaml:1:1: warning: odd"


def test_programs_get_the_same_as_json():
    first, second = json.loads(json.dumps(to_json([ERROR, WARNING])))
    assert first == {
        "file": "c.yaml",
        "line": 7,
        "column": 5,
        "path": "a.b",
        "message": "bad",
        "hint": "mend it",
        "severity": "error",
    }
    assert second["severity"] == "warning"


def test_the_error_is_the_report():
    error = InvalidConfigurationError([ERROR])
    assert isinstance(error, ConfigurationError)
    assert (str(error), error.problems) == (render([ERROR]), (ERROR,))
