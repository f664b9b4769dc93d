"""The configuration as people may see it."""

from __future__ import annotations

import json

from support.full_file import ENVIRON, FULL, SMALLEST, furnish, load_all


def test_no_secret_is_shown(tmp_path):
    shown = json.dumps(load_all(FULL, furnish(tmp_path)).shown)
    for secret in (
        *filter(None, ENVIRON.values()),
        "hush",
        "literal-seed",
        "demo-header-value",
        "extra-parameter",
        "json-user",
        "show-argument",
    ):
        assert secret not in shown


def test_defaults_are_filled_in_and_units_are_kept():
    shown = load_all(SMALLEST).shown
    assert shown["routes"][0]["timeouts"] == {"connect": "5s", "response_header": "1m", "idle": "5m", "total": "off"}
    assert shown["limits"]["max_header_size"] == "32KiB"
    assert shown["credentials"]["crm"]["type"] == "oauth2"
    assert shown["credentials"]["crm"]["client_secret"] == {"env": "CRM_CLIENT_SECRET"}
    assert shown["store"] == {"type": "memory"}


def test_user_names_in_urls_and_queries_are_masked():
    text = SMALLEST.replace("https://login.example/oauth2/token", "https://login.example/token?key=hush")
    credential = load_all(text).shown["credentials"]["crm"]
    assert credential["token_endpoint"] == "https://login.example/token?***"


def test_a_masked_string_that_is_a_reference_shows_what_it_refers_to():
    text = (
        SMALLEST
        + """
  odd:
    type: http
    obtain:
      url: https://api.example/token
      headers: {A: "${CRM_CLIENT_SECRET}", B: "${CRM_CLIENT_SECRET:-hush}", C: "hush ${CRM_CLIENT_SECRET}", D: hush}
    response: {access_token: /token}
"""
    )
    obtain = load_all(text).shown["credentials"]["odd"]["obtain"]
    assert obtain["headers"] == {"A": "${CRM_CLIENT_SECRET}", "B": "***", "C": "***", "D": "***"}


def test_what_is_shown_loads_again_where_it_holds_nothing_masked():
    loaded = load_all(SMALLEST)
    again = load_all(
        json.dumps(
            {k: v for k, v in loaded.shown.items() if k in ("routes", "limits", "log", "shutdown", "store")}
            | {"credentials": {"crm": {"type": "bearer", "token": {"env": "KEY"}}}}
        ).replace(": null", ": ~")
    )
    assert again.config.routes == loaded.config.routes
    assert again.config.limits == loaded.config.limits


def test_paths_and_strings_are_shown_as_the_file_has_them(tmp_path):
    shown = load_all(
        SMALLEST.replace("{env: CRM_CLIENT_SECRET}", "{file: '${KEY:-s}'}") + "listen: unix:run/s\n",
        furnish_one(tmp_path),
    ).shown
    assert shown["credentials"]["crm"]["client_secret"] == {"file": "${KEY:-s}"}
    assert shown["listen"][0]["address"] == "unix:run/s"


def furnish_one(directory):
    (directory / "hush-key").write_text("x")
    return directory
