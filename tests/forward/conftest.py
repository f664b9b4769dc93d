from __future__ import annotations

import pytest
from support.clock import AheadClock
from support.recording_upstream import RecordingUpstream


@pytest.fixture
async def upstream():
    async with RecordingUpstream() as running:
        yield running


@pytest.fixture
def later() -> AheadClock:
    """The clock of a gate whose deadlines a test brings about: call it with seconds."""
    return AheadClock()
