"""Whose share of a record is whose."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from msgspec import structs

from proxy.tokens.audience import audience, holds_any, share_of, spent_elsewhere
from proxy.tokens.edits import mark_of
from proxy.tokens.store.token_store import Grant
from proxy.tokens.token_response import TokenPair

A, B, C = (audience(f"https://{name}.example", name) for name in "abc")


def grant(of: str | None, name: str = "x", **more) -> Grant:
    return Grant(audience=of, access_token=f"at-{name}", refresh_token=f"rt-{name}", key=f"key-{name}", **more)


def test_a_record_of_the_same_audience_is_taken_whole():
    record = grant(A, revision=3, others=(grant(B),))
    assert share_of(record, A) is record
    assert share_of(record, None) is record


def test_a_record_of_version_0_1_belongs_to_whoever_reads_it_first():
    old = grant(None, revision=3, seed="mark")
    assert share_of(old, A) == structs.replace(old, audience=A)


def test_another_audience_begins_with_nothing_and_keeps_what_it_found():
    record = grant(A, "a", revision=3, generation=7, saves=("1", "2"), seed="mark", spending=True, rotates=True)
    share = share_of(record, B)
    kept = structs.replace(record, revision=0, saves=())
    assert share == Grant(audience=B, revision=3, generation=7, saves=("1", "2"), others=(kept,))
    assert not holds_any(share)


def test_who_comes_back_finds_what_was_left():
    record = grant(A, "a", revision=3, generation=7, seed="mark")
    moved = structs.replace(share_of(record, B), refresh_token="rt-b", revision=4, generation=8)
    back = share_of(moved, A)
    assert (back.refresh_token, back.key, back.seed, back.generation, back.revision) == ("rt-a", "key-a", "mark", 7, 4)
    assert [other.refresh_token for other in back.others] == ["rt-b"]


def test_what_holds_nothing_is_not_kept():
    assert share_of(Grant(audience=A, revision=2, seed="mark"), B).others == ()


@given(st.lists(st.sampled_from([A, B, C]), min_size=1, max_size=20))
def test_no_audience_ever_sees_what_is_another_ones_and_each_finds_its_own(turns):
    """Whoever's turn it is saves a secret of its own over what it finds."""
    record = Grant(audience=A)
    mine: dict[str, tuple[str, str]] = {}
    for number, whose in enumerate(turns):
        share = share_of(record, whose)
        assert (share.refresh_token, share.key) == mine.get(whose, (None, None))
        assert share.revision == record.revision
        mine[whose] = f"rt-{number}", f"key-{number}"
        record = structs.replace(
            share, revision=record.revision + 1, refresh_token=mine[whose][0], key=mine[whose][1], audience=whose
        )
        assert {other.audience for other in record.others} == set(mine) - {whose}


def test_a_seed_that_the_same_server_has_replaced_for_another_client_is_spent():
    seed = TokenPair(None, "rt-0")
    one, two = audience("https://login.example", "one"), audience("https://login.example", "two")
    rotated = grant(one, "5", seed=mark_of(seed), rotates=True)
    assert spent_elsewhere(seed, Grant(audience=two, others=(rotated,)))
    taken = structs.replace(rotated, rotates=False, refresh_token="rt-0", spent=True)
    assert spent_elsewhere(seed, Grant(audience=two, others=(taken,)))
    for harmless in (
        structs.replace(rotated, audience=A),
        structs.replace(rotated, seed="another"),
        structs.replace(rotated, rotates=False),
        structs.replace(rotated, refresh_token="rt-0"),
    ):
        assert not spent_elsewhere(seed, Grant(audience=two, others=(harmless,)))


def test_an_audience_tells_nothing_of_what_it_is_made_of():
    assert "login" not in audience("https://login.example", "my-app")
    assert len({A, B, C, audience("https://a.example", "b")}) == 4
