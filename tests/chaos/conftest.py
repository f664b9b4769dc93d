"""What the tests of chaos have in common."""

from __future__ import annotations

import sys

import pytest


@pytest.fixture
def tell(capsys, request):
    """A line for who waits at the terminal."""

    def say(line):
        with capsys.disabled():
            sys.stderr.write(f"{request.node.name}: {line}\n")

    return say
