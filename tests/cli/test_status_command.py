"""`auth-sidecar status`."""

from __future__ import annotations

import json
from typing import Any

import pytest

from proxy.cli.status_command import as_text

DOCUMENT: dict[str, Any] = {
    "version": "1.2.3",
    "uptime": 3700.2,
    "credentials": {
        "crm": {
            "type": "oauth2", "state": "failing", "expires_at": 1090, "refresh_at": 940, "generation": 7,
            "last_refresh": 900, "last_error": "The token endpoint answered 500", "fingerprint": "0a1b2c3d",
        },
    },
    "routes": {
        "crm": {
            "requests": 12, "in_flight": 1, "retries": {}, "rate": 2.04, "client_errors": 0.25, "server_errors": 0.0,
            "p50": 0.0123, "p95": None,
        },
    },
    "store": {"type": "file", "state": "degraded", "errors": 1, "last_error": "no space left"},
}  # fmt: skip


def test_the_document_becomes_a_page_of_text():
    assert as_text(DOCUMENT, 1000.0) == (
        "auth-sidecar 1.2.3, up 1h 1m, store file (degraded: no space left)\n"
        "\n"
        "CREDENTIAL  TYPE    STATE    EXPIRES    RENEWAL  GENERATION  LAST ERROR\n"
        "crm         oauth2  failing  in 1m 30s  1m ago   7           The token endpoint answered 500\n"
        "\n"
        "ROUTE  REQUESTS  IN FLIGHT  PER SECOND  4XX  5XX  P50      P95\n"
        "crm    12        1          2.0         25%  0%   12.3 ms  -"
    )


def test_where_routes_lead_that_are_looked_up_stands_below():
    routes = {
        "crm": {**DOCUMENT["routes"]["crm"], "upstream": {"url": "https://a.example", "age": 61.2, "last_error": None}},
        "lost": {**DOCUMENT["routes"]["crm"], "upstream": {"url": None, "age": None, "last_error": "It is down"}},
        "fixed": DOCUMENT["routes"]["crm"],
    }
    assert as_text({**DOCUMENT, "routes": routes}, 1000.0).endswith(
        "\n\n"
        "ROUTE  FOUND UPSTREAM     AGE    LAST ERROR\n"
        "crm    https://a.example  1m 1s  -\n"
        "lost   -                  -      It is down"
    )


@pytest.mark.usefixtures("running")
async def test_the_running_instance_is_shown(beside):
    said = await beside("status")
    assert (said.code, said.err) == (0, "")
    assert [line.split()[:3] for line in said.out.splitlines() if line.startswith(("main", "key", "pushed"))] == [
        ["main", "oauth2", "fresh"],
        ["key", "header", "fresh"],
        ["pushed", "external", "empty"],
    ]
    assert set(json.loads((await beside("status", "--json")).out)["credentials"]) == {"main", "key", "pushed"}


@pytest.mark.usefixtures("running")
async def test_watching_shows_it_again_until_interrupted(beside, monkeypatch):
    naps = []

    def nap(seconds):
        naps.append(seconds)
        if len(naps) == 3:
            raise KeyboardInterrupt

    monkeypatch.setattr("proxy.cli.status_command.time.sleep", nap)
    said = await beside("status", "--watch")
    assert said.code == 130
    assert said.out.count("CREDENTIAL") == 3


async def test_an_instance_that_wants_another_bearer_refuses(beside, running):
    running.file.write_text(running.file.read_text().replace("hush-admin", "wrong"))
    said = await beside("status")
    assert said.code == 1
    assert "the running instance refused: Not authenticated" in said.err
