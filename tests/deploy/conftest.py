"""What is shipped in deploy/ and the Dockerfile, read by the programs that it is written for."""

from __future__ import annotations

from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parent.parent.parent


@pytest.fixture(scope="session")
def repository():
    return REPOSITORY
