"""docs/scaling.md: its table is what the script prints, and its recipes work when they are pasted."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent
PAGE = ROOT / "docs" / "scaling.md"


def test_the_table_of_the_page_is_what_the_simulation_prints():
    printed = subprocess.run(
        [sys.executable, ROOT / "bench" / "scaling.py"], capture_output=True, check=True, text=True
    )
    quoted = re.search(r"<!-- bench/scaling.py -->\n(.*)<!-- end -->", PAGE.read_text(), re.DOTALL)
    assert quoted is not None
    assert quoted[1].strip() == printed.stdout.strip(), "put the output of `python bench/scaling.py` there"
