"""The command line: words in, an exit code out."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Sequence
from importlib import import_module
from pathlib import Path

from proxy import __version__
from proxy.cli.codes import USAGE

_DEFAULT_CONFIG = "config.yaml"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command. `serve` is meant where none is named."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    parsed = _parser().parse_args(words)
    if parsed.command is None:
        parsed = _parser().parse_args([*words, "serve"])
    if parsed.config is None:
        parsed.config = Path(os.environ.get("AUTH_SIDECAR_CONFIG", _DEFAULT_CONFIG))
    run: Callable[[argparse.Namespace], int] = import_module(f"proxy.cli.{parsed.command}").run
    try:
        return run(parsed)
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return USAGE


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="auth-sidecar",
        description="A reverse proxy beside your app: every request leaves with the right, fresh credential.",
        epilog="Without a command: serve. Exit codes: 0 good, 1 failed, 2 usage, 3 the running instance cannot be reached, "
        "4 nothing matched, 78 configuration invalid.",
    )
    parser.add_argument("--version", action="version", version=f"auth-sidecar {__version__}")
    _add_config(parser, default=None)
    commands = parser.add_subparsers(dest="command", metavar="COMMAND")

    _command(commands, "serve", "run the proxy (the default)")

    check = _command(commands, "check", "say everything that is wrong with the configuration")
    check.add_argument("--json", action="store_true", help="one JSON document instead of text")
    check.add_argument("--strict", action="store_true", help="warnings count as mistakes")

    _command(commands, "schema", "print the JSON Schema of the configuration, for editors")

    sandbox = _command(commands, "sandbox", "run an authorization server and an echo API to try and test against")
    sandbox.add_argument("--host", default="127.0.0.1", help="where it listens (default: %(default)s)")
    sandbox.add_argument("--port", type=int, default=9911, help="default: %(default)s; 0 takes a free one")
    sandbox.add_argument("--serve", metavar="FILE", type=Path, help="run the sidecar with this configuration beside it")
    return parser


def _command(
    commands: argparse._SubParsersAction[argparse.ArgumentParser], name: str, what: str
) -> argparse.ArgumentParser:  # noqa: SLF001 - argparse gives the type no other name
    command = commands.add_parser(name, help=what, description=what[0].upper() + what[1:] + ".")
    _add_config(command, default=argparse.SUPPRESS)
    return command


def _add_config(parser: argparse.ArgumentParser, default: object) -> None:
    parser.add_argument(
        "-c", "--config", metavar="FILE", type=Path, default=default,
        help=f"the configuration (default: $AUTH_SIDECAR_CONFIG, else ./{_DEFAULT_CONFIG})",
    )  # fmt: skip
