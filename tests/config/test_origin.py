"""Origins of web pages."""

from __future__ import annotations

import pytest

from proxy.config.origin import Origins, canonical


@pytest.mark.parametrize(
    ("text", "spelled"),
    [
        ("*", "*"),
        ("null", "null"),
        ("file://", "file://"),
        ("https://app.example", "https://app.example"),
        ("HTTPS://App.Example", "https://app.example"),
        ("https://app.example:443", "https://app.example"),
        ("http://app.example:80", "http://app.example"),
        ("https://app.example:80", "https://app.example:80"),
        ("http://localhost:3000", "http://localhost:3000"),
        ("http://127.0.0.1:3000", "http://127.0.0.1:3000"),
        ("http://[0:0::1]:3000", "http://[::1]:3000"),
        ("https://*.App.example", "https://*.app.example"),
        ("https://*.app.example:8443", "https://*.app.example:8443"),
        ("https://*.app.example:443", "https://*.app.example"),
        ("https://xn--bcher-kva.example", "https://xn--bcher-kva.example"),
        ("chrome-extension://abcdefghijklmnopabcdefghijklmnop", "chrome-extension://abcdefghijklmnopabcdefghijklmnop"),
        (
            "moz-extension://3c6b5bd5-4b2f-4c1c-9c11-8a7b1a6a5f0e",
            "moz-extension://3c6b5bd5-4b2f-4c1c-9c11-8a7b1a6a5f0e",
        ),
        ("safari-web-extension://AB-CD", "safari-web-extension://AB-CD"),
        ("capacitor://localhost", "capacitor://localhost"),
        ("app://obsidian.md", "app://obsidian.md"),
    ],
)
def test_an_origin_is_read_as_browsers_write_it(text, spelled):
    assert canonical(text) == spelled


@pytest.mark.parametrize(
    "text",
    [
        "", "app.example", "*.app.example", "//app.example", "https://", "https://app.example/", "https://app.example/a",
        "https://app.example?a", "https://app.example#a", "https://u@app.example", "https://app.example:0",
        "https://app.example:99999", "https://app.example:", "https://app.example:a", "https://a b", "https://a,https://b",
        "https://*", "https://*.", "https://*app.example", "https://app.*", "https://a.*.example", "https://*.*.example",
        "https://*.127.0.0.1", "https://*.[::1]", "http*://app.example", "https://bücher.example", "NULL", "Null", "**",
        "wss://app.example", "chrome-extension://*", "chrome-extension://", "chrome-extension://a/", "data:",
        "https:app.example", "https:\\\\app.example", "https://app.example\n", "http://localhost:*",
    ],
)  # fmt: skip
def test_what_no_browser_would_write_is_refused(text):
    with pytest.raises(ValueError, match="origin"):
        canonical(text)


@pytest.mark.parametrize(
    ("allowed", "yes", "no"),
    [
        (
            "https://app.example",
            ["https://app.example"],
            [
                "http://app.example",
                "https://app.example:8443",
                "https://APP.example",
                "https://app.example.",
                "null",
                "",
            ],
        ),
        (
            "https://*.app.example",
            ["https://a.app.example", "https://a.b.c.app.example", "https://x-1.app.example", "https://_a.app.example"],
            [
                "https://app.example",
                "https://.app.example",
                "https://a..app.example",
                "http://a.app.example",
                "https://a.app.example:8443",
                "https://aapp.example",
                "https://a.appxexample",
                "https://a.app.example.evil.example",
                "https://evil.example/.app.example",
                "https://evil.example#.app.example",
                "https://evil.example?.app.example",
                "https://evil.example\\.app.example",
                "https://u@a.app.example",
                "https://evil.example:80.app.example",
                "https://A.app.example",
                "https://*.app.example",
                "https://a.app.example\n",
                "https://a.app.example https://a.app.example",
                "null",
            ],
        ),
        (
            "https://*.app.example:8443",
            ["https://a.app.example:8443"],
            ["https://a.app.example", "https://a.app.example:84430"],
        ),
        ("http://*.localhost", ["http://a.localhost"], ["http://localhost"]),
        ("null", ["null"], ["NULL", "https://null", ""]),
        ("chrome-extension://abc", ["chrome-extension://abc"], ["chrome-extension://abcd", "https://abc"]),
        ("*", ["https://a.example", "null", "chrome-extension://abc"], []),
    ],
)
def test_an_origin_allows_itself_and_with_a_star_all_names_below_it(allowed, yes, no):
    origins = Origins((allowed, "https://other.example"))
    assert [one for one in yes if not origins.allow(one.encode())] == []
    assert [one for one in no if origins.allow(one.encode())] == []
    assert origins.allow(b"https://other.example")


def test_none_allow_nobody():
    assert not Origins(()).allow(b"https://a.example")
