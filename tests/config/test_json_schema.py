"""The JSON Schema takes what the loader takes, as far as shapes and words go."""

from __future__ import annotations

import random
from typing import Any

import pytest
from jsonschema import Draft202012Validator
from support.full_file import FULL, SMALLEST, errors_of, furnish

from proxy.config.document import YamlMapping, YamlNode, YamlScalar, YamlSequence, compose
from proxy.config.json_schema import json_schema
from proxy.config.scalars import is_null, to_bool, to_float, to_int

SCHEMA = json_schema()
VALIDATOR = Draft202012Validator(SCHEMA)


def plain(node: YamlNode | None) -> Any:
    """What an editor sees: YAML 1.2."""
    match node:
        case YamlMapping():
            return {key.text: plain(value) for key, value in node.pairs if isinstance(key, YamlScalar)}
        case YamlSequence():
            return [plain(item) for item in node.items]
        case YamlScalar():
            if node.plain:
                if is_null(node.text):
                    return None
                for reader in (to_bool, to_int, to_float):
                    if (value := reader(node.text)) is not None:
                        return value
            return node.text
    return None


def accepted(text: str) -> bool:
    return VALIDATOR.is_valid(plain(compose(text).root))


def test_it_is_a_schema():
    Draft202012Validator.check_schema(SCHEMA)
    assert SCHEMA["$schema"] == "https://json-schema.org/draft/2020-12/schema"


@pytest.mark.parametrize("text", [FULL, SMALLEST], ids=["full", "smallest"])
def test_it_takes_what_is_good(text):
    assert [error.message for error in VALIDATOR.iter_errors(plain(compose(text).root))] == []


BENT = (
    ("match: /crm", "match: {path: /crm}"),
    ("match: /crm", "match: [/crm]"),
    ("match: /crm", "match: {}"),
    ("response_header: 60s", "response_header: off"),
    ("total: off", "total: 5m"),
    ("total: off", "total: none"),
    ("total: off", "total: 0s"),
    ("total: off", "total: null"),
    ("buffer: 64KiB", "buffer: 0B"),
    ("buffer: 64KiB", "buffer: 64"),
    ("delay: 0s", "delay: 0.5s"),
    ("connect: 5s", "connect: 0s"),
    ("connect: 5s", "connect: 0.5s"),
    ("connect: 5s", "connect: 0.0m"),
    ("rate: 100/s", "rate: 100"),
    ("rate: 100/s", "rate: 100/m"),
    ("max_attempts: 3", "max_attempts: 0"),
    ("max_attempts: 3", "max_attempts: '3'"),
    ("max_attempts: 3", "max_attempts: 2.5"),
    ("at: 0.9", "at: 1"),
    ("at: 0.9", "at: .5"),
    ("jitter: 0.1", "jitter: 0"),
    ("strip_prefix: true", "strip_prefix: 'true'"),
    ("strip_prefix: true", "strip_prefix: 1"),
    ("credential: null", "credential: ~"),
    ("dpop: true", "dpop: false"),
    ("dpop: true", "dpop: {}"),
    ("dpop: true", "dpop: {key: {env: KEY}}"),
    ("{type: memory}", "memory"),
    ("version: 1", "version: 2"),
    ("version: 1", "version: '1'"),
    ("value: {env: KEY}", "value: {}"),
    ("value: {env: KEY}", "value: key"),
    ("value: {env: KEY}", "value: {env: }"),
    ("value: {env: KEY}", "value: {env: KEY, file: x}"),
    ("value: {env: KEY}", "value: {env: KEY, vault: x}"),
    ('prefix: "Key "', "prefix: "),
    ("body_hash: off", "body_hash: sha1"),
    ("body_hash: off", "body_hash: md5"),
    ("type: oauth1", "type: oauth3"),
    ("type: oauth1", "typ: oauth1"),
    ("on_unavailable: degrade", "on_unavailable: ignore"),
    ("{sub: refresher-subject}", "{sub: [1, {a: null}]}"),
    ("subject_token: {request_header: Authorization}", "subject_token: {env: KEY}"),
    ("subject_token: {request_header: Authorization}", "subject_token: {}"),
    ("unix_uids: [0, 1000]", "unix_uids: [-1]"),
    ("unix_uids: [0, 1000]", "unix_uids: 0"),
    ("upgrades: [websocket]", "upgrades: []"),
    ("upgrades: [websocket]", "upgrades: [h2c]"),
    ("drain: 20s", "drain: 20s, extra: 1"),
)
"""Bent so that only shapes and words are at stake, never what holds between keys."""


@pytest.mark.parametrize(("this", "that"), BENT)
def test_schema_and_loader_agree(tmp_path, this, that):
    text = FULL.replace(this, that, 1)
    errors = [error for error in errors_of(text, furnish(tmp_path)) if "unused" not in error.message]
    assert accepted(text) == (errors == []), errors


def test_schema_and_loader_agree_on_every_key_left_out_or_misspelt(tmp_path):
    """What the schema refuses, the loader refuses; the other way round for misspelt keys."""
    directory = furnish(tmp_path)
    lines = FULL.split("\n")
    for number in random.Random(3).sample(range(3, len(lines) - 1), 60):
        shorter = "\n".join(lines[:number] + lines[number + 1 :])
        try:
            fine = accepted(shorter)
        except Exception:  # noqa: BLE001 - no YAML any more; the loader's own tests see to that
            continue
        if not fine:
            assert errors_of(shorter, directory), lines[number]


def test_every_struct_and_amount_is_described():
    assert [name for name, definition in SCHEMA["$defs"].items() if not definition.get("description")] == []
