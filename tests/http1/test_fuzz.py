"""The fuzzer's properties on the tests' samples and on a few hundred inputs: it is to be fit when it is needed."""

from __future__ import annotations

import pytest
from fuzz.http1 import READERS, one_input, samples
from hypothesis import given
from hypothesis import strategies as st


@pytest.mark.parametrize("reader", range(len(READERS)))
def test_every_reader_has_samples_and_holds_on_them(reader):
    mine = [sample for sample in samples() if sample[0] == reader]

    assert mine
    for sample in mine:
        for cut in range(reader, 256, len(READERS)):
            one_input(bytes([cut]) + sample[1:])


@given(st.binary(max_size=200))
def test_every_reader_holds_on_anything(data):
    for reader in range(len(READERS)):
        one_input(bytes([reader]) + data)


SAMPLES = st.sampled_from(samples())


@given(SAMPLES, SAMPLES, st.data())
def test_every_reader_holds_on_samples_that_were_spliced(one, other, draw):
    start, end = draw.draw(st.integers(1, len(one))), draw.draw(st.integers(0, len(other)))

    one_input(one[:start] + other[end:])
