"""The command line: arguments in, an exit code out."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Sequence
from importlib import import_module
from pathlib import Path

from proxy import __version__
from proxy.cli.codes import FAILED, INVALID_CONFIGURATION, UNREACHABLE
from proxy.cli.command_errors import UnreachableError
from proxy.errors import ConfigurationError

_DEFAULT_CONFIG = "config.yaml"
_EPILOG = """\
Without a command: serve.

exit codes: 0 good, 1 failed, 2 usage, 3 the running instance cannot be reached, 4 nothing matched,
78 configuration invalid
"""

_Commands = argparse._SubParsersAction  # noqa: SLF001 - argparse gives the type no other name


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; `serve` if none is named."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    parsed = _parser().parse_args(words)
    if parsed.command is None:
        parsed = _parser().parse_args([*words, "serve"])
    if parsed.config is None:
        parsed.config = Path(os.environ.get("AUTH_SIDECAR_CONFIG") or _DEFAULT_CONFIG)
    run: Callable[[argparse.Namespace], int] = import_module(f"proxy.cli.{parsed.command}_command").run
    try:
        code = run(parsed)
        if sys.stdout is not None:
            sys.stdout.flush()
    except ConfigurationError as error:
        print(error, file=sys.stderr)
        return INVALID_CONFIGURATION
    except UnreachableError as error:
        print(error, file=sys.stderr)
        return UNREACHABLE
    except KeyboardInterrupt:
        return 130
    except OSError as error:  # nobody reads on, or the disk is full
        if not isinstance(error, BrokenPipeError):
            print(f"auth-sidecar {parsed.command}: {error.strerror or error}", file=sys.stderr)
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # what is still to be written is not tried again
        return FAILED
    return code


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="auth-sidecar",
        description="A reverse proxy beside your app: every request leaves with the right, fresh credential.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"auth-sidecar {__version__}")
    _add_config(parser, default=None)
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", title="commands")
    _about_the_file(commands)
    _about_the_running_instance(commands)
    return parser


def _about_the_file(commands: _Commands[argparse.ArgumentParser]) -> None:
    _command(commands, "serve", "run the proxy (the default)")

    check = _command(commands, "check", "say everything that is wrong with the configuration")
    check.add_argument(
        "--online", action="store_true", help="also ask every issuer for a token and connect to every upstream"
    )
    check.add_argument("--json", action="store_true", help="one JSON document instead of text")
    check.add_argument("--strict", action="store_true", help="warnings count as mistakes")

    _command(commands, "schema", "print the JSON Schema of the configuration, for editors")
    _command(commands, "init", "write a small configuration to start from; never overwrites one")
    _command(commands, "routes", "list the routes: what they match, where they lead, with which credential")

    explain = _command(commands, "explain", "say which route a request has and what would be sent, without sending it")
    explain.add_argument("method", metavar="METHOD", help="such as GET")
    explain.add_argument(
        "url", metavar="URL", help="as your app asks the sidecar: /crm/x, or http://127.0.0.1:8080/crm/x"
    )
    explain.add_argument(
        "-H",
        "--header",
        metavar="'NAME: VALUE'",
        type=_field,
        action="append",
        default=[],
        help="a header field of the app's request",
    )

    store = _command(commands, "store", "move the records of the configured store to a file, or from one")
    moves = store.add_subparsers(dest="action", metavar="ACTION", title="actions", required=True)
    for action, what in (
        ("export", "write all records to a new file, encrypted"),
        ("import", "put the records of such a file into the store; none that is newer there is replaced"),
    ):
        move = moves.add_parser(action, help=what, description=what[0].upper() + what[1:] + ".")
        move.add_argument("file", metavar="FILE", type=Path, help="the file of records")
        move.add_argument(
            "--key-file", metavar="FILE", type=Path,
            help="holds the key of that file: 32 bytes in base64 (default: store.encryption_key)",
        )  # fmt: skip

    sandbox = _command(commands, "sandbox", "run an authorization server and an echo API to try and test against")
    sandbox.add_argument("--host", default="127.0.0.1", help="where it listens (default: %(default)s)")
    sandbox.add_argument("--port", type=_port, default=9911, help="default: %(default)s; 0 takes a free one")
    sandbox.add_argument("--serve", metavar="FILE", type=Path, help="run the sidecar with this configuration beside it")


def _about_the_running_instance(commands: _Commands[argparse.ArgumentParser]) -> None:
    status = _command(commands, "status", "show the running instance: credentials and routes")
    status.add_argument("--watch", action="store_true", help="again every two seconds, until interrupted")
    status.add_argument("--json", action="store_true", help="the document of GET /status")

    token = _command(commands, "token", "show, renew or push the token of a credential of the running instance")
    actions = token.add_subparsers(dest="action", metavar="ACTION", title="actions", required=True)
    show = _command(actions, "show", "print the token; only of a credential with `vend: true`")
    refresh = _command(actions, "refresh", "renew it now")
    push = _command(
        actions, "push", "put in a token from standard input: the token itself, or the JSON of a token response"
    )
    for action in (show, refresh, push):
        action.add_argument("name", metavar="NAME", help="the credential")
    push.add_argument(
        "--expires-in", metavar="SECONDS", type=int, help="how long the token lives, where only it is given"
    )
    push.add_argument(
        "--guard-file", metavar="FILE", type=Path,
        help="holds the secret or JWT that guards updates (default: update.secret of the configuration)",
    )  # fmt: skip

    login = _command(
        commands,
        "login",
        "ask a person for the first token of a credential, in their browser or with a code for another device",
    )
    login.add_argument("name", metavar="NAME", help="the credential: type oauth2, grant_type refresh_token")
    way = login.add_mutually_exclusive_group()
    way.add_argument(
        "--browser", action="store_true", help="a page to open, which leads back to this machine (authorization code)"
    )
    way.add_argument("--device", action="store_true", help="a short code to enter on any device (device authorization)")
    login.add_argument(
        "--timeout", metavar="SECONDS", type=float, default=300.0,
        help="how long the person has (default: %(default)g)",
    )  # fmt: skip

    _command(commands, "reload", "let the running instance read its configuration anew")

    health = _command(commands, "healthcheck", "0 if the running instance is ready, 1 if it is not, 3 if there is none")
    health.add_argument("--live", action="store_true", help="alive is enough, ready or not")


def _command(commands: _Commands[argparse.ArgumentParser], name: str, what: str) -> argparse.ArgumentParser:
    command = commands.add_parser(name, help=what, description=what[0].upper() + what[1:] + ".")
    _add_config(command, default=argparse.SUPPRESS)
    return command


def _add_config(parser: argparse.ArgumentParser, default: object) -> None:
    parser.add_argument(
        "-c", "--config", metavar="FILE", type=Path, default=default,
        help=f"the configuration (default: $AUTH_SIDECAR_CONFIG, else ./{_DEFAULT_CONFIG})",
    )  # fmt: skip


def _field(text: str) -> str:
    if ":" not in text:
        raise argparse.ArgumentTypeError(f"{text!r} has no colon")
    return text


def _port(text: str) -> int:
    number = int(text)
    if not 0 <= number < 1 << 16:
        raise argparse.ArgumentTypeError(f"{number} is no port")
    return number
