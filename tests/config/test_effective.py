"""Defaults that depend on other keys."""

from __future__ import annotations

import pytest
from support.full_file import SMALLEST, load_all

from proxy.config.effective import name_from_path
from proxy.config.schema import Dpop, OAuth2


@pytest.mark.parametrize(("path", "name"), [("/", "root"), ("/crm", "crm"), ("/crm/", "crm"), ("/a/b//", "a/b")])
def test_a_route_is_named_after_its_path(path, name):
    assert name_from_path(path) == name


@pytest.mark.parametrize(
    ("more", "dpop", "prefix"),
    [
        ("", False, "Bearer "),
        ("dpop: false", False, "Bearer "),
        ("dpop: true", Dpop(), "DPoP "),
        ("dpop: {alg: PS256}", Dpop(alg="PS256"), "DPoP "),
        ("header_prefix: ''", False, ""),
        ("dpop: true\n    header_prefix: 'X '", Dpop(), "X "),
    ],
)
def test_the_word_before_the_token_follows_from_its_kind(more, dpop, prefix):
    credential = load_all(f"{SMALLEST}    {more}\n").config.credentials["crm"]
    assert isinstance(credential, OAuth2)
    assert (credential.dpop, credential.header_prefix) == (dpop, prefix)
