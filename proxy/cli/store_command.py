"""`auth-sidecar store export|import`: move the records of the configured store by a file. Never prints a token."""

from __future__ import annotations

import argparse
import asyncio
import os
import sys
from pathlib import Path

from proxy.assembly.stores import make_store, read_envelope
from proxy.cli.codes import FAILED, GOOD, NO_MATCH
from proxy.clock import SystemClock
from proxy.config import schema
from proxy.config.load import Loaded, load
from proxy.errors import ConfigurationError
from proxy.tokens.store.archive import put, read_archive, write_archive
from proxy.tokens.store.envelope import Envelope, EnvelopeError
from proxy.tokens.store.token_store import StoreError


def run(arguments: argparse.Namespace) -> int:
    """Exit code 0; 1 where something failed; 4 where there is no record to move; 78 for the configuration."""
    loaded = load(arguments.config, os.environ)
    if isinstance(loaded.config.store, schema.MemoryStore):
        raise ConfigurationError(f"{arguments.config}: the store is `type: memory`, which keeps nothing to move")
    envelope = _envelope(loaded, arguments.key_file)
    work = _export if arguments.action == "export" else _import
    try:
        return asyncio.run(work(loaded, arguments.file, envelope))
    except (StoreError, EnvelopeError) as error:
        print(f"{arguments.file}: {error}" if isinstance(error, EnvelopeError) else error, file=sys.stderr)
    except OSError as error:
        print(f"{arguments.file}: {(error.strerror or 'cannot be used').lower()}", file=sys.stderr)
    return FAILED


def _envelope(loaded: Loaded, key_file: Path | None) -> Envelope:
    """What the file is sealed with. Raises ConfigurationError where there is no key: it is never written plainly."""
    if key_file is not None:
        try:
            return Envelope.from_lines(key_file.read_text())
        except (OSError, ValueError) as error:
            reason = getattr(error, "strerror", None) or "not a text"
            raise ConfigurationError(f"{key_file}: {reason.lower()}") from None
    store = loaded.config.store
    if isinstance(store, schema.MemoryStore) or store.encryption_key is None:
        raise ConfigurationError("the file of records is always encrypted: give --key-file, or store.encryption_key")
    return read_envelope(store, os.environ)


async def _export(loaded: Loaded, file: Path, envelope: Envelope) -> int:
    store = make_store(loaded.config.store, os.environ, SystemClock())
    try:
        found = {name: await store.load(name) for name in loaded.config.credentials}
    finally:
        await store.close()
    grants = {name: grant for name, grant in found.items() if grant is not None}
    if not grants:
        print("the store holds no record of any credential of this configuration", file=sys.stderr)
        return NO_MATCH
    write_archive(file, grants, envelope)
    print(f"{file}: {_records(len(grants))} ({', '.join(grants)})")
    return GOOD


async def _import(loaded: Loaded, file: Path, envelope: Envelope) -> int:
    grants = read_archive(file, envelope)
    ours = {name: grant for name, grant in grants.items() if name in loaded.config.credentials}
    for name in grants.keys() - ours.keys():
        print(f"{name}: passed over, there is no credential of that name", file=sys.stderr)
    if not ours:
        print(f"{file}: holds no record of any credential of this configuration", file=sys.stderr)
        return NO_MATCH
    store = make_store(loaded.config.store, os.environ, SystemClock())
    try:
        for name, grant in ours.items():
            done = await put(store, name, grant)
            print(f"{name}: {'saved' if done else 'kept as it is, the store holds one that is as new or newer'}")
    finally:
        await store.close()
    return GOOD


def _records(number: int) -> str:
    return "1 record" if number == 1 else f"{number} records"
