"""Pushed tokens: who may push, proved how, and from where."""

from __future__ import annotations

import pytest
from support.full_file import SMALLEST, errors_of

JWT = "jwks_uri: 'https://i/jwks', issuer: 'https://i', audience: me, claims: {sub: x}"


def jwt(keys: str, more: str = "") -> str:
    return f"update: {{jwt: {{{keys}{more}}}}}"


@pytest.mark.parametrize(
    ("update", "path", "said"),
    [
        ("update: {}", ".update", "needs a guard"),
        ("update: {allow_from: [10.0.0.0/8]}", ".update", "needs a guard"),
        ("update: {secret: {env: KEY}, allow_from: [10.0.0.1/8]}", ".update.allow_from[0]", "no network"),
        ("update: {secret: {env: KEY}, allow_from: [localhost]}", ".update.allow_from[0]", "no network"),
        ("update: {secret: {env: KEY}, max_age: 5}", ".update.max_age", "unit"),
        (jwt(JWT, ", algorithms: [HS256]"), ".update.jwt.algorithms[0]", "asymmetric"),
        (jwt(JWT, ", algorithms: [none]"), ".update.jwt.algorithms[0]", "asymmetric"),
        (jwt(JWT, ", algorithms: []"), ".update.jwt.algorithms", "empty"),
        (jwt(JWT.replace("{sub: x}", "{}")), ".update.jwt.claims", "without `claims`"),
        (jwt(JWT.replace(", claims: {sub: x}", "")), ".update.jwt.claims", "needs `claims`"),
        (jwt(JWT.replace("audience: me", "audience: ''")), ".update.jwt.audience", "empty"),
        (jwt(JWT.replace("issuer: 'https://i', ", "")), ".update.jwt.issuer", "needs `issuer`"),
        (jwt(JWT.replace("https://i/jwks", "http://i/jwks")), ".update.jwt.jwks_uri", "over http://"),
        ("vend: false", "", "needs `update`"),
    ],
)
def test_an_update_without_a_sound_guard_is_refused(update, path, said):
    errors = errors_of(f"{SMALLEST}  c: {{type: external, {update}}}\n")
    assert [error.path for error in errors] == [f"credentials.c{path}"], errors
    assert said in errors[0].message


@pytest.mark.parametrize(
    ("more", "good"),
    [("admin: {listen: off}", False), ("admin: {listen: off}\nupdate: {listen: unix:/a/u}", True), ("", True)],
)
def test_updates_need_a_listener(more, good):
    errors = errors_of(f"{SMALLEST}  c: {{type: external, update: {{secret: {{env: KEY}}}}}}\n{more}\n")
    assert [error.path for error in errors] == ([] if good else ["credentials.c.update"])


def test_either_guard_suffices():
    guard = f"update: {{jwt: {{{JWT}, algorithms: [EdDSA]}}, allow_from: [192.0.2.7, 'fd00::/8', 0.0.0.0/0]}}"
    assert errors_of(f"{SMALLEST}  c: {{type: external, {guard}}}\n") == []
