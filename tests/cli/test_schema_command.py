"""`auth-sidecar schema`."""

from __future__ import annotations

import json


def test_the_schema_is_printed_whole(command):
    said = command("schema")
    assert said.code == 0
    assert json.loads(said.out)["$schema"] == "https://json-schema.org/draft/2020-12/schema"
