from __future__ import annotations

import asyncio

from proxy.forward.flow import APP_FULL, BODY_WAITS, UPSTREAM_FULL, Valve


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
    valve = Valve(transport)
    valve.open(BODY_WAITS)
    valve.shut(BODY_WAITS)
    valve.shut(UPSTREAM_FULL)
    valve.open(BODY_WAITS)
    assert transport.calls == ["pause"]
    valve.open(UPSTREAM_FULL)
    assert transport.calls == ["pause", "resume"]


def test_the_same_reason_twice_is_one_reason_and_all_can_go_at_once():
    transport = Transport()
    valve = Valve(transport)
    valve.shut(APP_FULL)
    valve.shut(APP_FULL)
    valve.shut(UPSTREAM_FULL)
    valve.open()
    assert transport.calls == ["pause", "resume"]
    assert valve.reasons == 0


def test_a_transport_that_is_closing_is_left_alone():
    transport = Transport()
    transport.closing = True
    valve = Valve(transport)
    valve.shut(APP_FULL)
    valve.open()
    assert transport.calls == []
