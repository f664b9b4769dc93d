"""`auth-sidecar healthcheck`: one probe, for container engines that have no HTTP client at hand."""

from __future__ import annotations

import argparse
import sys

from proxy.cli.codes import FAILED, GOOD
from proxy.cli.running import config_of, exchange, find

_OK = 200


def run(arguments: argparse.Namespace) -> int:
    """Exit code 0 if ready (or alive, with `--live`), 1 if not, 3 if nobody answers."""
    path = "/healthz" if arguments.live else "/readyz"
    config = config_of(arguments.config)
    if config.admin.listen is None and config.health is not None:
        status, answer = exchange(config.health.listen, "GET", path, {"Host": "localhost", "Connection": "close"})
    else:
        status, answer = find(arguments.config).ask("GET", path)
    if status == _OK:
        return GOOD
    reasons = [f"{name}: {why}" for name, why in answer.get("credentials", {}).items()]
    if answer.get("draining"):
        reasons.append("stopping")
    print("not ready: " + ("; ".join(reasons) or f"status {status}"), file=sys.stderr)
    return FAILED
