"""The store: what `store.url` says, and what must hold between it and the credentials."""

from __future__ import annotations

import pytest
from support.full_file import ENVIRON, SMALLEST, errors_of, problems_of

HERE = "store: {type: redis, url: {env: URL}, encryption_key: {env: ENCRYPTION_KEY}, "


def mistakes(more: str, url: str = "rediss://h", credential: str = "") -> list[tuple[str, str]]:
    text = SMALLEST + credential + HERE + more + "}\n"
    errors = errors_of(text, environ={**ENVIRON, "URL": url, "PASSWORD": "hush"})
    assert "hush" not in repr([(error.message, error.hint, error.excerpt) for error in errors])
    return [(error.path, error.message + " " + (error.hint or "")) for error in errors]


@pytest.mark.parametrize(
    ("more", "url", "path", "said"),
    [
        ("", "hush", "store.url.env", "no address of Redis"),
        ("", "redis://hush/x", "store.url.env", "a number"),
        ("key_prefix: 'a b'", "redis://h", "store.key_prefix", "neither blanks"),
        ("key_prefix: 'a{b}'", "redis://h", "store.key_prefix", "no braces"),
        ("lease: 29s", "redis://h", "store.lease", "`crm` may take 10 s"),
        ("tls: {server_name: a}", "redis://h", "store.tls", "write rediss://"),
        ("password: {env: PASSWORD}", "redis://:hush@h", "store.password", "stands in the URL too"),
        ("username: u, password: {env: PASSWORD}", "redis://u@h", "store.username", "stands in the URL too"),
        ("username: u", "redis://h", "store.username", "needs a password"),
        ("password: {exec: [x]}", "redis://h", "store.password.exec", "come from `env`"),
        ("on_unavailable: stop", "redis://h", "store.on_unavailable", "degrade or fail"),
        ("timeout: 500", "redis://h", "store.timeout", "unit"),
    ],
)
def test_what_cannot_work_is_refused_with_its_place(more, url, path, said):
    found = mistakes(more, url)
    assert [where for where, _ in found] == [path], found
    assert said in found[0][1]


@pytest.mark.parametrize(
    ("more", "url"),
    [
        ("", "redis://h"),
        ("lease: 30s, timeout: 1s, on_unavailable: fail, key_prefix: 'a:b/'", "redis+sentinel://s/main"),
        ("tls: {server_name: redis.internal}", "rediss+cluster://a,b"),
        ("username: u, password: {env: PASSWORD}", "unix:///a"),
        ("username: u", "redis://:hush@h"),
    ],
)
def test_what_can_work_is_accepted(more, url):
    assert mistakes(more, url) == []


def test_the_lease_outlasts_the_slowest_credential_of_those_that_are_renewed():
    slow = "  slow: {type: external, timeouts: {total: 11s}, update: {secret: {env: KEY}}}\n"
    slow += "  key: {type: bearer, token: {env: KEY}}\n"
    assert mistakes("lease: 33s", credential=slow) == []
    ((path, said),) = mistakes("lease: 32s", credential=slow)
    assert path == "store.lease"
    assert "`slow` may take 11 s" in said
    assert "33s or more" in said


def test_tokens_that_lie_readable_in_redis_draw_a_warning():
    text = SMALLEST + "store: {type: redis, url: {env: REDIS_URL}}\n"
    assert [(one.severity, one.path) for one in problems_of(text)] == [("warning", "store")]
