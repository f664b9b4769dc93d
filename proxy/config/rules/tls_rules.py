"""Rules of TLS: a certificate needs its key, and the files must be readable."""

from __future__ import annotations

from pathlib import Path

from proxy.config.address import is_host, no_host
from proxy.config.parse_context import ParseContext
from proxy.config.rules import checks
from proxy.config.schema import ClientTls, Config, ListenTls
from proxy.config.tree import every


def judge(config: Config, context: ParseContext) -> None:
    """Every rule of this subject."""
    for found in every(config):
        if isinstance(found.value, ClientTls | ListenTls):
            checks.pairs(("cert_file", "key_file"), found.value, found.path, context)
        if isinstance(found.owner, ClientTls | ListenTls) and isinstance(found.value, str):
            key = found.path[-1]
            if key == "server_name" and (found.value.startswith("[") or not is_host(found.value)):
                context.refuse(found.path, "this is no host name" if found.value.isascii() else no_host(found.value))
            elif str(key).endswith("_file"):
                reason = _unreadable(found.value)
                if reason:
                    context.refuse(found.path, f"the file {found.value} {reason}")


def _unreadable(name: str) -> str | None:
    try:
        path = Path(name)
        if not path.exists():
            return "does not exist"
        if not path.is_file():
            return "is no regular file"
        with path.open("rb"):
            return None
    except (OSError, ValueError):
        return "cannot be read"
