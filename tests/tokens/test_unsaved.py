"""What is known of tries that failed. How records are brought together is tried in test_edits and test_grant_record."""

from __future__ import annotations

from proxy.tokens.store.token_store import Grant
from proxy.tokens.unsaved import UnsavedChanges


def tried(number: int, refresh_token: str = "r") -> Grant:
    return Grant(revision=number, refresh_token=refresh_token, saves=(f"save-{number}",))


def test_a_record_is_recognised_by_the_id_of_its_last_save():
    ours = UnsavedChanges()
    assert ours.begin(tried(1))
    assert not ours.begin(tried(1))
    assert ours.wrote(tried(1))
    assert not ours.wrote(tried(2))
    assert not ours.wrote(Grant())
    assert not ours.wrote(None)


def test_as_many_tries_are_remembered_as_others_will_make_and_the_first_for_good():
    ours = UnsavedChanges()
    for number in range(100):
        ours.begin(tried(number))
    assert len(ours.uncertain) == 64
    assert {"save-0", "save-99", "save-37"} <= set(ours.uncertain)
    assert "save-36" not in ours.uncertain


def test_only_what_an_issuer_gave_to_us_and_was_never_sent_to_the_store_is_known_to_nobody_else():
    ours = UnsavedChanges()
    assert not ours.alone_knows(None)
    assert not ours.alone_knows("new")
    ours.given = "new"
    assert ours.alone_knows("new")
    assert not ours.alone_knows("old")
    ours.begin(tried(1, "new"))
    assert not ours.alone_knows("new")
    ours.uncertain.clear()
    ours.base = Grant(refresh_token="new")
    assert not ours.alone_knows("new")


def test_a_try_that_happened_is_what_the_others_went_on_from():
    ours = UnsavedChanges()
    ours.base = Grant(revision=1, access_token="a", refresh_token="r-1")
    held = Grant(revision=1, generation=2, access_token="b", refresh_token="r-2", saves=("x",))
    ours.begin(held)
    theirs = Grant(revision=3, generation=3, access_token="pushed", refresh_token="r-2", saves=("x", "y"))
    merged = ours.merged(held, theirs, pushed=False, unread=False, now=0.0)
    assert (merged.access_token, merged.refresh_token) == ("pushed", "r-2")
