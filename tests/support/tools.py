"""Programs that tests call: beside this interpreter, in a `bin` of the import path (pip --target), or in PATH."""

from __future__ import annotations

import importlib.util
import shutil
import sys
from pathlib import Path


def found(name: str) -> str | None:
    """The program's path, or the name of an importable module; None where neither is here."""
    places = [Path(sys.executable).parent, *(Path(place) / "bin" for place in sys.path if place)]
    program = next((str(place / name) for place in places if (place / name).is_file()), None) or shutil.which(name)
    return program or (name if name.isidentifier() and importlib.util.find_spec(name) else None)


def tool(name: str) -> str:
    """The program's path. Tests that call it are marked `peer`, and skipped where it is missing."""
    program = found(name)
    assert program is not None, f"{name} is not here"
    return program
