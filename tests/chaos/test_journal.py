"""What excuses a request that failed, and what does not."""

from __future__ import annotations

import pytest

from chaos.journal import Journal, Trouble

LIFETIME = 10.0


@pytest.fixture
def journal():
    """Replica 0 has a token from 100 to 110; replica 1 has one from 103 to 113."""
    journal = Journal(LIFETIME)
    journal.accepted(0, 100.1, 110.0, 100.1)
    journal.accepted(1, 103.1, 113.0, 103.1)
    return journal


def failed(journal, replica, began):
    return journal.judge(Trouble(replica, began, began + 0.1, "503"))


def test_a_request_that_fails_while_its_replica_has_a_good_token_has_no_excuse(journal):
    assert failed(journal, 0, 102.0) == ""
    journal.trouble(0, 102.0, 102.1, "503")
    assert len(journal.complaints()) == 1
    assert "UNEXCUSED: 503" in journal.report()


def test_the_last_moments_of_a_token_excuse_because_it_is_not_handed_out_in_them(journal):
    assert failed(journal, 1, 111.5) == "no token"


def test_a_token_that_another_replica_has_must_be_known_by_all_after_a_while(journal):
    assert failed(journal, 2, 102.5) == "no token"
    assert failed(journal, 2, 107.0) == ""


def test_a_store_that_was_out_of_reach_excuses_who_has_not_heard_of_it(journal):
    journal.outage("paused", 102.0).ended = 105.0
    assert failed(journal, 2, 107.0) == "no token"
    assert failed(journal, 1, 107.0) == ""


def test_a_dead_or_stopped_replica_is_excused_until_it_is_back(journal):
    absence = journal.absent(0, "paused", 102.0)
    assert failed(journal, 0, 103.0) == "replica away"
    absence.ended = 104.0
    assert failed(journal, 0, 106.0) == ""


def test_a_replica_that_was_killed_has_lost_its_token_and_must_find_that_of_the_others(journal):
    journal.absent(0, "killed", 102.0).ended = 103.0
    assert failed(journal, 0, 105.0) == "no token"
    assert failed(journal, 0, 108.5) == ""


def test_a_withdrawn_grant_excuses_until_its_tokens_have_ended(journal):
    journal.burned.append(101.0)
    assert failed(journal, 0, 102.0) == "grant withdrawn"


def test_an_ended_token_must_never_be_sent(journal):
    journal.refused(0, 115.0, 110.0)
    journal.refused(1, 115.0, 0.0)
    assert journal.complaints() == ["replica 0: an ended token was sent at 115.00"]
