"""What this version does not do yet is refused with its place."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.full_file import ENVIRON, SMALLEST

from proxy.config.load import load_text
from proxy.config.report import InvalidConfigurationError


def refused(text: str) -> list[str]:
    try:
        load_text(text, name="c.yaml", directory=Path("/nowhere"), environ=ENVIRON)
    except InvalidConfigurationError as error:
        return [p.path for p in error.problems if "not built yet" in p.message]
    return []


@pytest.mark.parametrize(
    ("more", "path"),
    [
        ("    authorization_endpoint: 'https://a'\n", "credentials.crm.authorization_endpoint"),
        ("    device_authorization_endpoint: 'https://a'\n", "credentials.crm.device_authorization_endpoint"),
        ("    redirect_port: 8765\n", "credentials.crm.redirect_port"),
    ],
)
def test_what_is_not_built_yet_is_refused_with_its_place(more, path):
    assert refused(SMALLEST + more) == [path]


def test_whatever_else_is_taken():
    text = SMALLEST + "    vend: false\n    dpop: false\n  key: {type: bearer, token: {env: KEY}}\n"
    assert refused(text + "reuse_port: false\nstore: {type: memory}\n") == []
