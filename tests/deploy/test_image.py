"""The Dockerfile: linted, its steps carried out, and what comes out started as an engine would, on a read-only root."""

from __future__ import annotations

import asyncio
import json
import os
import re
import subprocess
import sys
import tomllib

import aiohttp
import pytest
import yaml
from dockerfile_parse import DockerfileParser  # type: ignore[import-untyped]
from support.process import free_port
from support.recording_upstream import RecordingUpstream
from support.throwaway_root import build, context
from support.tools import tool

from proxy import __version__

MAY_MOUNT = pytest.mark.skipif(os.geteuid() != 0 or sys.platform != "linux", reason="only root on Linux may mount")
PATIENCE = 60


@pytest.fixture(scope="session")
def image(repository):
    made = build(repository / "Dockerfile", {"VERSION": __version__, "REVISION": "4711"})
    yield made
    made.close()


@pytest.fixture
def steps(repository):
    return DockerfileParser(path=str(repository / "Dockerfile")).structure


@pytest.fixture
def volumes(tmp_path):
    """A configuration, a secret and a volume as an engine makes one: root's, open to all."""
    places = {name: tmp_path / name for name in ("etc", "secrets", "state")}
    for place in places.values():
        place.mkdir(mode=0o755)
    (places["secrets"] / "token").write_text("t0ken")
    places["state"].chmod(0o777)
    return {
        places["etc"]: "/etc/auth-sidecar",
        places["secrets"]: "/run/secrets",
        places["state"]: "/var/lib/auth-sidecar",
    }


@pytest.mark.peer("hadolint")
def test_the_linter_has_nothing_to_say(repository):
    said = subprocess.run(
        [tool("hadolint"), str(repository / "Dockerfile")], capture_output=True, text=True, check=False
    )
    assert (said.returncode, said.stdout) == (0, "")


def test_nothing_is_installed_in_the_last_stage_and_nobody_of_note_runs_it(steps):
    words = [(step["instruction"], step["value"]) for step in steps]
    last = words[max(at for at, (word, _) in enumerate(words) if word == "FROM") :]
    assert not [
        value for word, value in last if word == "RUN" and re.search(r"\b(pip install|apt-get|curl|wget)\b", value)
    ]
    assert [value for word, value in last if word == "COPY"] == ["--from=build /opt/auth-sidecar /opt/auth-sidecar"]
    assert [value for word, value in last if word == "USER"] == ["10001:10001"]
    health = next(value for word, value in last if word == "HEALTHCHECK")
    assert health.endswith('CMD ["auth-sidecar", "healthcheck"]')


@pytest.mark.parametrize(("extras", "locks"), [("redis", ["run", "extra-redis"]), ("", ["run"])])
def test_extras_are_installed_from_their_own_locks_with_hashes(steps, tmp_path, repository, extras, locks):
    (tmp_path / "python").write_text('#!/bin/sh\necho "$@"\n')
    (tmp_path / "python").chmod(0o755)
    step = next(step["value"] for step in steps if "$EXTRAS" in step["value"]).partition(" ")[2]
    environ = {"PATH": f"{tmp_path}:{os.environ['PATH']}", "EXTRAS": extras}
    said = subprocess.run(["sh", "-c", step], env=environ, capture_output=True, text=True, check=True).stdout
    last = said.splitlines()[-1].split()
    assert "--require-hashes" in last
    named = [last[at + 1] for at, word in enumerate(last) if word == "--requirement"]
    assert named == [f"requirements/{lock}.lock" for lock in locks]
    assert all((repository / name).exists() for name in named)


def test_what_is_sent_to_the_build_is_what_is_copied_and_no_more(repository, steps, tmp_path):
    context(repository, tmp_path)
    copied = {
        source.rstrip("/")
        for step in steps
        if step["instruction"] == "COPY" and "--from" not in step["value"]
        for source in step["value"].split()[:-1]
    }
    assert {path.name for path in tmp_path.iterdir()} == copied
    assert not [path for path in tmp_path.rglob("*") if path.suffix == ".pyc"]


@MAY_MOUNT
def test_the_image_says_what_it_is(image, repository):
    assert {name.rpartition(".")[2]: text for name, text in image.last.labels.items()} == {
        "title": "auth-sidecar",
        "description": tomllib.loads((repository / "pyproject.toml").read_text())["project"]["description"],
        "licenses": "Apache-2.0",
        "version": __version__,
        "revision": "4711",
        "created": "1970-01-01T00:00:00Z",
    }
    code, said = image.run(["auth-sidecar", "--version"], {})
    assert (code, said) == (0, f"auth-sidecar {__version__}\n")


LOOK = """
import importlib.util, json, os, pathlib, sys
import proxy.cli.main, proxy.app, redis.asyncio
here = pathlib.Path(sys.prefix) / "lib"
sources = [source for source in here.rglob("*.py")]
caches = [pathlib.Path(importlib.util.cache_from_source(str(source))) for source in sources]
loaded = [module.__cached__ for module in list(sys.modules.values()) if getattr(module, "__cached__", None)]
print(json.dumps({
    "uid": os.getuid(),
    "sources": len(sources),
    "not so": [str(cache) for cache in caches if not cache.exists() or cache.read_bytes()[4:8] != b"\\1\\0\\0\\0"],
    "not compiled": [name for name in loaded if not os.path.exists(name)],
    "tools": [name for name in ("pip", "setuptools", "hatchling", "wheel") if importlib.util.find_spec(name)],
}))
"""


@MAY_MOUNT
def test_it_is_all_bytecode_that_is_never_checked_and_holds_no_build_tools(image):
    code, said = image.run(["python", "-c", LOOK], {})
    assert code == 0, said
    seen = json.loads(said)
    assert seen["uid"] == 10001
    assert seen["sources"] > 500
    assert seen["not so"] == []
    assert seen["not compiled"] == []
    assert seen["tools"] == []


@MAY_MOUNT
async def test_it_serves_on_a_read_only_root_as_nobody_of_note_and_keeps_grants_in_a_volume(image, volumes):
    port, admin = free_port(), free_port()
    async with RecordingUpstream() as upstream:
        config = {
            "listen": f"127.0.0.1:{port}",
            "admin": {"listen": f"127.0.0.1:{admin}"},
            "store": {"type": "file", "path": "/var/lib/auth-sidecar/tokens"},
            "routes": [{"match": "/api", "upstream": upstream.url, "credential": "fixed"}],
            "credentials": {
                "fixed": {"type": "bearer", "token": {"file": "/run/secrets/token"}},
                "pushed": {"type": "external", "update": {"secret": {"file": "/run/secrets/token"}}},
            },
        }
        etc = next(iter(volumes))
        (etc / "config.yaml").write_text(yaml.safe_dump(config))
        line = image.command([*image.last.words["ENTRYPOINT"], *image.last.words["CMD"]], volumes)
        with (etc.parent / "said").open("wb") as said:
            process = await asyncio.create_subprocess_exec(*line, stdout=said, stderr=asyncio.subprocess.STDOUT)
        try:
            async with asyncio.timeout(PATIENCE), aiohttp.ClientSession() as http:
                while await asyncio.to_thread(lambda: probe(image)) != 0:
                    assert process.returncode is None, (etc.parent / "said").read_text()
                async with http.get(f"http://127.0.0.1:{port}/api/x") as answer:
                    assert answer.status == 200
                async with http.put(
                    f"http://127.0.0.1:{admin}/credentials/pushed/token",
                    json={"access_token": "pushed", "expires_in": 600},
                    headers={"Authorization": "Bearer t0ken"},
                ) as answer:
                    assert answer.status == 200, await answer.text()
        finally:
            process.terminate()
            code = await process.wait()
        assert code == 0, (etc.parent / "said").read_text()
        assert (await upstream.received(1)).field(b"authorization") == b"Bearer t0ken"
    kept = etc.parent / "state" / "tokens" / "pushed.json"
    assert (kept.stat().st_uid, kept.stat().st_mode & 0o777, kept.parent.stat().st_mode & 0o777) == (
        10001,
        0o600,
        0o700,
    )


def probe(image) -> int:
    """The exit code of the image's health check. In the running container: its mounts are still there."""
    line = image.inside(image.last.words["HEALTHCHECK"])
    return subprocess.run(line, check=False, capture_output=True).returncode
