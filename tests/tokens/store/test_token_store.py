from __future__ import annotations

import asyncio
import base64
import re

import msgspec
import pytest
from msgspec.structs import replace

from proxy.tokens.store.envelope import Envelope
from proxy.tokens.store.token_store import Grant, LeaseTakenError, StoreError


def test_a_grant_survives_being_written_down():
    grant = Grant(
        revision=4,
        generation=3,
        access_token="a",
        expires_at=9.5,
        refresh_token="r",
        fields=((b"X-Key", b"\xff\x00"),),
        key="pem",
        seed="mark",
        rotates=True,
        spending=True,
    )
    assert msgspec.json.decode(msgspec.json.encode(grant), type=Grant) == grant


def test_a_grant_of_an_older_version_is_read_and_what_a_newer_one_adds_is_passed_over():
    assert msgspec.json.decode(b'{"revision":1,"added_later":true}', type=Grant) == Grant(revision=1)


@pytest.mark.parametrize(("rotates", "spending"), [(False, False), (True, False), (False, True), (True, True)])
def test_a_refresh_token_is_in_doubt_only_if_it_was_sent_and_would_have_been_replaced(rotates, spending):
    assert Grant(rotates=rotates, spending=spending).in_doubt is (rotates and spending)


def test_a_grant_cannot_be_printed():
    text = repr(Grant(revision=3, access_token="s3cret", refresh_token="s3cret", key="s3cret", seed="s3cret"))
    assert "s3cret" not in text
    assert "revision=3" in text


def test_failures_say_whether_one_may_go_on_without_the_store():
    assert StoreError("gone").degrade
    assert not StoreError("gone", degrade=False).degrade
    assert isinstance(LeaseTakenError("taken"), StoreError)


# ---- the contract of every store: memory, file, redis ----------------------------------------------------------------

NAME = "crm"
KEY, OTHER_KEY = (base64.b64encode(octet * 32).decode() for octet in (b"k", b"o"))
FIRST = Grant(
    revision=1,
    generation=1,
    access_token="secret-access",
    refresh_token="secret-refresh",
    expires_at=1_800_000_000.5,
    lifetime=3600.0,
    fields=((b"X-Key", b"\xff\x00"),),
    key="pem",
    seed="mark",
    rotates=True,
    spending=True,
    others=(Grant(audience="a", refresh_token="theirs"),),
    saves=("one", "two"),
)


async def until(condition) -> None:
    async with asyncio.timeout(30):
        while not condition():
            await asyncio.sleep(0.005)


async def test_nothing_is_there_before_anything_was_saved(make):
    store = make()
    assert await store.load(NAME) is None
    assert (store.errors, store.last_error) == (0, None)


async def test_what_one_saves_another_finds_whole(make):
    assert await make().save(NAME, FIRST)
    assert await make().load(NAME) == FIRST
    assert await make().load("other") is None


@pytest.mark.parametrize("late", [1, 0])
async def test_a_save_that_is_not_later_changes_nothing(make, late):
    assert await make().save(NAME, FIRST)
    assert not await make().save(NAME, Grant(revision=late, access_token="late"))
    assert await make().load(NAME) == FIRST


@pytest.mark.parametrize("revision", [2, 3, 900_719_925_474])
async def test_a_later_save_replaces_whatever_lies_between(make, revision):
    ours, theirs = make(), make()
    await ours.save(NAME, FIRST)
    assert await theirs.save(NAME, newer := replace(FIRST, revision=revision, access_token="newer"))
    assert await ours.load(NAME) == newer
    assert not await ours.save(NAME, replace(FIRST, revision=2))


async def test_a_record_that_was_lost_gives_way_to_the_living_grant(make, backing):
    store = make()
    await store.save(NAME, FIRST)
    backing.lose(NAME)
    assert await store.load(NAME) is None
    assert await store.save(NAME, living := replace(FIRST, revision=3))
    assert await make().load(NAME) == living


@pytest.mark.parametrize("name", ["a/b", "..", "{x}", "}{", "a b", "ü" * 100, "x" * 300, "%2e", "a:lease", "changes"])
async def test_any_name_has_a_record_and_a_lease_of_its_own(make, name):
    store = make()
    assert await store.save(name, FIRST)
    assert await store.load(name) == FIRST
    assert await store.load(name + "y") is None
    async with store.lease(name, 1), store.lease(name + "y", 1):
        assert await store.load(name) == FIRST


async def test_savers_at_once_lose_no_save(make):
    async def count(store, times: int) -> None:
        done = 0
        while done < times:
            held = await store.load(NAME) or Grant()
            done += await store.save(NAME, replace(held, revision=held.revision + 1, generation=held.generation + 1))

    await asyncio.gather(*(count(make(), 20) for _ in range(3)))
    assert await make().load(NAME) == Grant(revision=60, generation=60)


async def test_one_at_a_time_holds_the_lease_of_a_name(make):
    ours, theirs = make(), make()
    async with ours.lease(NAME, 1) as lease:
        assert lease.held()
        async with theirs.lease("other", 1):
            pass
        with pytest.raises(LeaseTakenError):
            async with theirs.lease(NAME, 0.01):
                raise AssertionError
    async with theirs.lease(NAME, 0.01):
        pass
    assert (theirs.errors, theirs.last_error) == (0, None)


async def test_the_lease_passes_on_when_its_holder_fails(make):
    async def fail() -> None:
        async with make().lease(NAME, 1):
            raise LookupError

    with pytest.raises(LookupError):
        await fail()
    async with make().lease(NAME, 0.01):
        pass


async def test_who_waits_for_the_lease_gets_it(make):
    held: list[int] = []

    async def hold() -> None:
        async with make().lease(NAME, 20):
            held.append(len(held))
            await asyncio.sleep(0)

    await asyncio.gather(*(hold() for _ in range(4)))
    assert held == [0, 1, 2, 3]


async def test_whoever_hangs_up_while_it_waits_for_the_lease_leaves_nothing_behind(make):
    ours, theirs = make(), make()
    async with ours.lease(NAME, 1):
        for turns in range(5):
            waiting = asyncio.create_task(theirs.lease(NAME, 30).__aenter__())
            for _ in range(turns):
                await asyncio.sleep(0)
            waiting.cancel()
            await asyncio.wait([waiting])
    async with theirs.lease(NAME, 1):
        pass


async def test_several_renew_once_between_them(make):
    asked = []

    async def renew(store) -> None:
        async with store.lease(NAME, 20):
            if (await store.load(NAME)) == FIRST:
                asked.append(store)
                await asyncio.sleep(0.02)
                assert await store.save(NAME, replace(FIRST, revision=2))

    await make().save(NAME, FIRST)
    await asyncio.gather(*(renew(make()) for _ in range(5)))
    assert len(asked) == 1


async def test_start_and_close_may_come_twice_and_nobody_is_told_of_what_nobody_else_saves(make):
    store = make()
    seen: list[Grant | None] = []
    stop = store.watch(NAME, seen.append)
    await store.start()
    await store.start()
    stop()
    await store.save(NAME, FIRST)
    await store.close()
    await store.close()
    assert [grant for grant in seen if grant is not None] == []


async def test_what_another_saves_is_seen_within_a_second_or_two(make, backing):
    if not backing.shared:
        return
    ours, theirs = make(), make()
    seen: list[Grant | None] = []
    ours.watch(NAME, seen.append)
    await ours.start()
    await theirs.save(NAME, FIRST)
    await until(lambda: FIRST in seen)
    await theirs.save("other", replace(FIRST, revision=7))
    await theirs.save(NAME, second := replace(FIRST, revision=2))
    await until(lambda: second in seen)
    assert {grant.revision for grant in seen if grant is not None} == {1, 2}


async def test_whoever_fails_to_take_a_record_in_keeps_it_from_nobody_else(make, backing, caplog):
    if not backing.shared:
        return
    ours, theirs = make(), make()
    seen: list[int] = []
    ours.watch("a", lambda _: 1 // 0)
    ours.watch("a", lambda grant: seen.append(grant.revision if grant else 0))
    ours.watch("b", lambda grant: seen.append(grant.revision if grant else 0))
    await ours.start()
    await theirs.save("a", Grant(revision=1))
    await theirs.save("b", Grant(revision=2))
    await until(lambda: {1, 2} <= set(seen))
    assert "internal error while a was taken in, please report: ZeroDivisionError" in caplog.text


async def test_an_encrypted_record_shows_nothing_and_opens_with_its_key_alone(make, backing):
    if not backing.shared:
        return
    assert await make(KEY).save(NAME, FIRST)
    assert b"secret" not in backing.raw(NAME)
    assert await make(f"{OTHER_KEY}\n{KEY}").load(NAME) == FIRST
    await refused(make(OTHER_KEY), backing, "add that key")
    await refused(make(), backing, "give the store its encryption_key")


async def refused(store, backing, why: str) -> None:
    """Neither read nor overwritten, and the message names the record's place and what mends it."""
    before = backing.raw(NAME)
    place = "crm.json" if hasattr(backing, "path") else backing.key(NAME)
    with pytest.raises(StoreError, match=re.escape(place)) as failure:
        await store.load(NAME)
    assert why in str(failure.value)
    for revision in (1, 2, 99):
        with pytest.raises(StoreError, match=re.escape(place)):
            await store.save(NAME, replace(FIRST, revision=revision))
    assert backing.raw(NAME) == before
    assert why in store.last_error
    assert store.errors > 0
    assert "secret" not in str(failure.value)


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"", "no record of ours or damaged"),
        (b"not json", "no record of ours or damaged"),
        (b"[1, 2]", "no record of ours or damaged"),
        (b'{"format":2,"revision":1,"record":{}}', "use the version that wrote it"),
        (b'{"format":1,"revision":1,"record":{"revision":"x"}}', "a later version wrote it"),
        (b'{"format":1,"revision":1,"key":"00000000","nonce":"AAAA","sealed":"AAAA"}', "encrypted with key"),
        (b'{"format":1,"revision":1}', "damaged"),
    ],
)
async def test_what_is_no_record_that_can_be_read_stays_as_it_is(make, backing, content, why):
    if not backing.shared:
        return
    backing.put(NAME, content)
    await refused(make(), backing, why)


async def test_a_plain_record_is_refused_once_there_is_a_key_unless_a_line_admits_it(make, backing):
    if not backing.shared:
        return
    await make().save(NAME, FIRST)
    await refused(make(KEY), backing, "it is not encrypted")
    moving = make(f"{KEY}\nplaintext")
    assert await moving.load(NAME) == FIRST
    assert await moving.save(NAME, second := replace(FIRST, revision=2))
    assert await make(KEY).load(NAME) == second


async def test_a_record_in_anothers_place_does_not_open(make, backing):
    if not backing.shared:
        return
    await make(KEY).save("other", FIRST)
    backing.put(NAME, backing.raw("other"))
    await refused(make(KEY), backing, "belongs to another credential")


async def test_an_older_copy_gives_way_to_the_living_grant(make, backing):
    if not backing.shared:
        return
    store = make(KEY)
    await store.save(NAME, FIRST)
    older = backing.raw(NAME)
    await store.save(NAME, replace(FIRST, revision=2))
    backing.put(NAME, older)
    assert await store.save(NAME, living := replace(FIRST, revision=3))
    assert await make(KEY).load(NAME) == living


async def test_another_key_opens_what_the_old_one_could_not_and_seals_from_now_on(make, backing):
    if not backing.shared:
        return
    ours = make(OTHER_KEY)
    await make(KEY).save(NAME, FIRST)
    with pytest.raises(StoreError):
        await ours.load(NAME)
    ours.seal_with(Envelope.from_lines(f"{OTHER_KEY}\n{KEY}"))
    assert await ours.load(NAME) == FIRST
    assert ours.last_error is None
    assert await ours.save(NAME, second := replace(FIRST, revision=2))
    assert await make(OTHER_KEY).load(NAME) == second


async def test_whoever_need_not_wait_any_longer_does_not(make, backing):
    if not backing.shared:
        return
    ours, theirs = make(), make()
    async with ours.lease(NAME, 1):
        with pytest.raises(LeaseTakenError, match="need not be taken"):
            async with theirs.lease(NAME, 600, lambda: True):
                raise AssertionError
