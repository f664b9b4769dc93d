"""`auth-sidecar routes`."""

from __future__ import annotations

from msgspec.structs import replace

from proxy.cli.routes_command import as_text
from proxy.config.schema import Config, Discover, DiscoveredUpstream, Match, Route


def test_routes_are_listed_as_the_file_has_them(command, written):
    written(
        {
            "routes": [
                {"match": "/crm", "upstream": "https://api.example/v2", "credential": "main"},
                {
                    "name": "open",
                    "match": {"path": "/", "host": "h.example", "methods": ["GET", "HEAD"]},
                    "upstream": "http://127.0.0.1:1",
                },
            ],
            "credentials": {"main": {"type": "bearer", "token": {"value": "hush"}}},
        }
    )
    said = command("routes")
    assert said.code == 0
    assert said.out == (
        "ROUTE  MATCH                UPSTREAM                CREDENTIAL\n"
        "crm    /crm                 https://api.example/v2  main (bearer)\n"
        "open   GET,HEAD h.example/  http://127.0.0.1:1      -\n"
    )


def test_an_upstream_that_is_discovered_is_told_without_its_query():
    found = Discover(url="https://where.example/base?key=hush", json_pointer="/u", allow_hosts=("a.example",))
    route = Route(name="a", match=Match(path="/a"), upstream=DiscoveredUpstream(discover=found))
    assert "discovered at https://where.example/base " in as_text(Config(routes=(route,)), {})
    assert "hush" not in as_text(Config(routes=(replace(route, name="b"),)), {})


def test_what_stands_for_a_variable_is_shown_as_it_is_written():
    route = Route(name="bot", match=Match(path="/bot"), upstream="https://api.example/bothush")
    assert "https://api.example/bot${TG} " in as_text(
        Config(routes=(route,)), {("routes", 0, "upstream"): "https://api.example/bot${TG}"}
    )
