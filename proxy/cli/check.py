"""`auth-sidecar check`: every mistake of the configuration in one run."""

from __future__ import annotations

import argparse
import json
import os
import sys

from proxy.cli.codes import GOOD, INVALID_CONFIGURATION
from proxy.config.load import load
from proxy.config.report import InvalidConfigurationError, Problem, render, to_json


def run(arguments: argparse.Namespace) -> int:
    """Exit code 0 or 78; with `--strict` warnings are mistakes."""
    problems: tuple[Problem, ...]
    try:
        problems = load(arguments.config, os.environ).warnings
        good = not (arguments.strict and problems)
    except InvalidConfigurationError as error:
        problems, good = tuple(error.problems), False
    if arguments.json:
        print(json.dumps({"valid": good, "problems": to_json(problems)}, indent=2))
    elif problems:
        print(render(problems), file=sys.stdout if good else sys.stderr)
    if good and not arguments.json:
        print(f"{arguments.config}: good")
    return GOOD if good else INVALID_CONFIGURATION
