"""`auth-sidecar reload`: make the running instance read its configuration again."""

from __future__ import annotations

import argparse
import sys

from proxy.cli.codes import FAILED, GOOD, INVALID_CONFIGURATION
from proxy.cli.command_errors import RefusedError
from proxy.cli.running import find

_UNUSABLE = 422


def run(arguments: argparse.Namespace) -> int:
    """Exit code 0; 78 if the new configuration cannot be used (the old one stays); 1 if refused; 3 if unreachable."""
    try:
        find(arguments.config).must("POST", "/reload")
    except RefusedError as error:
        print(error if error.status == _UNUSABLE else f"the running instance refused: {error}", file=sys.stderr)
        return INVALID_CONFIGURATION if error.status == _UNUSABLE else FAILED
    print("reloaded")
    return GOOD
