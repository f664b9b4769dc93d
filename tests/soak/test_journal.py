from __future__ import annotations

import time

import pytest

from soak.journal import REPEATABLE, Journal
from soak.order import Order
from soak.vitals import HeldResponse, Vitals, Watch, grown, hoarded

SMALL = Order("alpha", "echo", 1, 100)
PUSHED = Order("pushed", "echo", 3, 100)
LARGE = Order("alpha", "upload", 2, REPEATABLE + 1)
ONCE = Order("alpha", "echo", 2, 100)
DOWNLOAD = Order("alpha", "download", 2, REPEATABLE + 1)


@pytest.mark.parametrize(
    ("order", "result", "causes"),
    [
        (SMALL, "cut", {"reset"}),
        (SMALL, "502 connection_terminated", {"reset"}),
        (ONCE, "502 connection_terminated", {"reset", "leave"}),
        (LARGE, "502 connection_terminated", {"reset", "leave"}),
        (DOWNLOAD, "502 connection_terminated", {"reset"}),
        (SMALL, "502 connection_refused", {"reset"}),
        (ONCE, "502 connection_refused", {"reset"}),
        (ONCE, "cut", {"reset"}),
        (SMALL, "503 credential_unavailable", {"restart"}),
        (SMALL, "401 credential_unavailable", {"restart"}),
        (LARGE, "refused", {"revoke", "restart"}),
        (PUSHED, "401 credential_unavailable", {"revoke", "restart"}),
        (PUSHED, "502 credential_refused", set()),
        (SMALL, "401 credential_refused", set()),
        (SMALL, "refused", set()),
        (SMALL, "mismatch", set()),
        (SMALL, "dropped", set()),
        (SMALL, "hangs", set()),
        (SMALL, "404 destination_not_found", set()),
    ],
)
def test_a_trouble_is_excused_by_its_own_cause_alone(order, result, causes):
    for mishap in ("reset", "leave", "restart", "revoke", "reload", "step"):
        journal = Journal()
        began = time.monotonic()
        journal.happened(mishap)
        journal.note(order, result, began)
        assert bool(journal.complaints()) is (mishap not in causes), mishap


def test_a_mishap_long_before_or_after_excuses_nothing():
    journal = Journal()
    journal.note(SMALL, "cut", time.monotonic())
    journal.happened("reset")
    assert len(journal.complaints()) == 1
    journal.note(SMALL, "cut", time.monotonic())
    assert len(journal.complaints()) == 2


def test_what_was_answered_as_ordered_needs_no_excuse():
    journal = Journal()
    journal.note(SMALL, "matched", 0.0)
    journal.note(SMALL, "hung up", 0.0)
    assert not journal.complaints()
    assert journal.served == {("alpha", "echo"): 1}


def test_growth_is_what_lasts_and_not_what_comes_and_goes():
    watch = Watch(0)
    calm, peak = Vitals(60 * 2**20, 40), Vitals(90 * 2**20, 400)
    watch.samples = [Vitals(0, 0)] * 10 + [calm, peak, calm, calm] * 5 + [peak] * 2
    assert grown(*watch.growth(10), allowed_mib=4.0) == []
    watch.samples = [calm] * 20 + [peak] * 20
    assert len(grown(*watch.growth(10), allowed_mib=4.0)) == 2


def test_what_is_in_use_when_everybody_is_gone_is_hoarded():
    before = HeldResponse(14 * 2**20, 220_000)
    assert hoarded(before, HeldResponse(15 * 2**20, 230_000)) == []
    assert len(hoarded(before, HeldResponse(17 * 2**20, 270_000))) == 2
