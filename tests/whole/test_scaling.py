"""docs/scaling.md: its table is what the script prints, and its recipes work when they are pasted."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from support.process import Program, free_port
from support.settings import client_credentials, one_route

ROOT = Path(__file__).parent.parent.parent
PAGE = (ROOT / "docs" / "scaling.md").read_text()
RECIPES = dict(re.findall(r"```sh (\w+)\n(.*?)```", PAGE, re.DOTALL))
STORES = [yaml.safe_load(block)["store"] for block in re.findall(r"```yaml\n(store:.*?)```", PAGE, re.DOTALL)]


def test_the_table_of_the_page_is_what_the_simulation_prints():
    script = ROOT / "bench" / "scaling.py"
    printed = subprocess.run([sys.executable, script], capture_output=True, check=True, text=True)
    quoted = re.search(r"<!-- bench/scaling.py -->\n(.*)<!-- end -->", PAGE, re.DOTALL)
    assert quoted is not None
    assert quoted[1].strip() == printed.stdout.strip(), "put the output of `python bench/scaling.py` there"


def low_port():
    """One whose neighbour 10,000 above, which a node of a cluster listens on as well, is not given to anybody else."""
    return next(port for port in iter(free_port, None) if port < 22_000)


@pytest.fixture
def pasted(tmp_path):
    """Runs a recipe as it stands but for its ports: the URL that it exports, and the ports by those of the page."""

    def run(name):
        ports = {port: str(low_port()) for port in sorted(set(re.findall(r"\b70[0-3]\d\b", RECIPES[name])))}
        script = f'set -e\n{RECIPES[name]}\necho "URL=${{REDIS_URL-}}"'
        for port, free in ports.items():
            script = script.replace(port, free)
        done = subprocess.run(
            ["sh", "-c", script], cwd=tmp_path, capture_output=True, text=True, timeout=120, check=False
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout.rpartition("URL=")[2].strip(), ports

    yield run
    for file in tmp_path.glob("*/*.pid"):
        with contextlib.suppress(ProcessLookupError):
            os.kill(int(file.read_text()), signal.SIGKILL)


@pytest.fixture
def keeps_tokens(tmp_path, fetch, sandbox):
    """A sidecar with that store must renew and save, and again some time after `then`."""

    async def run(store, then=None):
        config = one_route(sandbox.url + "/api", client_credentials(sandbox.token_endpoint))
        async with Program({**config, "store": store}, tmp_path) as program:
            renewal = program.admin + "/credentials/main/refresh"
            assert (await fetch(renewal, "POST"))[0] == 200
            kept = json.loads((await fetch(program.admin + "/status"))[2])["store"]
            assert (kept["type"], kept["errors"], kept["last_error"]) == ("redis", 0, None), program.log
            if then is not None:
                then()
                await program.logged("cannot be reached")
                async with asyncio.timeout(60):
                    while json.loads((await fetch(program.admin + "/status"))[2])["store"]["last_error"]:
                        await fetch(renewal, "POST")
                        await asyncio.sleep(0.5)

    return run


@pytest.mark.peer("redis-server")
async def test_the_recipe_for_sentinel_survives_a_fail_over(pasted, keeps_tokens, tmp_path):
    url, ports = pasted("sentinel")
    master = tmp_path / "sentinel-trial" / f"{ports['7001']}.pid"
    await keeps_tokens(
        {"type": "redis", "url": {"value": url}}, lambda: os.kill(int(master.read_text()), signal.SIGTERM)
    )


@pytest.mark.peer("redis-server")
async def test_the_recipe_for_a_cluster_keeps_tokens(pasted, keeps_tokens):
    await keeps_tokens({"type": "redis", "url": {"value": pasted("cluster")[0]}})


@pytest.mark.peer("redis-server")
async def test_the_recipe_for_tls_keeps_tokens_as_the_page_configures_it(pasted, keeps_tokens, tmp_path):
    _, ports = pasted("tls")
    store = STORES[1]
    store["url"] = {"value": store["url"]["value"].replace("7031", ports["7031"])}
    for name in ("ca.pem", "redis-password"):
        (tmp_path / name).write_bytes((tmp_path / "tls-trial" / name).read_bytes())
    key = subprocess.run(["openssl", "rand", "-base64", "32"], capture_output=True, check=True)
    (tmp_path / "store.key").write_bytes(key.stdout)
    await keeps_tokens(store)
