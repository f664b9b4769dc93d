"""`auth-sidecar reload`: let the running instance read its configuration anew."""

from __future__ import annotations

import argparse
import sys

from proxy.cli.codes import FAILED, GOOD, INVALID_CONFIGURATION
from proxy.cli.command_errors import RefusedError
from proxy.cli.running import find

_UNUSABLE = 422


def run(arguments: argparse.Namespace) -> int:
    """Exit code 0; 78 where the new configuration cannot be used, and the old one stays; 1 and 3 as everywhere."""
    try:
        find(arguments.config).must("POST", "/reload")
    except RefusedError as error:
        print(error if error.status == _UNUSABLE else f"the running instance refused: {error}", file=sys.stderr)
        return INVALID_CONFIGURATION if error.status == _UNUSABLE else FAILED
    print("reloaded")
    return GOOD
