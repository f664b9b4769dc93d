from __future__ import annotations

import asyncio

from proxy.forward.flow_control import APP_FULL, BODY_WAITS, UPSTREAM_FULL, FlowControl


class Transport(asyncio.Transport):
    def __init__(self) -> None:
        super().__init__()
        self.calls: list[str] = []
        self.closing = False

    def is_closing(self) -> bool:
        return self.closing

    def pause_reading(self) -> None:
        self.calls.append("pause")

    def resume_reading(self) -> None:
        self.calls.append("resume")


def test_reading_goes_on_when_the_last_reason_is_gone():
    transport = Transport()
    flow = FlowControl(transport)
    flow.open(BODY_WAITS)
    flow.shut(BODY_WAITS)
    flow.shut(UPSTREAM_FULL)
    flow.open(BODY_WAITS)
    assert transport.calls == ["pause"]
    flow.open(UPSTREAM_FULL)
    assert transport.calls == ["pause", "resume"]


def test_the_same_reason_twice_is_one_reason_and_all_can_go_at_once():
    transport = Transport()
    flow = FlowControl(transport)
    flow.shut(APP_FULL)
    flow.shut(APP_FULL)
    flow.shut(UPSTREAM_FULL)
    flow.open()
    assert transport.calls == ["pause", "resume"]
    assert flow.reasons == 0


def test_a_transport_that_is_closing_is_left_alone():
    transport = Transport()
    transport.closing = True
    flow = FlowControl(transport)
    flow.shut(APP_FULL)
    flow.open()
    assert transport.calls == []
