"""The file store on real disks, between real processes, with real shortages."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import random
import resource
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest
from msgspec.structs import replace
from support.clock import FakeClock
from support.store_worker import NAME

from proxy.clock import SystemClock
from proxy.tokens.store.envelope import Envelope
from proxy.tokens.store.file import FileTokenStore
from proxy.tokens.store.token_store import Grant, LeaseTakenError, StoreError

FIRST = Grant(revision=1, generation=1, access_token="a-1", refresh_token="r-1", fields=((b"X", b"\xff"),), seed="s")
TESTS = Path(__file__).parents[2]


@pytest.fixture
def directory(tmp_path):
    return tmp_path / "state" / "tokens"


@pytest.fixture
def store(directory):
    return FileTokenStore(directory, Envelope(), SystemClock())


def worker(directory: Path, what: str, number: int = 0) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "support.store_worker", str(directory), what, str(number)],
        env={**os.environ, "PYTHONPATH": f"{TESTS}:{TESTS.parent}"},
        stdout=subprocess.PIPE,
        text=True,
    )


async def ended(process: subprocess.Popen[str]) -> str:
    out, _ = await asyncio.to_thread(process.communicate, timeout=60)
    return out


# ---- keeping ---------------------------------------------------------------------------------------------------------


async def test_nothing_is_found_before_anything_was_saved(store, directory):
    assert await store.load(NAME) is None
    assert not directory.exists()


async def test_a_saved_grant_is_found_again_by_another_process_of_the_same_directory(store, directory):
    assert await store.save(NAME, FIRST)
    assert await FileTokenStore(directory, Envelope(), SystemClock()).load(NAME) == FIRST


async def test_only_the_owner_may_read_what_was_saved(store, directory):
    """C2."""
    usual = os.umask(0)  # an operator's careless shell
    try:
        await store.save(NAME, FIRST)
    finally:
        os.umask(usual)
    assert directory.stat().st_mode & 0o777 == 0o700
    assert {path.stat().st_mode & 0o777 for path in directory.iterdir()} == {0o600}


async def test_a_file_left_readable_by_a_killed_writer_becomes_private(store, directory):
    await store.save(NAME, FIRST)
    fresh = directory / ".crm.json.new"
    fresh.write_text("half a rec")
    fresh.chmod(0o644)
    assert await store.save(NAME, replace(FIRST, revision=2))
    assert (directory / "crm.json").stat().st_mode & 0o777 == 0o600
    assert not fresh.exists()


async def test_a_save_of_an_outdated_revision_changes_nothing(store, directory):
    await store.save(NAME, FIRST)
    before = (directory / "crm.json").read_bytes()
    assert not await store.save(NAME, FIRST)
    assert not await store.save(NAME, replace(FIRST, revision=0))
    assert (directory / "crm.json").read_bytes() == before


@pytest.mark.parametrize("back", [True, False])
async def test_a_record_that_was_deleted_or_put_back_gives_way_to_the_living_grant(store, directory, back):
    await store.save(NAME, FIRST)
    older = (directory / "crm.json").read_bytes()
    await store.save(NAME, replace(FIRST, revision=2))
    if back:
        (directory / "crm.json").write_bytes(older)
    else:
        shutil.rmtree(directory)
    assert await store.save(NAME, living := replace(FIRST, revision=3))
    assert await store.load(NAME) == living


@pytest.mark.parametrize("name", ["../../etc/passwd", "a/b", "..", ".", "", "ü" * 100, "x" * 300, "a\0b", "%2e"])
async def test_any_name_stays_within_the_directory(store, directory, name):
    assert await store.save(name, FIRST)
    assert await store.load(name) == FIRST
    assert await store.load(name + "y") is None
    assert len([path for path in directory.iterdir() if path.name.endswith(".json")]) == 1
    assert list(directory.parent.iterdir()) == [directory]


async def test_an_encrypted_record_shows_neither_token(directory):
    store = FileTokenStore(directory, Envelope((os.urandom(32),)), SystemClock())
    await store.save(NAME, FIRST)
    stored = (directory / "crm.json").read_bytes()
    assert b"r-1" not in stored
    assert await store.load(NAME) == FIRST


# ---- when it cannot be kept ------------------------------------------------------------------------------------------


async def refused(store: FileTokenStore, path: Path) -> str:
    """The message of a load that fails; a save fails too and overwrites nothing."""
    before = path.read_bytes()
    with pytest.raises(StoreError) as loading:
        await store.load(NAME)
    with pytest.raises(StoreError):
        await store.save(NAME, replace(FIRST, revision=2))
    assert path.read_bytes() == before
    assert str(path) in str(loading.value)
    assert store.last_error is not None
    return str(loading.value)


async def test_a_tampered_record_is_never_overwritten_and_the_error_says_what_to_do(directory):
    store = FileTokenStore(directory, Envelope((os.urandom(32),)), SystemClock())
    await store.save(NAME, FIRST)
    path = directory / "crm.json"
    outer = json.loads(path.read_text())
    outer["sealed"] = outer["sealed"][:-8] + "AAAAAAA="
    path.write_text(json.dumps(outer))
    assert "restore it from a copy, or delete it" in await refused(store, path)


async def test_a_wrong_key_leaves_the_record_alone(directory):
    await FileTokenStore(directory, Envelope((os.urandom(32),)), SystemClock()).save(NAME, FIRST)
    wrong = FileTokenStore(directory, Envelope((os.urandom(32),)), SystemClock())
    assert "add that key" in await refused(wrong, directory / "crm.json")


@pytest.mark.parametrize("content", [b"", b"not json", b'{"format":1,"record":{"revision":"x"}}'])
async def test_a_damaged_record_leaves_everything_as_it_is(store, directory, content):
    directory.mkdir(parents=True)
    (directory / "crm.json").write_bytes(content)
    assert "damaged" in await refused(store, directory / "crm.json")


async def test_a_record_of_absurd_size_is_not_read(store, directory):
    directory.mkdir(parents=True)
    (directory / "crm.json").write_bytes(bytes(1024 * 1024 + 1))
    assert "larger than any record" in await refused(store, directory / "crm.json")


async def test_a_pipe_in_a_records_place_holds_nobody_up(store, directory):
    directory.mkdir(parents=True)
    os.mkfifo(directory / "crm.json")
    with pytest.raises(StoreError, match="not a plain file"):
        await store.load(NAME)


async def test_a_link_in_the_new_files_place_is_not_followed(store, directory, tmp_path):
    await store.save(NAME, FIRST)
    (directory / ".crm.json.new").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(StoreError, match="cannot be saved"):
        await store.save(NAME, replace(FIRST, revision=2))
    assert not (tmp_path / "elsewhere").exists()
    assert await store.load(NAME) == FIRST


async def test_a_file_in_the_directorys_place_is_named(tmp_path):
    (tmp_path / "state").write_text("")
    store = FileTokenStore(tmp_path / "state", Envelope(), SystemClock())
    with pytest.raises(StoreError, match=r"choose another store\.path"):
        await store.save(NAME, FIRST)
    with pytest.raises(StoreError, match="cannot be locked"):
        async with store.lease(NAME, 1):
            pass


async def test_a_directory_that_others_may_write_to_is_refused_until_they_may_not(store, directory):
    """Neither read nor written nor locked, and the message is the command that mends it."""
    await store.save(NAME, FIRST)
    before = (directory / "crm.json").read_bytes()
    directory.parent.chmod(0o777)
    said = rf"others may write to {directory.parent} \(mode 0777\); chmod go-w {directory.parent}$"
    with pytest.raises(StoreError, match=said):
        await store.load(NAME)
    with pytest.raises(StoreError, match=said):
        await store.save(NAME, replace(FIRST, revision=2))
    with pytest.raises(StoreError, match=said):
        async with store.lease(NAME, 1):
            pass
    assert (directory / "crm.json").read_bytes() == before
    directory.parent.chmod(0o755)
    assert await store.load(NAME) == FIRST
    assert await store.save(NAME, replace(FIRST, revision=2))
    assert store.last_error is None


@contextlib.contextmanager
def nobody():
    """Root may read everything, so for a moment we are not root."""
    if (ours := os.geteuid()) == 0:
        os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(ours)


async def test_an_unreadable_record_is_named(store, directory):
    await store.save(NAME, FIRST)
    (directory / "crm.json").chmod(0)
    with nobody(), pytest.raises(StoreError, match=r"crm\.json cannot be read.*let the user that runs the sidecar"):
        await store.load(NAME)


@contextlib.contextmanager
def tiny_disk(place: Path):
    """A disk of 64 KiB, where we may mount one; says whether that worked."""
    place.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=64k", "none", str(place)]
    mounted = os.geteuid() == 0 and subprocess.run(mount, check=False, capture_output=True).returncode == 0
    try:
        yield mounted
    finally:
        if mounted:
            subprocess.run(["umount", str(place)], check=True)


def fill(ballast: Path) -> None:
    with contextlib.suppress(OSError), ballast.open("wb", buffering=0) as file:
        while True:
            file.write(bytes(4096))


async def test_a_full_disk_keeps_the_old_record_and_is_mended_by_space(tmp_path):
    """Where no disk can be mounted, only the file size limit of the next test stands for it."""
    place = tmp_path / "disk"
    with tiny_disk(place) as mounted:
        if not mounted:
            return
        store = FileTokenStore(place / "tokens", Envelope(), SystemClock())
        await store.save(NAME, FIRST)
        fill(place / "ballast")
        second = replace(FIRST, revision=2, refresh_token="r-2")
        with pytest.raises(StoreError, match=r"crm\.json cannot be saved: No space left on device; free some space"):
            await store.save(NAME, second)
        assert await store.load(NAME) == FIRST
        assert (store.errors, "No space" in store.last_error) == (1, True)
        (place / "ballast").unlink()
        assert await store.save(NAME, second)
        assert store.last_error is None
        assert await store.load(NAME) == second


async def test_a_file_size_limit_in_the_middle_of_a_record_keeps_the_old_one(store, directory):
    await store.save(NAME, FIRST)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, hard))
    try:
        with pytest.raises(StoreError, match="File too large"):
            await store.save(NAME, replace(FIRST, revision=2, refresh_token="r" * 10_000))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert await store.load(NAME) == FIRST
    assert sorted(path.name for path in directory.iterdir()) == ["crm.json", "crm.lock"]


# ---- several processes -----------------------------------------------------------------------------------------------


async def test_a_kill_in_the_middle_leaves_a_whole_record(store, directory):
    """C2."""
    chance = random.Random(7)
    revision = 0
    for _ in range(6):
        process = worker(directory, "save_for_ever")
        try:
            async with asyncio.timeout(30):
                while (await store.load(NAME) or Grant()).revision <= revision:
                    await asyncio.sleep(0.005)
            await asyncio.sleep(chance.random() * 0.05)
        finally:
            process.kill()
            await ended(process)
        held = await store.load(NAME)
        assert held.refresh_token == f"{held.revision}-" * 20_000
        assert held.revision > revision
        revision = held.revision
    assert await store.save(NAME, Grant(revision=revision + 1))  # nobody's lock is left


async def test_two_processes_that_save_at_once_lose_no_save(store, directory):
    both = [worker(directory, "save_often", 60) for _ in range(2)]
    for process in both:
        await ended(process)
        assert process.returncode == 0
    assert await store.load(NAME) == Grant(revision=120, generation=120)


async def test_two_processes_renew_once_between_them(store, directory):
    """C6."""
    await store.save(NAME, FIRST)
    both = [worker(directory, "renew_once", 1) for _ in range(2)]
    assert sorted([await ended(process) for process in both]) == ["", "renewed\n"]
    assert (await store.load(NAME)).revision == 2


async def test_a_lease_is_waited_for_no_longer_than_asked_and_ends_with_its_holder(store, directory):
    process = worker(directory, "hold")
    try:
        assert await asyncio.to_thread(process.stdout.readline) == "held\n"
        with pytest.raises(LeaseTakenError, match=r"crm\.lease is held by another process for more than 0.1 s"):
            async with store.lease(NAME, 0.1):
                pass
    finally:
        process.kill()
        await ended(process)
    async with store.lease(NAME, 5):
        pass


async def test_a_wait_for_the_lease_never_holds_up_the_loop(store):
    slowest = 0.0
    async with store.lease(NAME, 1):
        waiting = asyncio.create_task(enter(store, 30))
        for _ in range(100):
            before = time.perf_counter()
            await asyncio.sleep(0)
            slowest = max(slowest, time.perf_counter() - before)
        assert not waiting.done()
    await waiting
    assert slowest < 10  # instead of for ever: who waits never gets it then


async def enter(store: FileTokenStore, wait: float) -> None:
    async with store.lease(NAME, wait):
        pass


async def test_two_renewals_in_one_process_exclude_each_other_too(store):
    async with store.lease(NAME, 1):
        with pytest.raises(LeaseTakenError):
            await enter(store, 0.05)
        async with store.lease("another", 0):
            pass


async def test_hanging_up_while_waiting_for_the_lease_leaves_nothing_behind(store):
    before = len(os.listdir("/proc/self/fd"))
    async with store.lease(NAME, 1):
        for turns in range(5):
            waiting = asyncio.create_task(enter(store, 30))
            for _ in range(turns):
                await asyncio.sleep(0)
            waiting.cancel()
            await asyncio.wait([waiting])
            assert waiting.cancelled()
    async with store.lease(NAME, 0):
        pass
    async with asyncio.timeout(30):
        while len(os.listdir("/proc/self/fd")) > before:
            await asyncio.sleep(0.01)


# ---- watching --------------------------------------------------------------------------------------------------------


async def looked(clock: FakeClock) -> None:
    """Wait until the watch has looked, in its thread, and sleeps until the next time."""
    async with asyncio.timeout(30):
        while not clock.sleeping:
            await asyncio.sleep(0.001)


async def test_what_another_process_saves_is_reported_once(store, directory):
    await store.save(NAME, FIRST)
    clock = FakeClock()
    watching = FileTokenStore(directory, Envelope(), clock)
    heard: list[Grant] = []
    stop = watching.watch(NAME, heard.append)
    await watching.start()
    await watching.start()
    await looked(clock)
    assert heard == [FIRST]
    await store.save(NAME, second := replace(FIRST, revision=2))
    for _ in range(3):
        await clock.advance(1)
        await looked(clock)
    assert heard == [FIRST, second]
    stop()
    await store.save(NAME, replace(FIRST, revision=3))
    await clock.advance(1)
    await looked(clock)
    assert heard == [FIRST, second]
    await watching.close()
    await watching.close()


async def test_a_damaged_record_is_reported_once_and_forgotten_when_mended(store, directory, caplog):
    await store.save(NAME, FIRST)
    clock = FakeClock()
    watching = FileTokenStore(directory, Envelope(), clock)
    heard: list[Grant] = []
    watching.watch(NAME, heard.append)
    watching.watch("never-saved", heard.append)
    await watching.start()
    await looked(clock)
    whole = (directory / "crm.json").read_bytes()
    (directory / "crm.json").write_bytes(b"{")
    for _ in range(3):
        await clock.advance(1)
        await looked(clock)
    assert "damaged" in watching.last_error
    assert sum("damaged" in message for message in caplog.messages) == 1
    (directory / "crm.json").write_bytes(whole)
    await clock.advance(1)
    await looked(clock)
    assert (heard, watching.last_error) == ([FIRST, FIRST], None)
    await watching.close()


async def test_a_record_that_nobody_watches_any_more_is_left_alone(store, directory):
    """Credentials that a reload removed: their files cost nothing, and whatever becomes of them is no error of ours."""
    await store.save(NAME, FIRST)
    clock = FakeClock()
    watching = FileTokenStore(directory, Envelope(), clock)
    heard: list[Grant] = []
    first, second = watching.watch(NAME, print), watching.watch(NAME, heard.append)
    await watching.start()
    await looked(clock)
    first()
    await store.save(NAME, newer := replace(FIRST, revision=2))
    await clock.advance(1)
    await looked(clock)
    assert heard == [FIRST, newer]
    second()
    (directory / "crm.json").write_bytes(b"{")
    await clock.advance(1)
    await looked(clock)
    assert (watching.errors, watching.last_error) == (0, None)
    await watching.close()


async def test_a_record_that_cannot_be_read_is_reported_by_the_watch(directory):
    clock = FakeClock()
    watching = FileTokenStore(directory, Envelope(), clock)
    watching.watch(NAME, print)
    directory.mkdir(parents=True)
    (directory / "crm.json").mkdir()
    await watching.start()
    await looked(clock)
    assert "crm.json cannot be read" in watching.last_error
    await watching.close()


async def test_a_touched_record_is_no_news(store, directory):
    await store.save(NAME, FIRST)
    clock = FakeClock()
    watching = FileTokenStore(directory, Envelope(), clock)
    heard: list[Grant] = []
    watching.watch(NAME, heard.append)
    await watching.start()
    await looked(clock)
    os.utime(directory / "crm.json", (1, 1))
    await clock.advance(1)
    await looked(clock)
    assert heard == [FIRST]
    await watching.close()


# ---- another key -----------------------------------------------------------------------------------------------------


async def test_another_key_opens_what_the_old_one_could_not_and_seals_from_now_on(directory):
    clock, old, new = FakeClock(), Envelope((b"o" * 32,)), Envelope((b"n" * 32, b"o" * 32))
    ours, theirs = FileTokenStore(directory, old, clock), FileTokenStore(directory, new, clock)
    seen: list[Grant] = []
    ours.watch(NAME, seen.append)
    assert await theirs.save(NAME, FIRST)
    await ours.start()
    with contextlib.suppress(StoreError):
        await ours.load(NAME)
    assert ours.last_error is not None
    ours.seal_with(new)
    async with asyncio.timeout(30):
        while not seen:
            await clock.advance(1)
            await asyncio.sleep(0.01)
    await ours.close()
    assert seen == [FIRST]
    assert ours.last_error is None
    assert await ours.save(NAME, replace(FIRST, revision=2))
    with pytest.raises(StoreError, match="which encryption_key does not hold"):
        await FileTokenStore(directory, old, clock).load(NAME)


async def test_the_same_keys_again_make_nobody_look_anew(store):
    store._seen[NAME] = (None, b"digest")
    store.seal_with(Envelope())
    assert store._seen


async def test_a_record_that_others_may_write_to_is_reported_once_and_seen_as_soon_as_they_may_not(directory, caplog):
    """chmod leaves the stamp of the file as it is."""
    await FileTokenStore(directory, Envelope(), SystemClock()).save(NAME, FIRST)
    (directory / "crm.json").chmod(0o666)
    clock = FakeClock()
    watching = FileTokenStore(directory, Envelope(), clock)
    heard: list[Grant] = []
    watching.watch(NAME, heard.append)
    await watching.start()
    for _ in range(3):
        await looked(clock)
        await clock.advance(1)
    await looked(clock)
    assert (heard, watching.errors) == ([], 1)
    assert sum("chmod go-w" in message for message in caplog.messages) == 1
    (directory / "crm.json").chmod(0o600)
    await clock.advance(1)
    await looked(clock)
    assert (heard, watching.last_error) == ([FIRST], None)
    await watching.close()


async def test_whoever_fails_to_take_a_record_in_keeps_it_from_nobody_else(directory, monkeypatch, caplog):
    monkeypatch.setattr("proxy.tokens.store.file._WATCH_EVERY", 0.01)
    store = FileTokenStore(directory, Envelope(), SystemClock())
    other = FileTokenStore(directory, Envelope(), SystemClock())
    seen: list[int] = []

    def fails(grant: Grant) -> None:
        raise ZeroDivisionError(grant.access_token)

    store.watch("a", fails)
    store.watch("a", lambda grant: seen.append(grant.revision))
    store.watch("b", lambda grant: seen.append(grant.revision))
    await store.start()
    try:
        await other.save("a", Grant(revision=1))
        await other.save("b", Grant(revision=2))
        async with asyncio.timeout(20):
            while len(seen) < 2:
                await asyncio.sleep(0.01)
        with monkeypatch.context() as broken:
            broken.setattr(store, "_changes", lambda _: 1 // 0)
            async with asyncio.timeout(20):
                while "while watching the store" not in caplog.text:
                    await asyncio.sleep(0.01)
        await other.save("a", Grant(revision=3))
        async with asyncio.timeout(20):
            while 3 not in seen:
                await asyncio.sleep(0.01)
    finally:
        await store.close()
    assert "internal error while a was taken in, please report: ZeroDivisionError" in caplog.text
