"""What docs/deploy.md tells to type and to write: there, complete, and without a mistake."""

from __future__ import annotations

import json
import re
import shlex
import subprocess

import pytest
import yaml
from support.tools import tool


@pytest.fixture(scope="module")
def page(repository):
    return (repository / "docs/deploy.md").read_text()


def commands(page, name):
    """Lines of code that begin with a program, continued lines joined."""
    joined = page.replace("\\\n", " ")
    return [line.strip() for line in joined.splitlines() if re.match(rf"    (sudo )?{name} ", line)]


def test_every_file_that_the_page_names_is_there(page, repository):
    named = set(re.findall(r"\bdeploy/[\w./-]+", page)) - {"deploy/secrets/"}
    missing = [name for name in named if not (repository / name.rstrip(".")).exists() and "deploy/secrets" not in name]
    assert named
    assert missing == []


@pytest.mark.peer("kubectl")
def test_the_secret_that_the_page_makes_has_every_file_that_the_manifests_read(page, repository, tmp_path):
    (command,) = commands(page, "kubectl create secret")
    (tmp_path / "store-key").write_text("k")
    words = shlex.split(command.replace('"$CRM_CLIENT_SECRET"', "s"))
    said = subprocess.run([tool("kubectl"), *words[1:], "--dry-run=client", "-o", "json"],
                          cwd=tmp_path, check=True, capture_output=True, text=True)  # fmt: skip
    made = set(json.loads(said.stdout)["data"])
    texts = [path.read_text() for path in (repository / "deploy").rglob("*.yaml")]
    read = {name for text in texts for name in re.findall(r"/run/secrets/auth-sidecar/([a-z-]+)", text)}
    assert made == read


def test_what_the_page_says_of_listeners_off_loopback_is_enough_and_check_asks_for_it(page, strictly_checked):
    said = next(block for block in re.findall(r"```yaml\n(.*?)```", page, re.DOTALL) if "0.0.0.0:8080" in block)
    rest = "routes: [{match: /x, upstream: https://api.example}]\n"
    code, told = strictly_checked(said + rest, "/run/secrets")
    assert code == 0, told
    code, told = strictly_checked("listen: 0.0.0.0:8080\n" + rest)
    assert code == 78
    assert "callers: {bearer: {env: NAME}}" in told
    assert "allowed_hosts: [NAME, localhost, 127.0.0.1]" in told
    code, told = strictly_checked("listen: 0.0.0.0:8080\nallowed_hosts: [x]\n" + rest)
    assert "allowed_hosts:" not in told.partition("say who may")[2]


def test_the_values_that_the_page_tells_for_helm_exist(page, repository):
    (command,) = commands(page, "helm install")
    values = yaml.safe_load((repository / command.rpartition("--values ")[2]).read_text())
    assert values["config"]["routes"]
