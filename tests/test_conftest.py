from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

HOUSE = Path(__file__).parent


def run(tmp_path: Path, source: str, *options: str, **environment: str) -> tuple[int, str]:
    """A run of pytest under this tree's conftest over one small file."""
    (tmp_path / "conftest.py").write_text((HOUSE / "conftest.py").read_text())
    (tmp_path / "test_it.py").write_text(source)
    settings = (
        f"[pytest]\nasyncio_mode = auto\npythonpath = {HOUSE}\nmarkers =\n  peer(name): a peer\n  alone: by itself\n"
    )
    (tmp_path / "pytest.ini").write_text(settings)
    inherited = {key: value for key, value in os.environ.items() if key != "SKIPS_FAIL"}
    plugins = (
        "-p",
        "pytest_asyncio.plugin",
        "-p",
        "xdist.plugin",
        "-p",
        "no:cacheprovider",
    )  # all others cost seconds to import
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", *plugins, str(tmp_path), *options],
        env=inherited | {"PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"} | environment,
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    return done.returncode, done.stdout


NEEDS_A_PEER = "import pytest\n@pytest.mark.peer('no-such-program')\ndef test_it(): assert True\n"
SKIPS_ITS_FILE = "import pytest\npytest.importorskip('no_such_module')\ndef test_it(): assert True\n"


@pytest.mark.parametrize("options", [[], ["-n", "2"]])
@pytest.mark.parametrize("source", [NEEDS_A_PEER, SKIPS_ITS_FILE])
def test_what_cannot_run_is_skipped_at_home_and_fails_where_skips_fail(tmp_path, source, options):
    _, at_home = run(tmp_path, source, *options)
    assert "1 skipped" in at_home
    assert "failed" not in at_home
    status, in_ci = run(tmp_path, source, *options, SKIPS_FAIL="1")
    assert status != 0
    assert "SKIPS_FAIL=1 allows no skip" in in_ci


def test_a_task_that_a_test_leaves_behind_fails_it(tmp_path):
    _, output = run(
        tmp_path,
        "import asyncio\nasync def test_it():\n    global t\n    t = asyncio.create_task(asyncio.sleep(9))\n",
    )
    assert "tasks left running" in output
    _, output = run(tmp_path, "import asyncio\nasync def test_it(): await asyncio.create_task(asyncio.sleep(0))\n")
    assert "1 passed" in output
    assert "error" not in output


@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="children are read from /proc")
def test_a_process_that_a_test_leaves_behind_fails_it(tmp_path):
    _, output = run(
        tmp_path,
        "import subprocess\ndef test_it():\n    global p\n    p = subprocess.Popen(['sleep', '2'])\n",
    )
    assert "processes left running" in output


NOTES_WHEN_IT_RUNS = """
import os, pathlib, pytest, time
def noted(name):
    began = time.monotonic()
    time.sleep(0.05)
    with open("times", "a") as times:
        times.write(f"{name} {os.getpid()} {began} {time.monotonic()}\\n")
@pytest.mark.parametrize("number", range(8))
def test_a(number): noted("other")
@pytest.mark.alone
@pytest.mark.parametrize("number", range(3))
def test_b(number): noted("alone")
@pytest.mark.parametrize("number", range(8))
def test_c(number): noted("other")
"""


def test_a_test_that_runs_alone_overlaps_with_no_other_of_a_parallel_run(tmp_path):
    status, output = run(tmp_path, NOTES_WHEN_IT_RUNS, "-n", "3")
    assert status == 0, output
    noted = [line.split() for line in (tmp_path / "times").read_text().splitlines()]
    assert len(noted) == 19
    assert len({process for _, process, _, _ in noted}) > 1
    spans = [(name, float(began), float(ended)) for name, _, began, ended in noted]
    for name, began, ended in spans:
        if name == "alone":
            assert [one for one in spans if one[1] < ended and began < one[2]] == [(name, began, ended)]
