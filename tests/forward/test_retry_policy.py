"""What a refused answer leads to, in all cases that there are."""

from __future__ import annotations

import itertools

import pytest

from proxy.config import schema
from proxy.forward.renewal_hold import Renewal
from proxy.forward.retry_policy import MAX_HELD, UNSPENT, Budget, HeldResponse, Step, decide
from proxy.http1.answer import read_answer
from proxy.model import Token, Verdict

TOKEN, YOUNG = Token(access_token="at-1", generation=1), Token(access_token="at-2", generation=2)

BUDGETS = [
    Budget(sends, resigned, renewed, young)
    for sends, resigned, renewed, young in itertools.product((1, 2, 3), (False, True), (False, True), (None, YOUNG))
]
CASES = list(
    itertools.product(
        Verdict,
        BUDGETS,
        [schema.Retry(on_unauthorized=on, max_attempts=most) for on in (True, False) for most in (1, 2, 3)],
        (True, False),
        (True, False),
        Renewal,
    )
)


def step_of(verdict, budget, retry, repeatable, predecessor, renewal) -> Step:
    return decide(verdict, budget, retry, repeatable=repeatable, predecessor=predecessor, renewal=renewal)


def expected(verdict, budget, retry, repeatable, predecessor, renewal) -> Step:
    """The contract, one row after the other; the first that fits."""
    repeats = repeatable and retry.on_unauthorized and budget.sends < retry.max_attempts
    untried = predecessor and budget.young is None
    rows = [
        (verdict is Verdict.PASS, Step.PASS),
        (verdict is Verdict.RESIGN and (budget.resigned or not repeatable), Step.PASS),
        (verdict is Verdict.RESIGN, Step.RESIGN),
        (untried and repeats, Step.PREDECESSOR),
        (untried and not repeats, Step.REFUSED),
        (budget.renewed, Step.HOLD),
        (renewal is Renewal.FUTILE, Step.HOLD),
        (renewal is Renewal.HELD, Step.REFUSED),
        (repeats, Step.RENEW),
        (True, Step.RENEW_BEHIND),
    ]
    return next(step for fits, step in rows if fits)


def test_every_case_is_decided_as_the_table_says():
    assert {step_of(*case) for case in CASES} == set(Step), "each step is reached"
    wrong = [case for case in CASES if step_of(*case) is not expected(*case)]
    assert wrong == []


AGAIN = {Step.RESIGN, Step.PREDECESSOR, Step.RENEW}


def test_nothing_is_sent_again_that_is_not_here_any_more():
    assert not [case for case in CASES if not case[3] and step_of(*case) in AGAIN]


def test_no_favour_is_granted_twice():
    for case in CASES:
        budget, step = case[1], step_of(*case)
        assert not (step is Step.RESIGN and budget.resigned)
        assert not (step is Step.PREDECESSOR and budget.young is not None)
        assert not (step is Step.RENEW and budget.renewed)


@pytest.mark.parametrize("most", [1, 2, 3, 9])
def test_no_request_is_sent_more_often_than_max_attempts_and_once_for_a_nonce(most):
    """Whatever the API says, and in whichever order."""
    retry = schema.Retry(max_attempts=most)

    def sends(budget: Budget) -> int:
        longest = 1
        for verdict, predecessor, renewal in itertools.product(Verdict, (True, False), Renewal):
            step = decide(verdict, budget, retry, repeatable=True, predecessor=predecessor, renewal=renewal)
            if step in AGAIN:
                longest = max(longest, 1 + sends(budget.after(step, TOKEN)))
        return longest

    assert sends(UNSPENT) == min(most, 3) + 1


def test_a_step_is_paid_once():
    assert UNSPENT.after(Step.RESIGN, TOKEN) == Budget(resigned=True)
    assert UNSPENT.after(Step.PREDECESSOR, YOUNG) == Budget(sends=2, young=YOUNG)
    assert UNSPENT.after(Step.RENEW, TOKEN) == Budget(sends=2, renewed=True)
    for step in set(Step) - AGAIN:
        assert UNSPENT.after(step, TOKEN) == UNSPENT


def test_what_is_renewed_is_the_young_token_and_not_the_predecessor_that_stood_in_for_it():
    assert UNSPENT.refused(TOKEN) is TOKEN
    assert Budget(young=YOUNG).refused(TOKEN) is YOUNG
    assert Budget(young=YOUNG, renewed=True).refused(TOKEN) is TOKEN, "the renewed one"


def head():
    return read_answer(b"HTTP/1.1 401 No\r\n\r\n", 0, 1000, 10)


def test_pieces_are_kept_in_order_until_the_end():
    held = HeldResponse(head())
    held.add([b"a"], done=False)
    held.add([b"b", b"c"], done=False)
    assert (held.body(), held.done, held.full) == (b"abc", False, False)
    held.add([], done=True)
    assert held.done


def test_no_more_is_shown_than_the_bound_and_then_it_is_full():
    held = HeldResponse(head())
    held.add([b"x" * (MAX_HELD - 1)], done=False)
    assert not held.full
    held.add([b"yz"], done=False)
    assert held.full
    assert held.body() == b"x" * (MAX_HELD - 1) + b"y"
    assert held.pieces[-1] == b"yz", "nothing is lost for the app"
