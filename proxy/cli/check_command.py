"""`auth-sidecar check`: every mistake of the configuration in one run; with `--online`, whether peers answer."""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import sys

from proxy.assembly.unusable import UnusableError
from proxy.cli.codes import FAILED, GOOD, INVALID_CONFIGURATION
from proxy.cli.online import Finding, tried
from proxy.config.load import Loaded, load, located
from proxy.config.report import InvalidConfigurationError, Problem, render, to_json
from proxy.errors import ConfigurationError


def run(arguments: argparse.Namespace) -> int:
    """Exit code 0 or 78, with `--strict` for warnings too; 1 where `--online` met something that does not work."""
    problems: tuple[Problem, ...]
    loaded: Loaded | None = None
    findings: list[Finding] = []
    try:
        loaded = load(arguments.config, os.environ)
        problems = loaded.warnings
        good = not (arguments.strict and problems)
        findings = asyncio.run(tried(loaded, os.environ, online=arguments.online and good))
    except InvalidConfigurationError as error:
        problems, good = tuple(error.problems), False
    except UnusableError as error:
        problems, good = (*located(arguments.config, os.environ, error.errors).problems, *problems), False
    except ConfigurationError as error:  # found out by making the objects: it has no place in the file
        problems = (*problems, Problem(file=str(arguments.config), line=1, column=1, path="", message=str(error)))
        good = False
    works = all(finding.works is not False for finding in findings)
    if arguments.json:
        online = [finding.as_json() for finding in findings]
        document = {"valid": good, "problems": to_json(problems), **({"online": online} if arguments.online else {})}
        print(json.dumps(document, indent=2))
    else:
        if problems:
            print(render(problems), file=sys.stdout if good else sys.stderr)
        if good:
            print("\n".join([f"{arguments.config}: good", *(finding.as_text() for finding in findings)]))
    if not good:
        return INVALID_CONFIGURATION
    return GOOD if works else FAILED
