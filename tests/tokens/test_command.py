"""Real programs, run by the Python that runs the tests."""

from __future__ import annotations

import asyncio
import contextlib
import os
import sys
from pathlib import Path

import pytest

from proxy.errors import CredentialRefused, CredentialUnavailable
from proxy.tokens.command import output_of


def python(code: str) -> list[str]:
    return [sys.executable, "-c", code]


def alive(pid: int) -> bool:
    """Whether a process exists that is not a zombie."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


async def gone(pid: int) -> None:
    async with asyncio.timeout(30):
        while alive(pid):
            await asyncio.sleep(0.01)


async def until_written(path: Path) -> str:
    async with asyncio.timeout(30):
        while not path.exists() or not path.read_text().endswith("\n"):
            await asyncio.sleep(0.01)
    return path.read_text()


async def test_what_a_program_prints_is_taken_as_it_is():
    assert await output_of(python("print('a\\u20ac')"), within=20, env={"PYTHONIOENCODING": "utf-8"}) == "a€\n".encode()


async def test_our_environment_is_inherited_and_added_to(monkeypatch):
    monkeypatch.setenv("FROM_US", "1")
    code = "import os; print(os.environ['FROM_US'] + os.environ['EXTRA'])"
    assert await output_of(python(code), within=20, env={"EXTRA": "2"}) == b"12\n"


async def test_standard_input_is_empty():
    assert await output_of(python("import sys; print(len(sys.stdin.read()))"), within=20) == b"0\n"


async def test_a_failure_says_the_status_and_nothing_that_the_program_said(caplog, capfd):
    code = "import sys; print('s3cret'); print('s3cret', file=sys.stderr); sys.exit(3)"
    with pytest.raises(CredentialUnavailable, match="status 3") as caught:
        await output_of([*python(code), "--password=s3cret"], within=20)
    assert "s3cret" not in f"{caught.value}{caplog.text}{capfd.readouterr()}"


async def test_a_program_that_was_killed_says_so():
    with pytest.raises(CredentialUnavailable, match="killed by signal 15"):
        await output_of(python("import os; os.kill(os.getpid(), 15)"), within=20)


@pytest.mark.parametrize("command", [["/nonexistent/program"], ["/"], ["a\0b"]])
async def test_what_cannot_be_run_is_refused(command):
    with pytest.raises(CredentialRefused, match="cannot be run"):
        await output_of(command, within=20)


async def test_endless_output_is_cut_off_and_the_program_ended(tmp_path):
    pid = tmp_path / "pid"
    code = f"import os; open({str(pid)!r}, 'w').write(f'{{os.getpid()}}\\n')\nwhile True: os.write(1, b'x' * 65536)"
    with pytest.raises(CredentialRefused, match="more than 1 MiB"):
        await output_of(python(code), within=20)
    await gone(int(pid.read_text()))


async def test_a_deadline_ends_the_program_and_everything_that_it_started(tmp_path):
    pids = tmp_path / "pids"
    shell = 'sleep 600 & echo "$$ $!" >"$0"; wait'  # quick to start, so that it has begun before its time is up
    running = asyncio.create_task(output_of(["sh", "-c", shell, str(pids)], within=3))
    parent, child = map(int, (await until_written(pids)).split())
    with pytest.raises(CredentialUnavailable, match="within 3 s"):
        await running
    assert not Path(f"/proc/{parent}").exists()  # not even a zombie
    await gone(child)


async def test_hanging_up_ends_the_program_too(tmp_path):
    pids = tmp_path / "pids"
    code = f"import os, time; open({str(pids)!r}, 'w').write(f'{{os.getpid()}}\\n'); time.sleep(600)"
    running = asyncio.create_task(output_of(python(code), within=60))
    pid = int(await until_written(pids))
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert not Path(f"/proc/{pid}").exists()


async def test_many_runs_leave_no_descriptor_and_no_zombie():
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(10):
        await output_of(["/bin/true"], within=20)
    assert len(os.listdir("/proc/self/fd")) <= before + 2
    with contextlib.suppress(ChildProcessError):  # there is no child at all, or one that somebody else has started
        assert os.waitpid(-1, os.WNOHANG) == (0, 0)
