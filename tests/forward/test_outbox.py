from __future__ import annotations

import asyncio
import selectors
import socket
from contextlib import closing

import pytest

from proxy.forward.outbox import Gathered, GatheringLoop, Outbox, SendingSelector, gathered


class Wire(asyncio.Transport):
    """Notes what is done to it."""

    def __init__(self) -> None:
        super().__init__()
        self.done: list[bytes | str] = []

    def write(self, data):
        self.done.append(bytes(data))

    def write_eof(self):
        self.done.append("eof")

    def close(self):
        self.done.append("close")

    def abort(self):
        self.done.append("abort")

    def get_write_buffer_size(self):
        self.done.append("size")
        return 7


@pytest.fixture
def outbox():
    outbox = Outbox()
    outbox.gathering = True
    return outbox


def test_small_writes_wait_for_the_end_of_the_turn_and_go_out_in_one_piece(outbox):
    wire = Wire()
    transport = Gathered(wire, outbox)
    transport.write(b"a")
    transport.write(b"b")
    assert wire.done == []
    outbox.send()
    assert wire.done == [b"ab"]
    outbox.send()
    assert wire.done == [b"ab"]


def test_a_turn_with_one_connection_sends_at_once(outbox):
    wire = Wire()
    outbox.gathering = False
    Gathered(wire, outbox).write(b"a")
    assert wire.done == [b"a"]


@pytest.mark.parametrize("end", ["write_eof", "close", "abort", "get_write_buffer_size"])
def test_what_ends_or_measures_a_connection_comes_behind_what_was_written(outbox, end):
    wire = Wire()
    transport = Gathered(wire, outbox)
    transport.write(b"last words")
    getattr(transport, end)()
    assert wire.done[0] == b"last words"
    assert len(wire.done) == 2
    outbox.send()
    assert len(wire.done) == 2


def test_long_octets_go_at_once_behind_the_small_ones_before_them(outbox):
    wire = Wire()
    transport = Gathered(wire, outbox)
    transport.write(b"head")
    transport.write(bytes(20_000))
    assert wire.done == [b"head", bytes(20_000)]


def test_many_small_writes_do_not_pile_up(outbox):
    wire = Wire()
    transport = Gathered(wire, outbox)
    for _ in range(20):
        transport.write(bytes(1000))
    assert wire.done == [bytes(17_000)]


@pytest.mark.parametrize("kind", [bytearray, memoryview])
def test_a_buffer_that_its_owner_may_fill_anew_is_not_kept(outbox, kind):
    wire = Wire()
    own = bytearray(b"first")
    transport = Gathered(wire, outbox)
    transport.write(b"head ")
    transport.write(kind(own))
    own[:] = b"other"
    outbox.send()
    assert wire.done == [b"head ", b"first"]


def test_no_more_than_a_handful_of_messages_wait_for_each_other(outbox):
    wires = [Wire() for _ in range(20)]
    for wire in wires:
        Gathered(wire, outbox).write(b"a")
    assert [wire.done for wire in wires] == [[b"a"]] * 16 + [[]] * 4


def test_connections_send_in_the_order_in_which_they_wrote(outbox):
    wire = Wire()
    first, second = Gathered(wire, outbox), Gathered(wire, outbox)
    first.write(b"1")
    second.write(b"2")
    first.write(b"1")
    outbox.send()
    assert wire.done == [b"11", b"2"]


def test_the_loop_sends_before_it_waits():
    """Two readable sockets make a turn in which writes wait; the loop has nothing else to do after it."""
    pairs = [socket.socketpair() for _ in range(2)]

    async def main() -> list[bytes]:
        loop = asyncio.get_running_loop()
        waited: list[bool] = []

        class Echo(asyncio.Protocol):
            def connection_made(self, transport):
                self.transport = gathered(transport)

            def data_received(self, data):
                waited.append(loop.outbox.gathering)  # type: ignore[attr-defined]
                self.transport.write(data)

        transports = [(await loop.create_connection(Echo, sock=ours))[0] for _, ours in pairs]
        for number, (theirs, _) in enumerate(pairs):
            theirs.send(b"%d" % number)
            theirs.settimeout(0)
        answers = [await asyncio.wait_for(loop.sock_recv(theirs, 10), 30) for theirs, _ in pairs]
        for transport in transports:
            transport.close()
        assert waited == [True, True]
        return answers

    with asyncio.Runner(loop_factory=GatheringLoop) as runner:
        assert runner.run(main()) == [b"0", b"1"]
    for theirs, _ in pairs:
        theirs.close()


def test_what_sending_sets_going_is_not_slept_over(outbox, monkeypatch):
    """A send that fails schedules the end of its connection, after the loop has decided how long to sleep."""
    naps = []

    def no_nap(_, timeout):
        naps.append(timeout)
        return []

    monkeypatch.setattr(selectors.DefaultSelector, "select", no_nap)
    Gathered(Wire(), outbox).write(b"a")
    with closing(SendingSelector(outbox)) as selector:
        selector.select(30)
        selector.select(30)
    assert naps == [0, 30]


def test_what_is_written_because_of_what_is_sent_does_not_wait_for_another_turn(outbox, monkeypatch):
    monkeypatch.setattr(selectors.DefaultSelector, "select", lambda *_: [])
    other = Wire()

    class Answered(Wire):
        def write(self, data):
            super().write(data)
            Gathered(other, outbox).write(b"b")

    Gathered(Answered(), outbox).write(b"a")
    with closing(SendingSelector(outbox)) as selector:
        selector.select(0)
    assert other.done == [b"b"]


def test_a_connection_that_cannot_be_written_to_ends_alone(outbox, caplog):
    class Ended(Wire):
        def write(self, data):
            raise RuntimeError(data)

    ended, good = Ended(), Wire()
    for wire in (ended, good):
        Gathered(wire, outbox).write(b"s3cret")
    outbox.send()
    assert ended.done == ["abort"]
    assert good.done == [b"s3cret"]
    assert "RuntimeError" in caplog.text
    assert "s3cret" not in caplog.text


def test_on_any_other_loop_the_transport_is_used_as_it_is():
    async def main() -> None:
        wire = Wire()
        assert gathered(wire) is wire

    with asyncio.Runner(loop_factory=asyncio.SelectorEventLoop) as runner:
        runner.run(main())
