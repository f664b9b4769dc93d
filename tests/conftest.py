"""What holds for every test: nothing is left running, and under SKIPS_FAIL=1 a test that cannot run has failed.

In a parallel run (`-n`), a test marked `alone` runs while no other test does.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import os
import shutil
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from support.local_redis import LocalRedis
from support.tools import found

from proxy.forward.exchange import Exchange, Phase
from proxy.forward.write_batcher import BatchingLoop, WriteBatcher

SUPPORT = Path(__file__).parent / "support"
MOST_WORKERS = 8
"""Each takes 300 MiB, and spends seconds on collecting all tests."""
SKIPS_FAIL = os.environ.get("SKIPS_FAIL") == "1"

UNHURRIED = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])  # a busy machine is no failure
settings.register_profile("unhurried", UNHURRIED)
settings.register_profile("ci", UNHURRIED, derandomize=True)  # what fails there fails again at home
settings.load_profile("ci" if SKIPS_FAIL else "unhurried")


def is_here(peer: str) -> bool:
    """Whether a program or a module is here, or the npm packages of tests/support/PEER are installed."""
    if (SUPPORT / peer / "package.json").exists():
        return (SUPPORT / peer / "node_modules").is_dir() and shutil.which("node") is not None
    return found(peer) is not None


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        for mark in item.iter_markers("peer"):
            if not is_here(mark.args[0]):
                item.add_marker(pytest.mark.skip(f"{mark.args[0]} is not installed here (see .ci/peers)"))
        if isinstance(item, pytest.Function) and asyncio.iscoroutinefunction(item.obj):
            item.fixturenames.insert(0, "no_task_left")  # first in, so last out: after every other fixture is torn down


def pytest_xdist_auto_num_workers() -> int:
    """Processes for `-n auto`: two for each core, because tests of the whole program wait half of their time."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return min(2 * cores, MOST_WORKERS)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item):
    with _turn(alone=item.get_closest_marker("alone") is not None):
        return (yield)


@contextlib.contextmanager
def _turn(*, alone: bool) -> Iterator[None]:
    """Wait for the end of a test that runs alone, or, to run alone, for the end of all that have begun.

    The processes of a run share two locks, on files that are there anyway. `entrance` is held for a moment, by a test
    that runs alone to its end: so none begins while it waits for those that have begun.
    """
    with Path(__file__).open("rb") as entrance:
        running = os.open(Path(__file__).parent, os.O_RDONLY)
        try:
            fcntl.flock(entrance, fcntl.LOCK_EX)
            fcntl.flock(running, fcntl.LOCK_EX if alone else fcntl.LOCK_SH)
            if not alone:
                fcntl.flock(entrance, fcntl.LOCK_UN)
            yield
        finally:
            os.close(running)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport():
    return _no_skip((yield))


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report():
    return _no_skip((yield))


def _no_skip(report):
    if SKIPS_FAIL and report.skipped and not hasattr(report, "wasxfail"):
        report.outcome = "failed"
        report.longrepr = f"skipped, and SKIPS_FAIL=1 allows no skip: {report.longrepr[-1]}"
    return report


class _AlwaysBatching(WriteBatcher):
    """Lets everything wait for the end of the turn: what could go wrong with that goes wrong here."""

    gathering = property(lambda _: True, lambda *_: None)  # type: ignore[assignment]


def pytest_asyncio_loop_factories():
    return {"gathering": lambda: BatchingLoop(_AlwaysBatching())}


_enter = Exchange._enter
_illegal: list[str] = []


def _enter_as_the_table_says(exchange: Exchange, phase: Phase) -> None:
    ended = phase is Phase.DONE and exchange.phase is not Phase.DONE
    if not ended and phase.name not in exchange.phase.leads_to:
        _illegal.append(f"{exchange.phase.name} became {phase.name}")
    _enter(exchange, phase)


Exchange._enter = _enter_as_the_table_says  # type: ignore[assignment, method-assign]


@pytest.fixture(autouse=True)
def no_phase_beside_the_table() -> Iterator[None]:
    """An error within the data path would be answered there: it is told here."""
    _illegal.clear()
    yield
    assert not _illegal, f"exchanges that are beside their table: {_illegal}"


@pytest.fixture
async def no_task_left() -> AsyncIterator[None]:
    before = asyncio.all_tasks()
    yield
    for turn in range(100):
        left = asyncio.all_tasks() - before - {asyncio.current_task()}
        if not left:
            return
        await asyncio.sleep(0 if turn < 20 else 0.02)  # on a busy machine even loopback tells of an end a while later
    pytest.fail("tasks left running: " + ", ".join(str(task.get_coro()) for task in left))


@pytest.fixture(scope="session")
def redis_server() -> Iterator[LocalRedis]:
    """One for all tests of this run that do not end or stop it; each takes a key prefix of its own."""
    with LocalRedis() as server:
        yield server


def _children() -> set[str]:
    """The processes that this one has started and that still run (or were never waited for)."""
    found: set[str] = set()
    for thread in Path("/proc/self/task").glob("*/children"):
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):  # the thread has ended meanwhile
            found.update(thread.read_text().split())
    return found


@pytest.fixture(autouse=True)
def no_process_left() -> Iterator[None]:
    before = _children()
    yield
    left = _children() - before
    assert not left, f"processes left running: {sorted(left)}"
