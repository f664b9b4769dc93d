"""`python -m proxy` is `auth-sidecar`."""

from __future__ import annotations

import subprocess
import sys

from proxy import __version__


def test_the_package_runs_as_a_module_and_says_who_it_is():
    done = subprocess.run([sys.executable, "-m", "proxy", "--version"], capture_output=True, text=True, check=True)
    assert done.stdout == f"auth-sidecar {__version__}\n"


def test_a_reader_that_goes_early_leaves_no_traceback():
    pipeline = f"{sys.executable} -m proxy schema | head -c 1"
    done = subprocess.run(["sh", "-c", pipeline], capture_output=True, text=True, check=True)
    assert (done.stdout, done.stderr) == ("{", "")
