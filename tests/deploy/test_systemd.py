"""The units, by systemd's own tools."""

from __future__ import annotations

import re
import subprocess

import pytest
from support.tools import tool

pytestmark = pytest.mark.peer("systemd-analyze")

EXPOSED_AT_MOST = 15
"""Tenths, as `systemd-analyze security` counts: 0 is sealed, 100 is bare. What counts here is the network."""


@pytest.fixture
def unit_directory(repository, tmp_path):
    """All units that are shipped, with a program that exists."""
    for unit in (repository / "deploy/systemd").glob("*.service"):
        text = re.sub(r"/opt/auth-sidecar/bin/\S+", "/bin/true", unit.read_text())
        (tmp_path / unit.name).write_text(text)
    assert (tmp_path / "auth-sidecar.service").exists()
    return tmp_path


def instance(unit):
    """A template is looked at as one of its instances."""
    return unit.with_name(unit.name.replace("@.", "@1.")) if "@." in unit.name else unit


def analyzed(*words):
    said = subprocess.run([tool("systemd-analyze"), *words], text=True, stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, check=False)  # fmt: skip
    return said.returncode, said.stdout


def test_every_unit_is_understood_whole(unit_directory):
    units = [instance(unit) for unit in unit_directory.iterdir()]
    assert analyzed("verify", "--man=no", *map(str, units)) == (0, "")


def test_every_unit_is_sealed_but_for_the_network(unit_directory):
    for unit in list(unit_directory.iterdir()):
        look_at = instance(unit)
        if look_at != unit:
            unit.rename(look_at)
        code, said = analyzed(
            "security", "--offline=true", "--no-pager", f"--threshold={EXPOSED_AT_MOST}", str(look_at)
        )
        assert code == 0, said


def test_the_configuration_in_the_unit_can_be_used_as_the_unit_says(
    repository, strictly_checked, monkeypatch, tmp_path
):
    unit = (repository / "deploy/systemd/auth-sidecar.service").read_text()
    (secret,) = re.findall(r"\{file: \"\$\{CREDENTIALS_DIRECTORY\}/[a-z-]+\"\}", unit)
    (store,) = re.findall(r"`store: (\{.*?\})`", unit)
    (named,) = re.findall(r"^LoadCredential=([a-z-]+):", unit, re.MULTILINE)
    assert named in secret
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path))
    code, said = strictly_checked(
        f"store: {store}\n"
        "routes: [{match: /crm, upstream: https://api.crm.example, credential: crm}]\n"
        f"credentials: {{crm: {{type: bearer, token: {secret}}}}}\n"
    )
    assert code == 0, said
