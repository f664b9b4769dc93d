"""Settings that a reload cannot change: the listeners and the store."""

from __future__ import annotations

from pathlib import Path

from proxy.config import schema
from proxy.errors import ConfigurationError


def refuse_fixed(old: schema.Config, new: schema.Config) -> None:
    """Raises ConfigurationError for changes that need a restart: a reload is all or nothing."""
    fixed = {
        "listen": (old.listen, new.listen),
        "reuse_port": (old.reuse_port, new.reuse_port),
        "admin.listen": (old.admin.listen, new.admin.listen),
        "health": (old.health, new.health),
        "update": (old.update, new.update),
        "store": (old.store, new.store),
    }
    changed = [name for name, (before, after) in fixed.items() if before != after]
    if changed:
        raise ConfigurationError(f"changed while running: {', '.join(changed)}; restart auth-sidecar to apply it")


def refuse_pipe(path: Path) -> None:
    """Raises ConfigurationError if the file is a pipe: opening it again could block for ever."""
    if path.is_fifo():
        raise ConfigurationError(f"{path}: a pipe cannot be read again")
