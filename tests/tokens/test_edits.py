from __future__ import annotations

import msgspec
from hypothesis import given
from hypothesis import strategies as st
from msgspec import structs

from proxy.config.schema import Duration
from proxy.model import Token
from proxy.tokens.edits import apply_seed, clear_sent, mark_of, mark_sent, pushed, renewed, rotated, same
from proxy.tokens.store.token_store import Grant
from proxy.tokens.token_response import TokenPair, TokenResponse

HELD = Grant(
    revision=7,
    generation=3,
    access_token="a3",
    refresh_token="r3",
    seed="mark",
    key="pem",
    issued_at=5.0,
    expires_at=9.0,
)


def token(name: str = "new", refresh_token: str | None = None, **more) -> TokenResponse:
    token = Token(access_token=name, expires_wall=200.0, issued_wall=100.0, lifetime=100.0, **more)
    return TokenResponse(token, refresh_token)


def issued(came: TokenResponse, wall: float) -> TokenResponse:
    return structs.replace(came, token=structs.replace(came.token, issued_wall=wall))


def test_a_renewal_replaces_the_token_and_keeps_the_refresh_token_that_was_not_replaced():
    """C1: RFC 6749 §6."""
    grant = renewed(structs.replace(HELD, spending=True), HELD, token())
    assert (grant.access_token, grant.generation, grant.refresh_token) == ("new", 4, "r3")
    assert (grant.expires_at, grant.issued_at, grant.lifetime) == (200.0, 100.0, 100.0)
    assert (grant.rotates, grant.spending, grant.seed, grant.key) == (False, False, "mark", "pem")


def test_a_lifetime_that_the_configuration_gave_can_be_stored():
    """Nobody stated one: it is the `default_expires_in`."""
    grant = pushed(HELD, TokenResponse(Token(access_token="new", lifetime=Duration(300))))
    assert msgspec.json.decode(msgspec.json.encode(grant), type=Grant) == grant


def test_a_replaced_refresh_token_is_taken_and_remembered_as_a_habit():
    """C1."""
    grant = renewed(HELD, HELD, token(refresh_token="r4"))
    assert (grant.refresh_token, grant.rotates) == ("r4", True)
    assert renewed(grant, grant, token()).rotates
    assert not renewed(HELD, HELD, token(refresh_token="r3")).rotates


def test_a_first_refresh_token_is_no_rotation():
    bare = structs.replace(HELD, refresh_token=None)
    grant = renewed(bare, bare, token(refresh_token="r1"))
    assert (grant.refresh_token, grant.rotates) == ("r1", False)


def test_a_refresh_token_that_came_alone_replaces_ours_and_nothing_else():
    grant = rotated(structs.replace(HELD, spending=True), HELD, "r4")
    assert grant == structs.replace(HELD, refresh_token="r4", rotates=True)
    assert rotated(HELD, HELD, "r3") == HELD
    pushed_meanwhile = pushed(HELD, token("pushed", refresh_token="p1"))
    assert rotated(pushed_meanwhile, HELD, "r4") is pushed_meanwhile


def test_a_push_in_between_stays_and_gets_the_rotated_refresh_token():
    meanwhile = pushed(HELD, token("pushed"))
    grant = renewed(meanwhile, HELD, token("late", refresh_token="r4"))
    assert (grant.access_token, grant.refresh_token, grant.rotates) == ("pushed", "r4", True)


def test_a_push_in_between_with_a_refresh_token_stays_whole():
    meanwhile = pushed(HELD, token("pushed", refresh_token="p1"))
    assert renewed(meanwhile, HELD, token("late", refresh_token="r4")) is meanwhile


def test_a_refresh_token_that_changed_while_the_token_did_not_is_kept():
    meanwhile = structs.replace(HELD, refresh_token="other")
    grant = renewed(meanwhile, HELD, token("late", refresh_token="r4"))
    assert (grant.access_token, grant.refresh_token) == ("late", "other")


def test_a_push_keeps_our_refresh_token_unless_it_brings_one():
    in_doubt = structs.replace(HELD, spending=True, rotates=True)
    grant = pushed(in_doubt, token("pushed"))
    assert (grant.access_token, grant.generation, grant.refresh_token, grant.spending) == ("pushed", 4, "r3", True)
    grant = pushed(in_doubt, token("pushed", refresh_token="p"))
    assert (grant.refresh_token, grant.spending, grant.rotates) == ("p", False, False)


def test_the_same_push_is_recognised():
    held = pushed(HELD, token("pushed"))
    assert same(held, token("pushed"))
    assert same(held, token("pushed", refresh_token="r3"))
    assert not same(held, token("pushed", refresh_token="p"))
    assert not same(held, token("other"))
    assert not same(held, issued(token("pushed"), 101.0))


def test_a_seed_replaces_everything_but_the_key_and_the_count():
    seed = TokenPair(None, "seed")
    grant = apply_seed(structs.replace(HELD, rotates=True, spending=True), seed, "mark2")
    assert (grant.revision, grant.generation, grant.key, grant.seed) == (7, 3, "pem", "mark2")
    assert (grant.access_token, grant.refresh_token, grant.rotates, grant.spending) == (None, "seed", False, False)
    assert apply_seed(HELD, TokenPair(Token(access_token="a"), "r"), "m").generation == 4


def test_seeds_are_told_apart_by_their_secrets_alone():
    access = Token(access_token="a")
    one = TokenPair(access, "r")
    assert mark_of(one) == mark_of(TokenPair(structs.replace(access, issued_wall=99.0, expires_wall=999.0), "r"))
    assert len({mark_of(one), mark_of(TokenPair(access)), mark_of(TokenPair(None, "r"))}) == 3
    assert "a" * 20 not in mark_of(TokenPair(Token(access_token="a" * 20)))


def test_the_note_of_spending_is_made_and_taken_back():
    assert mark_sent(HELD, HELD).spending
    assert mark_sent(mark_sent(HELD, HELD), HELD) == mark_sent(HELD, HELD)
    assert not clear_sent(mark_sent(HELD, HELD), HELD).spending
    assert clear_sent(HELD, HELD) is HELD


tokens = st.builds(token, st.sampled_from(["x", "y"]), refresh_token=st.none() | st.sampled_from(["r3", "r4", "r5"]))


@given(st.lists(tokens, max_size=4), tokens)
def test_whatever_is_pushed_during_a_renewal_the_last_push_is_what_is_sent(pushes, late):
    grant = mark_sent(HELD, HELD)
    for push in pushes:
        grant = pushed(grant, push)
    ended = renewed(grant, HELD, late)
    assert ended.access_token == (pushes[-1] if pushes else late).token.access_token
    brought = [push.refresh_token for push in pushes if push.refresh_token is not None]
    if brought and brought[-1] != "r3":
        assert ended.refresh_token == brought[-1]
    else:
        assert ended.refresh_token == (late.refresh_token or "r3"), "what was spent is never kept when a successor came"
    assert ended.generation == HELD.generation + max(1, len(pushes))
