from __future__ import annotations

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import structs
from support.clock import settle
from support.managed import SharedStore

from proxy.auth.dpop_key import DpopKey, DpopKeys
from proxy.errors import CredentialUnavailable
from proxy.model import Token
from proxy.tokens.record import Record, beside, mark_of, planted, pushed, renewed, same, spending, unspent
from proxy.tokens.store.store import Grant, LeaseTakenError, StoreError

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


def token(name: str = "new", **more) -> Token:
    return Token(access_token=name, expires_wall=200.0, issued_wall=100.0, lifetime=100.0, **more)


# ---- the edits -------------------------------------------------------------------------------------------------------


def test_a_renewal_replaces_the_token_and_keeps_the_refresh_token_that_was_not_replaced():
    """C1: RFC 6749 §6."""
    grant = renewed(structs.replace(HELD, spending=True), HELD, token())
    assert (grant.access_token, grant.generation, grant.refresh_token) == ("new", 4, "r3")
    assert (grant.expires_at, grant.issued_at, grant.lifetime) == (200.0, 100.0, 100.0)
    assert (grant.rotates, grant.spending, grant.seed, grant.key) == (False, False, "mark", "pem")


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
    assert not same(held, structs.replace(token("pushed"), issued_wall=101.0))


def test_a_seed_replaces_everything_but_the_key_and_the_count():
    seed = Token(access_token="", refresh_token="seed")
    grant = planted(structs.replace(HELD, rotates=True, spending=True), seed, "mark2")
    assert (grant.revision, grant.generation, grant.key, grant.seed) == (7, 3, "pem", "mark2")
    assert (grant.access_token, grant.refresh_token, grant.rotates, grant.spending) == (None, "seed", False, False)
    assert planted(HELD, Token(access_token="a", refresh_token="r"), "m").generation == 4


def test_seeds_are_told_apart_by_their_secrets_alone():
    one = Token(access_token="a", refresh_token="r")
    assert mark_of(one) == mark_of(structs.replace(one, issued_wall=99.0, expires_wall=999.0))
    assert (
        len({mark_of(one), mark_of(Token(access_token="a")), mark_of(Token(access_token="", refresh_token="r"))}) == 3
    )
    assert "a" * 20 not in mark_of(Token(access_token="a" * 20))


def test_the_note_of_spending_is_made_and_taken_back():
    assert spending(HELD).spending
    assert spending(spending(HELD)) == spending(HELD)
    assert not unspent(spending(HELD)).spending
    assert unspent(HELD) is HELD


tokens = st.builds(token, st.sampled_from(["x", "y"]), refresh_token=st.none() | st.sampled_from(["r3", "r4", "r5"]))


@given(st.lists(tokens, max_size=4), tokens)
def test_whatever_is_pushed_during_a_renewal_the_last_push_is_what_is_sent(pushes, late):
    grant = spending(HELD)
    for push in pushes:
        grant = pushed(grant, push)
    ended = renewed(grant, HELD, late)
    assert ended.access_token == (pushes[-1].access_token if pushes else late.access_token)
    brought = [push.refresh_token for push in pushes if push.refresh_token is not None]
    if brought and brought[-1] != "r3":
        assert ended.refresh_token == brought[-1]
    else:
        assert ended.refresh_token == (late.refresh_token or "r3"), "what was spent is never kept when a successor came"
    assert ended.generation == HELD.generation + max(1, len(pushes))


# ---- the record ------------------------------------------------------------------------------------------------------


def record(store, **options) -> tuple[Record, list[int]]:
    seen: list[int] = []
    made = Record("crm", store, lambda: seen.append(1), **options)
    return made, seen


async def test_an_edit_is_saved():
    store = SharedStore()
    one, _ = record(store)
    await one.change(lambda grant: pushed(grant, token()))
    assert store._records["crm"] == one.grant
    assert one.grant.revision == 1


async def test_an_edit_that_changes_nothing_is_not_saved():
    store = SharedStore()
    one, _ = record(store)
    await one.change(lambda grant: grant)
    assert store.saved == []


async def test_an_edit_runs_again_over_what_another_saved_meanwhile():
    store = SharedStore()
    one, two = record(store)[0], record(store)[0]
    await one.change(lambda grant: pushed(grant, token("one", refresh_token="r")))
    await two.change(lambda grant: pushed(grant, token("two")))
    assert two.grant.access_token == "two"
    assert two.grant.refresh_token == "r"
    assert two.grant.revision == 2


async def test_edits_of_one_process_do_not_overtake_each_other():
    one, _ = record(SharedStore())
    await asyncio.gather(*(one.change(lambda grant: pushed(grant, token())) for _ in range(20)))
    assert (one.grant.generation, one.grant.revision) == (20, 20)


async def test_what_an_edit_raises_is_raised_and_nothing_is_saved():
    store = SharedStore()
    one, _ = record(store)

    def edit(_: Grant) -> Grant:
        raise LookupError

    with pytest.raises(LookupError):
        await one.change(edit)
    await one.change(lambda grant: pushed(grant, token()))
    assert len(store.saved) == 1


async def test_changes_of_others_are_seen_and_ones_own_are_not():
    store = SharedStore()
    (one, seen), (two, _) = record(store), record(store)
    one.watch()
    await one.change(lambda grant: pushed(grant, token()))
    assert seen == []
    await two.change(lambda grant: pushed(grant, token("other")))
    assert seen == [1]
    assert one.grant.access_token == "other"
    one.unwatch()
    one.unwatch()
    await two.change(lambda grant: pushed(grant, token("third")))
    assert seen == [1]


async def test_reading_takes_only_what_is_newer():
    store = SharedStore()
    one, two = record(store)[0], record(store)[0]
    await one.read()
    assert one.grant == Grant()
    await two.change(lambda grant: pushed(grant, token()))
    await one.read()
    assert one.grant == two.grant
    held = one.grant
    await one.read()
    assert one.grant is held


async def test_while_the_store_fails_the_edit_stands_in_memory(caplog):
    store = SharedStore()
    one, _ = record(store)
    store.failing = StoreError("disk full")
    await one.read()
    await one.change(lambda grant: pushed(grant, token("first")))
    await one.change(lambda grant: pushed(grant, token("second")))
    assert (one.grant.access_token, one.unsaved, one.grant.revision) == ("second", True, 0)
    assert "crm: the token store fails: disk full" in caplog.text
    store.failing = None
    await one.change(lambda grant: grant)
    assert (one.unsaved, store._records["crm"].access_token) == (False, "second")


async def test_where_the_store_is_a_must_its_failure_is_the_callers():
    store = SharedStore()
    one, _ = record(store)
    store.failing = StoreError("gone", degrade=False)
    for doing in (one.read(), one.change(lambda grant: pushed(grant, token()))):
        with pytest.raises(CredentialUnavailable):
            await doing
    assert one.grant == Grant()
    with pytest.raises(CredentialUnavailable):
        async with Leaseless(store.failing).record().alone(1):
            pass


async def test_what_another_saved_while_our_store_failed_wins(caplog):
    store = SharedStore()
    one, two = record(store)[0], record(store)[0]
    store.failing = StoreError("gone")
    await one.change(lambda grant: pushed(grant, token("mine")))
    store.failing = None
    await two.change(lambda grant: pushed(grant, token("theirs")))
    await one.read()
    assert (one.grant.access_token, one.unsaved) == ("theirs", False)
    assert "dropped" in caplog.text


async def test_a_record_that_keeps_changing_is_given_up(caplog):
    class Busy(SharedStore):
        async def save(self, _name: str, _grant: Grant) -> bool:
            return False

    one, _ = record(Busy())
    await one.change(lambda grant: pushed(grant, token()))
    assert one.unsaved
    assert "keeps changing" in caplog.text


async def test_the_lease_excludes_others_and_is_given_back():
    store = SharedStore()
    one, two = record(store)[0], record(store)[0]
    async with one.alone(1):
        with pytest.raises(CredentialUnavailable, match="Another process"):
            async with two.alone(0.01):
                pass
    async with two.alone(0.01):
        pass


class Leaseless(SharedStore):
    """One that cannot lease."""

    def __init__(self, fault: StoreError) -> None:
        super().__init__()
        self.fault = fault

    def lease(self, _name: str, _wait: float):
        return self

    async def __aenter__(self) -> None:
        raise self.fault

    async def __aexit__(self, *_: object) -> None:
        raise AssertionError

    def record(self) -> Record:
        return record(self)[0]


async def test_without_a_lease_one_goes_on_alone_where_that_is_allowed():
    async with Leaseless(StoreError("gone")).record().alone(1):
        pass
    with pytest.raises(CredentialUnavailable):
        async with Leaseless(LeaseTakenError("taken")).record().alone(1):
            pass


async def test_our_key_is_kept_with_the_record_and_the_records_key_is_taken_up():
    store = SharedStore()
    keys = DpopKeys(DpopKey.generate())
    one, _ = record(store, keys=keys)
    await one.change(lambda grant: pushed(grant, token()))
    later = DpopKeys(DpopKey.generate())
    two, _ = record(store, keys=later)
    await two.read()
    assert later.current.thumbprint == keys.current.thumbprint


async def test_a_key_that_cannot_be_read_is_reported_and_ours_stays(caplog):
    store = SharedStore()
    await record(store)[0].change(lambda grant: structs.replace(pushed(grant, token()), key="s3cret nonsense"))
    store._records["crm"] = structs.replace(store._records["crm"], key="s3cret nonsense")
    keys = DpopKeys(DpopKey.generate())
    ours = keys.current
    two, _ = record(store, keys=keys)
    await two.read()
    assert keys.current is ours
    assert "key" in caplog.text
    assert "s3cret" not in caplog.text


async def test_a_token_that_was_stored_for_something_else_is_not_taken_but_its_refresh_token_is():
    """The scope in the configuration was changed, and the program restarted."""
    store = SharedStore()
    one, two = record(store, identity="read")[0], record(store, identity="write")[0]
    await one.change(lambda grant: pushed(grant, token("for reading", refresh_token="r")))
    await two.read()
    assert (two.grant.access_token, two.grant.refresh_token, two.grant.generation) == (None, "r", 1)
    await two.change(lambda grant: pushed(grant, token("for writing", refresh_token="r2")))
    await one.read()
    assert (one.grant.access_token, one.grant.refresh_token) == ("for reading", "r2"), "each keeps its own"
    assert store._records["crm"].identity == "write"


async def test_a_token_that_was_stored_for_the_same_thing_or_by_an_older_version_is_taken():
    store = SharedStore()
    await record(store)[0].change(lambda grant: pushed(grant, token("old")))
    one, two = record(store, identity="read")[0], record(store, identity="read")[0]
    await one.read()
    assert one.grant.access_token == "old"
    await one.change(lambda grant: pushed(grant, token("new")))
    await two.read()
    assert two.grant.access_token == "new"


def test_a_record_beside_ours_changes_nothing_about_our_token():
    ours = structs.replace(HELD, access_token="ours", identity="me", fields=((b"X", b"y"),), key_thumbprint="t")
    theirs = Grant(revision=12, generation=9, access_token="theirs", refresh_token="r9", identity="them", rotates=True)
    merged = beside(ours, theirs)
    assert merged == structs.replace(ours, revision=12, refresh_token="r9", rotates=True, seed=None, key=None)


async def test_a_key_of_the_operators_is_not_kept():
    store = SharedStore()
    one, _ = record(store)
    await one.change(lambda grant: pushed(grant, token()))
    await settle()
    assert store._records["crm"].key is None
