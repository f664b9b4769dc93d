from __future__ import annotations

from proxy.forward.held_response import MAX_HELD, HeldResponse
from proxy.http1.answer import read_answer


def head():
    return read_answer(b"HTTP/1.1 401 No\r\n\r\n", 0, 1000, 10)


def test_pieces_are_kept_in_order_until_the_end():
    held = HeldResponse(head(), [b"a"], done=False)
    held.add([b"b", b"c"], done=False)
    assert (held.body(), held.done, held.full) == (b"abc", False, False)
    held.add([], done=True)
    assert held.done
    assert not held.judged


def test_no_more_is_shown_than_the_bound_and_then_it_is_full():
    held = HeldResponse(head(), [b"x" * (MAX_HELD - 1)], done=False)
    assert not held.full
    held.add([b"yz"], done=False)
    assert held.full
    assert held.body() == b"x" * (MAX_HELD - 1) + b"y"
    assert held.pieces[-1] == b"yz", "nothing is lost for the app"
