"""Large reads, where the allocator keeps what it is given back."""

from __future__ import annotations

import ctypes
import gc

import pytest

from proxy.forward import malloc_tuning


@pytest.fixture
def fresh():
    malloc_tuning.read_size.cache_clear()
    yield
    malloc_tuning.read_size.cache_clear()


@pytest.mark.usefixtures("fresh")
def test_pieces_are_large_where_the_allocator_keeps_them(monkeypatch):
    told = []

    class Glibc:
        @staticmethod
        def mallopt(parameter, value):
            told.append((parameter, value))
            return 1

    monkeypatch.setattr(ctypes, "CDLL", lambda _: Glibc)
    assert malloc_tuning.read_size() == 128 * 1024
    assert {parameter for parameter, _ in told} == {-1, -2, -3}


@pytest.mark.usefixtures("fresh")
def test_pieces_are_small_where_it_cannot_be_told(monkeypatch):
    monkeypatch.setattr(ctypes, "CDLL", lambda _: object())
    assert malloc_tuning.read_size() == 64 * 1024


@pytest.mark.usefixtures("fresh")
def test_pieces_are_small_where_it_does_not_listen(monkeypatch):
    class Deaf:
        @staticmethod
        def mallopt(_parameter, _value):
            return 0

    monkeypatch.setattr(ctypes, "CDLL", lambda _: Deaf)
    assert malloc_tuning.read_size() == 64 * 1024


def test_what_is_free_is_given_back_where_the_allocator_can_be_told(monkeypatch):
    told = []

    class Glibc:
        @staticmethod
        def malloc_trim(kept):
            told.append(kept)
            return 1

    monkeypatch.setattr(ctypes, "CDLL", lambda _: Glibc)
    malloc_tuning.give_back()
    assert told == [0]
    monkeypatch.setattr(ctypes, "CDLL", lambda _: object())
    malloc_tuning.give_back()


def test_what_was_made_until_now_is_not_looked_at_again():
    before = gc.get_threshold()
    try:
        malloc_tuning.settle()
        assert gc.get_freeze_count() > 1000
        assert gc.get_threshold() == (700, 10, 30)
    finally:
        gc.unfreeze()
        gc.set_threshold(*before)


def test_memory_is_returned_where_there_may_be_some_and_not_too_often(monkeypatch):
    times: list[float] = []
    now = 0.0
    monkeypatch.setattr(malloc_tuning, "give_back", lambda: times.append(now))
    returned = malloc_tuning.Returned(every=2.0)
    for now in (1.0, 1.5, 2.0, 3.5, 4.0, 9.0):
        returned.freed = returned.freed or now != 9.0
        returned.sweep(now)
    assert times == [1.0, 3.5, 9.0]
    returned.sweep(99.0)
    assert len(times) == 3
