"""Every value of a configuration with its path."""

from __future__ import annotations

from support.full_file import SMALLEST, load_all

from proxy.config.schema import Secret
from proxy.config.tree import every


def test_every_value_comes_with_its_path_and_its_owner():
    found = {value.path: value for value in every(load_all(SMALLEST + "    token_parameters: {a: b}\n").config)}
    assert found["routes", 0, "match", "path"].value == "/crm"
    assert found["credentials", "crm", "type"].value == "oauth2"
    assert found["credentials", "crm", "token_parameters", "a"].value == "b"
    assert isinstance(found["credentials", "crm", "client_secret", "env"].owner, Secret)
    assert found["listen", 0, "address"].value == "127.0.0.1:8080"
