from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

HOUSE = Path(__file__).parent


def run(tmp_path: Path, source: str, **environment: str) -> tuple[int, str]:
    """A run of pytest under this tree's conftest over one small file."""
    (tmp_path / "conftest.py").write_text((HOUSE / "conftest.py").read_text())
    (tmp_path / "test_it.py").write_text(source)
    settings = f"[pytest]\nasyncio_mode = auto\npythonpath = {HOUSE}\nmarkers = peer(name): a peer\n"
    (tmp_path / "pytest.ini").write_text(settings)
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(tmp_path)],
        env={key: value for key, value in os.environ.items() if key != "SKIPS_FAIL"} | environment,
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    return done.returncode, done.stdout


NEEDS_A_PEER = "import pytest\n@pytest.mark.peer('no-such-program')\ndef test_it(): assert True\n"
SKIPS_ITS_FILE = "import pytest\npytest.importorskip('no_such_module')\ndef test_it(): assert True\n"


@pytest.mark.parametrize("source", [NEEDS_A_PEER, SKIPS_ITS_FILE])
def test_what_cannot_run_is_skipped_at_home_and_fails_where_skips_fail(tmp_path, source):
    _, at_home = run(tmp_path, source)
    assert "1 skipped" in at_home
    assert "failed" not in at_home
    status, in_ci = run(tmp_path, source, SKIPS_FAIL="1")
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
