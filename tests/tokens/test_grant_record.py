from __future__ import annotations

import asyncio
from functools import partial

import pytest
from msgspec import structs
from support.clock import settle
from support.managed import SharedStore

from proxy.auth.dpop_key import DpopKey, DpopKeys
from proxy.errors import CredentialUnavailable
from proxy.model import Token
from proxy.tokens.audience import Binding
from proxy.tokens.edits import mark_sent, merge_foreign, pushed
from proxy.tokens.grant_record import GrantRecord
from proxy.tokens.store.token_store import Grant, LeaseTakenError, StoreError
from proxy.tokens.token_response import TokenResponse

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
    token = Token(access_token=name, **{"expires_wall": 200.0, "issued_wall": 100.0, "lifetime": 100.0, **more})
    return TokenResponse(token, refresh_token)


def record(store, **options) -> tuple[GrantRecord, list[int]]:
    seen: list[int] = []
    return GrantRecord("crm", store, **options), seen


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
    one.watch(lambda: seen.append(1))
    await one.change(lambda grant: pushed(grant, token()))
    assert seen == []
    await two.change(lambda grant: pushed(grant, token("other")))
    assert seen == [1]
    assert one.grant.access_token == "other"
    one.unwatch()
    one.unwatch()
    await two.change(lambda grant: pushed(grant, token("third")))
    assert seen == [1]


class Silent(SharedStore):
    """Tells nobody of a save: what watches files looks once a second, and sees the last of several saves."""

    def watch(self, name, changed):  # noqa: ARG002 - the interface
        return lambda: None


async def test_a_change_of_another_that_an_edit_meets_first_is_seen_too():
    store = Silent()
    (one, _), (two, _) = record(store), record(store)
    seen: list[str] = []
    one.watch(lambda: seen.append(one.grant.access_token))
    await one.change(lambda grant: pushed(grant, token()))
    await two.change(lambda grant: pushed(grant, token("other")))
    await one.change(lambda grant: structs.replace(grant, spending=True))
    assert seen == ["other"]
    assert store._records["crm"].access_token == "other"
    one.unwatch()
    await two.change(lambda grant: pushed(grant, token("third")))
    await one.change(lambda grant: grant if grant.access_token == "third" else pushed(grant, token("fourth")))
    assert seen == ["other"]


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


async def test_a_record_that_was_deleted_is_saved_again_with_what_is_held():
    """Forgetting it would lose the refresh token that a renewal has just brought."""
    store = SharedStore()
    one, two = record(store)[0], record(store)[0]
    for number in range(3):
        await one.change(partial(pushed, came=token(f"t-{number}", refresh_token=f"r-{number}")))
    store._records.clear()
    await one.change(lambda grant: mark_sent(grant, grant))
    assert (one.grant.access_token, one.grant.refresh_token) == ("t-2", "r-2")
    assert store._records["crm"] == one.grant
    await two.read()
    assert two.grant == one.grant


async def test_a_record_that_is_deleted_while_it_is_looked_at_does_not_take_ours_along():
    class Deleting(SharedStore):
        async def save(self, name: str, grant: Grant) -> bool:
            done = await super().save(name, grant)
            if not done:
                self._records.clear()
            return done

    store = Deleting()
    one, two = record(store)[0], record(store)[0]
    await one.change(lambda grant: pushed(grant, token("mine")))
    await one.change(lambda grant: pushed(grant, token("mine, later")))
    two.grant = structs.replace(one.grant, revision=1)
    await two.change(lambda grant: pushed(grant, token("theirs")))
    assert store._records["crm"].access_token == "theirs"


async def test_what_was_pushed_stays_though_the_store_tells_of_its_record_while_that_is_saved():
    class Telling(SharedStore):
        async def save(self, name: str, grant: Grant) -> bool:
            done = await super().save(name, grant)
            if not done:
                for tell in watching:
                    tell(self._records[name])
            return done

    store = Telling()
    await record(store)[0].change(lambda grant: pushed(grant, token("stored", refresh_token="r")))
    one, seen = record(store)
    one.watch(lambda: seen.append(one.grant.generation))
    watching = tuple(store._watchers["crm"])
    store.failing = StoreError("another key")
    await one.change(lambda grant: pushed(grant, token("later", issued_wall=101.0)))
    one.pushed = True
    store.failing = None
    await one.change(lambda grant: grant)
    one.unwatch()
    assert (one.grant.access_token, one.grant.refresh_token, one.unsaved) == ("later", "r", False)
    assert (store._records["crm"], len(seen)) == (one.grant, 1)


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

    def __init__(self, error: StoreError) -> None:
        super().__init__()
        self.error = error

    def lease(self, _name: str, _wait: float, _needless: object = None):
        return self

    async def __aenter__(self) -> None:
        raise self.error

    async def __aexit__(self, *_: object) -> None:
        raise AssertionError

    def record(self) -> GrantRecord:
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
    one, two = record(store, binding=Binding(request="read"))[0], record(store, binding=Binding(request="write"))[0]
    await one.change(lambda grant: pushed(grant, token("for reading", refresh_token="r")))
    await two.read()
    assert (two.grant.access_token, two.grant.refresh_token, two.grant.generation) == (None, "r", 1)
    await two.change(lambda grant: pushed(grant, token("for writing", refresh_token="r2")))
    await one.read()
    assert (one.grant.access_token, one.grant.refresh_token) == ("for reading", "r2"), "each keeps its own"
    assert store._records["crm"].request == "write"


async def test_a_token_that_was_stored_for_the_same_thing_or_by_an_older_version_is_taken():
    store = SharedStore()
    await record(store)[0].change(lambda grant: pushed(grant, token("old")))
    one, two = record(store, binding=Binding(request="read"))[0], record(store, binding=Binding(request="read"))[0]
    await one.read()
    assert one.grant.access_token == "old"
    await one.change(lambda grant: pushed(grant, token("new")))
    await two.read()
    assert two.grant.access_token == "new"


def test_a_record_beside_ours_changes_nothing_about_our_token():
    ours = structs.replace(HELD, access_token="ours", request="me", fields=((b"X", b"y"),), key_thumbprint="t")
    theirs = Grant(revision=12, generation=9, access_token="theirs", refresh_token="r9", request="them", rotates=True)
    merged = merge_foreign(ours, theirs)
    assert merged == structs.replace(ours, revision=12, refresh_token="r9", rotates=True, seed=None, key=None)


async def test_a_key_of_the_operators_is_not_kept():
    store = SharedStore()
    one, _ = record(store)
    await one.change(lambda grant: pushed(grant, token()))
    await settle()
    assert store._records["crm"].key is None


async def test_a_mistake_in_one_attempt_to_save_does_not_end_the_attempts(monkeypatch, caplog):
    store = SharedStore()
    one, _ = record(store)
    store.failing_saves = StoreError("full", degrade=True)
    await one.change(lambda grant: structs.replace(grant, access_token="a"))
    store.failing_saves = None
    ends: list[int] = []
    with monkeypatch.context() as broken:

        async def save(name: str, grant: Grant) -> bool:  # noqa: ARG001 - the interface
            raise KeyError("s3cret")

        broken.setattr(store, "save", save)
        one.save_again(lambda: ends.append(1))
        await one.saved()
    assert "internal error while saving crm, please report: KeyError" in caplog.text
    assert "s3cret" not in caplog.text
    one.save_again(lambda: ends.append(2))
    await one.saved()
    assert ends == [1, 2]
    assert not one.unsaved


# ---- for whom it is --------------------------------------------------------------------------------------------------

A, B = Binding(audience="a", request="r"), Binding(audience="b", request="r")


async def test_a_record_for_another_audience_gives_nothing_and_the_log_says_so_once(caplog):
    caplog.set_level("INFO")
    store = SharedStore()
    one, two = record(store, binding=A)[0], record(store, binding=B)[0]
    await one.change(lambda grant: pushed(grant, token("of a", refresh_token="rt-a")))
    for _ in range(2):
        await two.read()
    assert (two.grant.access_token, two.grant.refresh_token, two.grant.key) == (None, None, None)
    await two.change(lambda grant: pushed(grant, token("of b", refresh_token="rt-b")))
    assert caplog.text.count("another issuer or as another client") == 1
    assert "rt-" not in caplog.text
    back, _ = record(store, binding=A)
    await back.read()
    assert (back.grant.access_token, back.grant.refresh_token) == ("of a", "rt-a")
    assert "goes on with what was kept" in caplog.text


async def test_processes_with_different_audiences_leave_each_other_alone():
    """Neither hears of what the other saves, and neither loses what is its own."""
    store = SharedStore()
    one, two = record(store, binding=A)[0], record(store, binding=B)[0]
    seen: list[str] = []
    one.watch(lambda: seen.append("one"))
    two.watch(lambda: seen.append("two"))
    for number in range(3):
        await one.change(partial(pushed, came=token(f"a-{number}", refresh_token=f"rt-a-{number}")))
        await two.change(partial(pushed, came=token(f"b-{number}", refresh_token=f"rt-b-{number}")))
        assert (one.grant.access_token, one.grant.refresh_token) == (f"a-{number}", f"rt-a-{number}")
        assert (two.grant.access_token, two.grant.refresh_token) == (f"b-{number}", f"rt-b-{number}")
    assert seen == []
    assert (one.grant.generation, store._records["crm"].revision) == (3, 6)
    one.unwatch()
    two.unwatch()


async def test_a_record_of_version_0_1_is_bound_by_the_first_who_reads_it():
    store = SharedStore()
    await record(store)[0].change(lambda grant: pushed(grant, token("old", refresh_token="rt-old")))
    one, two = record(store, binding=A)[0], record(store, binding=B)[0]
    await one.read()
    assert store._records["crm"].audience == "a", "before anything else is done with it"
    assert (one.grant.access_token, one.grant.refresh_token) == ("old", "rt-old")
    await two.read()
    assert two.grant.refresh_token is None


async def test_two_who_read_a_record_of_version_0_1_at_once_do_not_both_have_it():
    class Together(SharedStore):
        async def load(self, name: str) -> Grant | None:
            found = await super().load(name)
            await asyncio.sleep(0)
            return found

    store = Together()
    await record(store)[0].change(lambda grant: pushed(grant, token("old", refresh_token="rt-old")))
    one, two = record(store, binding=A)[0], record(store, binding=B)[0]
    await asyncio.gather(one.read(), two.read())
    assert sorted([one.grant.refresh_token or "", two.grant.refresh_token or ""]) == ["", "rt-old"]


async def test_a_record_that_cannot_be_bound_yet_is_bound_as_soon_as_it_can_be():
    store = SharedStore()
    await record(store)[0].change(lambda grant: pushed(grant, token("old", refresh_token="rt-old")))
    one, _ = record(store, binding=A)
    store.failing_saves = StoreError("full")
    await one.read()
    assert (one.grant.refresh_token, one.unsaved) == ("rt-old", True)
    store.failing_saves = None
    await one.change(lambda grant: grant)
    assert store._records["crm"].audience == "a"


async def test_a_record_that_another_audience_began_anew_takes_nothing_from_us():
    store = SharedStore()
    one, two = record(store, binding=A)[0], record(store, binding=B)[0]
    seen: list[int] = []
    one.watch(lambda: seen.append(1))
    await one.change(lambda grant: pushed(grant, token("of a", refresh_token="rt-a")))
    store._records.clear()
    for number in range(3):
        await two.change(partial(pushed, came=token(f"b-{number}", refresh_token="rt-b")))
    assert (one.grant.refresh_token, one.unsaved, seen) == ("rt-a", True, [1])
    await one.change(lambda grant: grant)
    stored = store._records["crm"]
    assert (stored.refresh_token, [other.refresh_token for other in stored.others]) == ("rt-a", ["rt-b"])
    one.unwatch()


async def test_no_more_than_some_grants_of_others_are_kept_and_the_log_says_when_one_goes(caplog):
    store = SharedStore()
    for number in range(10):
        one, _ = record(store, binding=Binding(audience=f"{number}"))
        await one.read()
        await one.change(partial(pushed, came=token(refresh_token=f"rt-{number}")))
    stored = store._records["crm"]
    assert [other.refresh_token for other in stored.others] == [f"rt-{number}" for number in range(8, 0, -1)]
    assert "too many issuers" in caplog.text


async def test_a_key_stays_with_the_audience_that_it_proves_to():
    store = SharedStore()
    keys = [DpopKeys(DpopKey.generate()) for _ in range(3)]
    one, two, back = (record(store, keys=key, binding=who)[0] for key, who in zip(keys, (A, B, A), strict=True))
    await one.change(lambda grant: pushed(grant, token(refresh_token="rt-a")))
    await two.read()
    await two.change(lambda grant: pushed(grant, token(refresh_token="rt-b")))
    await back.read()
    assert keys[1].current.thumbprint != keys[0].current.thumbprint
    assert keys[2].current.thumbprint == keys[0].current.thumbprint


async def test_what_came_back_is_bound_by_the_request_too():
    """Another audience and back with another scope: the refresh token is good, the access token is not."""
    store = SharedStore()
    one, two = record(store, binding=A)[0], record(store, binding=B)[0]
    await one.change(lambda grant: pushed(grant, token("of a", refresh_token="rt-a")))
    await two.change(lambda grant: pushed(grant, token("of b", refresh_token="rt-b")))
    back, _ = record(store, binding=Binding(audience="a", request="more"))
    await back.read()
    assert (back.grant.access_token, back.grant.refresh_token) == (None, "rt-a")


# ---- a store that others may reach, and one that has lost what it held -----------------------------------------------

CUT_OFF = StoreError("Redis at a:1: it cannot be reached", cut_off=True, unchanged=True)
UNKNOWN = StoreError("Redis at a:1: no answer in time", cut_off=True)


@pytest.mark.parametrize("lost", [None, structs.replace(HELD, revision=3, access_token="older")])
async def test_what_the_store_has_lost_is_put_back_as_it_was_when_it_is_read(lost):
    store = SharedStore()
    store._records["crm"] = HELD
    one, _ = record(store)
    await one.read()
    store._records["crm"] = lost
    if lost is None:
        del store._records["crm"]
    await one.read()
    assert structs.replace(store._records["crm"], key="pem") == structs.replace(HELD, key="pem")
    assert not one.unsaved


@pytest.mark.parametrize("lost", [None, structs.replace(HELD, revision=3, access_token="older")])
async def test_what_the_store_has_lost_is_put_back_as_soon_as_it_tells(lost):
    store = SharedStore()
    store._records["crm"] = HELD
    one, seen = record(store)
    one.watch(lambda: seen.append(1))
    await one.read()
    del store._records["crm"]
    store._watchers["crm"][0](lost)
    await one.saved()
    assert store._records["crm"].revision == HELD.revision
    assert (store._records["crm"].refresh_token, seen) == ("r3", [])


async def test_whoever_knows_a_later_revision_wins_when_all_put_back_what_they_know():
    store = SharedStore()
    older, newer = structs.replace(HELD, revision=5, refresh_token="old"), HELD
    records = []
    for known in (older, newer):
        store._records["crm"] = known
        one, seen = record(store)
        await one.read()
        one.watch(partial(seen.append, 1))
        records.append((one, seen))
    del store._records["crm"]
    for one, _ in records:
        await one.read()
    assert store._records["crm"].refresh_token == "r3"
    assert records[0][0].grant.refresh_token == "r3"
    assert [seen for _, seen in records] == [[1], []]


async def test_what_another_has_saved_meanwhile_is_taken_and_not_overwritten():
    store = SharedStore()
    store._records["crm"] = HELD
    one, seen = record(store)
    one._seen = lambda: seen.append(1)
    await one.read()
    store._records["crm"] = theirs = structs.replace(HELD, revision=9, access_token="theirs")
    await one._put_back()
    assert (store._records["crm"], one.grant.access_token, seen) == (theirs, "theirs", [1])


async def test_a_store_that_fails_while_it_is_put_back_fails_nobody(caplog):
    store = SharedStore()
    store._records["crm"] = HELD
    one, _ = record(store)
    await one.read()
    del store._records["crm"]
    store.failing_saves = CUT_OFF
    await one.read()
    assert one.cut_off
    store.failing_saves = None
    await one.read()
    assert (store._records["crm"].revision, one.cut_off) == (7, False)
    assert caplog.messages == []  # the store tells it, once for all


async def test_an_empty_record_is_not_put_back():
    store = SharedStore()
    one, _ = record(store)
    await one.read()
    assert store.saved == []


async def test_what_could_not_be_saved_is_saved_as_soon_as_the_store_tells_anything():
    store = SharedStore()
    one, seen = record(store)
    one.watch(lambda: seen.append(1))
    await one.read()
    store.failing = CUT_OFF
    await one.change(lambda grant: pushed(grant, token("a", refresh_token="r")))
    assert (one.unsaved, one.cut_off) == (True, True)
    store.failing = None
    store._watchers["crm"][0](None)
    await one.saved()
    assert (one.unsaved, one.cut_off, store._records["crm"].access_token) == (False, False, "a")


@pytest.mark.parametrize(
    ("error", "came", "sole"), [(CUT_OFF, True, True), (UNKNOWN, True, False), (CUT_OFF, False, False)]
)
async def test_only_what_an_issuer_gave_us_and_was_certainly_never_saved_is_ours_alone(error, came, sole):
    store = SharedStore()
    store._records["crm"] = HELD
    one, _ = record(store)
    await one.read()
    assert not one.sole
    store.failing = error
    await one.change(lambda grant: structs.replace(grant, refresh_token="r4"), came=came)
    assert one.sole is sole
    await one.change(lambda grant: structs.replace(grant, spending=True))
    assert one.sole is sole
    store.failing = None
    await one.change(lambda grant: grant)
    assert not one.sole


async def test_a_lease_that_is_held_says_that_the_store_is_within_reach():
    store = SharedStore()
    one, _ = record(store)
    store.failing = CUT_OFF
    await one.read()
    assert one.cut_off
    async with one.alone(1):
        assert not one.cut_off
