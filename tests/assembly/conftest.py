"""A workshop for each test."""

from __future__ import annotations

import pytest
from support.workshop import Bench


@pytest.fixture
async def bench(tmp_path):
    made = Bench(tmp_path, {"KEY": "hush-key"})
    yield made
    if made.workshop is not None:
        await made.workshop.close()
