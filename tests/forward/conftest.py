from __future__ import annotations

import time
import types

import pytest
from support.recording_upstream import RecordingUpstream

from proxy.forward import answering, asking, downstream, exchange, lingering_close, outgoing, proxy_server, tunnel


@pytest.fixture
async def upstream():
    async with RecordingUpstream() as running:
        yield running


@pytest.fixture
def later(monkeypatch):
    """Call it with seconds: for the data path so much more time has passed. Deadlines that a busy machine cannot miss.

    The loop's own timers know nothing of it: the sweep comes when it comes, within `proxy_server.SWEEP_EVERY`.
    """
    ahead = 0.0

    def now() -> float:
        return time.monotonic() + ahead

    def passes(seconds: float) -> None:
        nonlocal ahead
        ahead += seconds

    for room in (answering, asking, exchange, lingering_close, outgoing, downstream, tunnel):
        monkeypatch.setattr(room, "_clock", now)
    monkeypatch.setattr(proxy_server, "time", types.SimpleNamespace(monotonic=now))
    return passes
