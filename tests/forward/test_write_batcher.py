from __future__ import annotations

import asyncio
import selectors
import socket
from contextlib import closing

import pytest

from proxy.forward.write_batcher import BatchedTransport, BatchingLoop, SendingSelector, WriteBatcher, batched


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
def batcher():
    batcher = WriteBatcher()
    batcher.gathering = True
    return batcher


def test_small_writes_wait_for_the_end_of_the_turn_and_go_out_in_one_piece(batcher):
    wire = Wire()
    transport = BatchedTransport(wire, batcher)
    transport.write(b"a")
    transport.write(b"b")
    assert wire.done == []
    batcher.send()
    assert wire.done == [b"ab"]
    batcher.send()
    assert wire.done == [b"ab"]


def test_a_turn_with_one_connection_sends_at_once(batcher):
    wire = Wire()
    batcher.gathering = False
    BatchedTransport(wire, batcher).write(b"a")
    assert wire.done == [b"a"]


@pytest.mark.parametrize("end", ["write_eof", "close", "abort", "get_write_buffer_size"])
def test_what_ends_or_measures_a_connection_comes_behind_what_was_written(batcher, end):
    wire = Wire()
    transport = BatchedTransport(wire, batcher)
    transport.write(b"last words")
    getattr(transport, end)()
    assert wire.done[0] == b"last words"
    assert len(wire.done) == 2
    batcher.send()
    assert len(wire.done) == 2


def test_long_octets_go_at_once_behind_the_small_ones_before_them(batcher):
    wire = Wire()
    transport = BatchedTransport(wire, batcher)
    transport.write(b"head")
    transport.write(bytes(20_000))
    assert wire.done == [b"head", bytes(20_000)]


def test_many_small_writes_do_not_pile_up(batcher):
    wire = Wire()
    transport = BatchedTransport(wire, batcher)
    for _ in range(20):
        transport.write(bytes(1000))
    assert wire.done == [bytes(17_000)]


@pytest.mark.parametrize("kind", [bytearray, memoryview])
def test_a_buffer_that_its_owner_may_fill_anew_is_not_kept(batcher, kind):
    wire = Wire()
    own = bytearray(b"first")
    transport = BatchedTransport(wire, batcher)
    transport.write(b"head ")
    transport.write(kind(own))
    own[:] = b"other"
    batcher.send()
    assert wire.done == [b"head ", b"first"]


def test_no_more_than_a_handful_of_messages_wait_for_each_other(batcher):
    wires = [Wire() for _ in range(20)]
    for wire in wires:
        BatchedTransport(wire, batcher).write(b"a")
    assert [wire.done for wire in wires] == [[b"a"]] * 16 + [[]] * 4


def test_connections_send_in_the_order_in_which_they_wrote(batcher):
    wire = Wire()
    first, second = BatchedTransport(wire, batcher), BatchedTransport(wire, batcher)
    first.write(b"1")
    second.write(b"2")
    first.write(b"1")
    batcher.send()
    assert wire.done == [b"11", b"2"]


def test_the_loop_sends_before_it_waits():
    """Two readable sockets make a turn in which writes wait; the loop has nothing else to do after it."""
    pairs = [socket.socketpair() for _ in range(2)]

    async def main() -> list[bytes]:
        loop = asyncio.get_running_loop()
        waited: list[bool] = []

        class Echo(asyncio.Protocol):
            def connection_made(self, transport):
                self.transport = batched(transport)

            def data_received(self, data):
                waited.append(loop.batcher.gathering)  # type: ignore[attr-defined]
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

    with asyncio.Runner(loop_factory=BatchingLoop) as runner:
        assert runner.run(main()) == [b"0", b"1"]
    for theirs, _ in pairs:
        theirs.close()


def test_what_sending_sets_going_is_not_slept_over(batcher, monkeypatch):
    """A send that fails schedules the end of its connection, after the loop has decided how long to sleep."""
    naps = []

    def no_nap(_, timeout):
        naps.append(timeout)
        return []

    monkeypatch.setattr(selectors.DefaultSelector, "select", no_nap)
    BatchedTransport(Wire(), batcher).write(b"a")
    with closing(SendingSelector(batcher)) as selector:
        selector.select(30)
        selector.select(30)
    assert naps == [0, 30]


def test_what_is_written_because_of_what_is_sent_does_not_wait_for_another_turn(batcher, monkeypatch):
    monkeypatch.setattr(selectors.DefaultSelector, "select", lambda *_: [])
    other = Wire()

    class Answered(Wire):
        def write(self, data):
            super().write(data)
            BatchedTransport(other, batcher).write(b"b")

    BatchedTransport(Answered(), batcher).write(b"a")
    with closing(SendingSelector(batcher)) as selector:
        selector.select(0)
    assert other.done == [b"b"]


def test_a_connection_that_cannot_be_written_to_ends_alone(batcher, caplog):
    class Ended(Wire):
        def write(self, data):
            raise RuntimeError(data)

    ended, good = Ended(), Wire()
    for wire in (ended, good):
        BatchedTransport(wire, batcher).write(b"s3cret")
    batcher.send()
    assert ended.done == ["abort"]
    assert good.done == [b"s3cret"]
    assert "RuntimeError" in caplog.text
    assert "s3cret" not in caplog.text


def test_on_any_other_loop_the_transport_is_used_as_it_is():
    async def main() -> None:
        wire = Wire()
        assert batched(wire) is wire

    with asyncio.Runner(loop_factory=asyncio.SelectorEventLoop) as runner:
        runner.run(main())
