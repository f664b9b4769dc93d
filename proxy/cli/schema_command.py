"""`auth-sidecar schema`: the JSON Schema that editors use."""

from __future__ import annotations

import argparse
import json

from proxy.cli.codes import GOOD
from proxy.config.json_schema import json_schema


def run(arguments: argparse.Namespace) -> int:
    """Print the schema."""
    del arguments
    print(json.dumps(json_schema(), indent=2, ensure_ascii=False))
    return GOOD
