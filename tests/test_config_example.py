"""The repository's own config.yaml: it must work as it stands, and every line that it holds out must work, too."""

from __future__ import annotations

import re
from pathlib import Path

from proxy.config.load import load, load_text
from proxy.config.schema import OAuth2
from proxy.config.secrets import read_secret
from proxy.sandbox.clients import DEFAULT_CLIENTS
from proxy.sandbox.sandbox_server import DEFAULT_PORT

EXAMPLE = Path(__file__).parent.parent / "config.yaml"
ENVIRONMENT = {"API_KEY": "k", "PUSH_SECRET": "a secret of sixteen"}


def test_the_example_loads_without_a_warning_and_without_anything_in_the_environment():
    assert load(EXAMPLE, {}).warnings == ()


def test_the_example_leads_to_the_sandbox_with_the_secret_that_the_sandbox_knows():
    config = load(EXAMPLE, {}).config
    credential = config.credentials["sandbox"]
    assert isinstance(credential, OAuth2)
    assert credential.client_secret is not None
    known = DEFAULT_CLIENTS[0]
    assert (credential.client_id, read_secret(credential.client_secret, {})) == (known.client_id, known.client_secret)
    assert config.routes[0].upstream == f"http://127.0.0.1:{DEFAULT_PORT}/api"
    assert credential.token_endpoint == f"http://127.0.0.1:{DEFAULT_PORT}/oauth2/token"


def test_every_line_that_is_held_out_works_once_its_mark_is_removed():
    whole, count = re.subn(r"^#(?=[^ \n]|  )", "", EXAMPLE.read_text(), flags=re.MULTILINE)
    assert count == 11
    load_text(whole, name="config.yaml", directory=EXAMPLE.parent, environ=ENVIRONMENT)
