from __future__ import annotations

from proxy.http1 import repeats
from proxy.http1.repeats import Notes, Repeats


def test_only_what_comes_again_is_kept():
    memory: Repeats[str] = Repeats()
    assert not memory.offer(b"a", "first")
    assert memory.get(b"a") is None
    assert memory.offer(b"a", "second")
    assert memory.get(b"a") == "second"


def test_heads_of_which_each_is_its_own_leave_nothing_behind():
    memory: Repeats[int] = Repeats()
    for number in range(10_000):
        memory.offer(b"%d" % number, number)
    assert len(memory) == 0
    assert len(memory._glimpsed) <= repeats._MOST_GLIMPSED


def test_what_is_kept_is_bounded_in_number_and_size():
    memory: Repeats[int] = Repeats()
    for number in range(1_000):
        for _ in range(2):
            memory.offer(b"%d" % number, number)
    large = b"x" * (repeats._LARGEST_KEPT + 1)
    for _ in range(2):
        memory.offer(large, 0)
    assert 0 < len(memory) <= repeats._MOST_KEPT
    assert memory.get(large) is None


def test_it_can_be_emptied():
    memory: Repeats[int] = Repeats()
    for _ in range(2):
        memory.offer(b"a", 1)
    memory.clear()
    assert memory.get(b"a") is None


def test_notes_are_bounded_in_octets_over_all_readings():
    memory = Notes(most=100_000)
    readings: list[dict[object, bytes]] = [{} for _ in range(256)]
    highest = 0
    for route in range(120):
        for notes in readings:
            memory.keep(notes, route, bytes(2048))
            assert notes[route] == bytes(2048)
            held = sum(len(octets) for notes in readings for octets in notes.values()) if route % 40 == 0 else 0
            highest = max(highest, held)
    assert 50_000 < highest <= 100_000
    memory.clear()
    assert not any(readings)
    assert memory.size == 0


def test_notes_on_readings_that_are_gone_count_until_all_are_dropped():
    memory = Notes(most=10_000)
    for _ in range(100):
        memory.keep({}, "route", bytes(2048))
        assert memory.size <= 10_000
