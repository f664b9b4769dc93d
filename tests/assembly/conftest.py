"""A builder for each test."""

from __future__ import annotations

import pytest
from support.runtime_bench import Bench


@pytest.fixture
async def bench(tmp_path):
    made = Bench(tmp_path, {"KEY": "hush-key"})
    yield made
    if made.builder is not None:
        await made.builder.close()
