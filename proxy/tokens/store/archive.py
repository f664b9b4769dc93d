"""All records of a store in one file, to move them to another store: encrypted always, and never with a place in it.

One line of JSON for each record: `{"name": "crm", "record": <envelope>}`. Within, a record is authenticated for the
archive, not for the store that it came from or goes to.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

import msgspec

from proxy.tokens.store.envelope import Envelope, EnvelopeError
from proxy.tokens.store.token_store import Grant, StoreError, TokenStore

_PLACE = "archive of "
_MODE = 0o600


class _Line(msgspec.Struct, frozen=True):
    name: str
    record: msgspec.Raw


def write_archive(path: Path, grants: Mapping[str, Grant], envelope: Envelope) -> None:
    """Write a new file, for us alone. Raises OSError, FileExistsError where there is one."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, _MODE)
    with os.fdopen(descriptor, "wb") as file:
        for name, grant in grants.items():
            sealed = envelope.seal(msgspec.json.encode(grant), _PLACE + name)
            file.write(msgspec.json.encode(_Line(name, msgspec.Raw(sealed))) + b"\n")
        file.flush()
        os.fsync(file.fileno())


def read_archive(path: Path, envelope: Envelope) -> dict[str, Grant]:
    """What such a file holds. Raises OSError, EnvelopeError: which line, and why."""
    grants = {}
    for number, text in enumerate(path.read_bytes().splitlines(), 1):
        try:
            line = msgspec.json.decode(text, type=_Line)
            opened = envelope.open(bytes(line.record), _PLACE + line.name)
            grants[line.name] = msgspec.json.decode(opened, type=Grant)
        except EnvelopeError as error:
            raise EnvelopeError(f"line {number}: {error}") from None
        except (ValueError, RecursionError):
            raise EnvelopeError(f"line {number}: this is no record; the file is damaged, or no archive") from None
    return grants


async def put(store: TokenStore, name: str, grant: Grant) -> bool:
    """Save a record unless the store has one of the same revision or a newer one. Raises StoreError."""
    held = await store.load(name)
    if held is not None and held.revision >= grant.revision:
        return False
    if not await store.save(name, grant):
        raise StoreError(f"{name}: a running process has saved a record meanwhile")
    return True
