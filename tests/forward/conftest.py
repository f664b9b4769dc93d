from __future__ import annotations

import pytest
from support.recording_upstream import RecordingUpstream


@pytest.fixture
async def upstream():
    async with RecordingUpstream() as running:
        yield running
