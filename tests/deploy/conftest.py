"""What is shipped in deploy/ and the Dockerfile, read by the programs that it is written for."""

from __future__ import annotations

import base64
import subprocess
from pathlib import Path

import pytest
import yaml
from support.tools import tool

from proxy.cli.main import main

REPOSITORY = Path(__file__).parent.parent.parent
SECRETS = {
    "crm-client-secret": "s3cret",
    "app-token": "phantom",
    "store-key": base64.b64encode(bytes(32)).decode(),
    "redis-url": "rediss://user:password@redis.redis.svc:6379/0",
}
"""Every secret that docs/deploy.md tells to make, by the name of its file."""


@pytest.fixture(scope="session")
def repository():
    return REPOSITORY


@pytest.fixture(scope="session")
def kustomized():
    """The objects of one kustomization, by kind and name."""

    def objects(path):
        said = subprocess.run([tool("kubectl"), "kustomize", REPOSITORY / "deploy/kubernetes" / path],
                              check=True, capture_output=True, text=True)  # fmt: skip
        assert said.stderr == ""  # deprecations
        return by_kind_and_name(list(yaml.safe_load_all(said.stdout)))

    known: dict[str, object] = {}
    return lambda path: known.get(path) or known.setdefault(path, objects(path))


def by_kind_and_name(objects):
    found = {(one["kind"], one["metadata"]["name"]): one for one in objects if one}
    assert len(found) == len([one for one in objects if one])
    return found


@pytest.fixture
def strictly_checked(tmp_path, capsys):
    """What `auth-sidecar check --strict` says of a configuration, with its files below a directory of the test."""

    def check(text, *places):
        for name, value in SECRETS.items():
            (tmp_path / name).write_text(value)
        for place in ("/run/secrets/auth-sidecar", "/var/lib/auth-sidecar", *places):
            text = text.replace(place, str(tmp_path))
        (tmp_path / "config.yaml").write_text(text)
        code = main(["check", "--strict", "-c", str(tmp_path / "config.yaml")])
        return code, "".join(capsys.readouterr())

    return check
