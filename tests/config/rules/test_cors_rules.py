"""`cors`: what browsers would take."""

from __future__ import annotations

import pytest
from support.full_file import errors_of, load_all, problems_of


def route(cors: str) -> str:
    return f"routes:\n- match: /\n  upstream: https://a.b\n  cors: {{{cors}}}\n"


@pytest.mark.parametrize(
    ("cors", "path", "said"),
    [
        ("allow_origins: ['https://a/']", "allow_origins[0]", "no origin"),
        ("allow_origins: [https://a.example, '*.a.example']", "allow_origins[1]", "https://app.example"),
        ("allow_origins: ['https://a.*']", "allow_origins[0]", "only at the beginning"),
        ("allow_origins: ['moz-extension://*']", "allow_origins[0]", "named whole"),
        ("allow_origins: ['wss://a.example']", "allow_origins[0]", "https://"),
        ("allow_origins: ['*'], allow_credentials: true", "allow_origins[0]", "every page"),
        ("allow_origins: [https://a.example, '*'], allow_credentials: true", "allow_origins[1]", "name the origins"),
        ("allow_origins: [https://a.example], allow_headers: ['*']", "allow_headers[0]", "allow_headers: any"),
        ("allow_origins: [https://a.example], allow_headers: all", "allow_headers", "any"),
        ("allow_origins: [https://a.example], allow_headers: ['X Y']", "allow_headers[0]", "no name"),
        ("allow_origins: [https://a.example], expose_headers: ['X:Y']", "expose_headers[0]", "no name"),
        (
            "allow_origins: [https://a.example], expose_headers: ['*'], allow_credentials: true",
            "expose_headers[0]",
            "name the fields",
        ),
        ("allow_origins: [https://a.example], max_age: 600", "max_age", "600s"),
        ("allow_credentials: true", "allow_origins", "needs `allow_origins`"),
    ],
)
def test_what_browsers_would_not_take_is_refused_with_its_place(cors, path, said):
    (error,) = errors_of(route(cors))
    assert error.path == f"routes[0].cors.{path}"
    assert said in error.message + (error.hint or "")


@pytest.mark.parametrize(
    "cors",
    [
        "allow_origins: ['*']",
        "allow_origins: ['*'], expose_headers: ['*'], max_age: 0s",
        "allow_origins: ['https://*.a.example', 'null', 'chrome-extension://abc'], allow_headers: any",
        "allow_origins: ['https://*.a.example'], allow_credentials: true, allow_headers: [X-A, Authorization]",
        "allow_origins: [https://a.example], allow_headers: [], expose_headers: []",
    ],
)
def test_what_browsers_take_is_no_mistake(cors):
    assert problems_of(route(cors)) == []


def test_null_with_credentials_draws_a_warning():
    (problem,) = problems_of(route("allow_origins: ['null'], allow_credentials: true"))
    assert (problem.severity, problem.path) == ("warning", "routes[0].cors.allow_origins[0]")


def test_what_is_not_said_has_its_default():
    cors = load_all(route("allow_origins: [https://a.example]")).config.routes[0].cors
    assert cors is not None
    assert (cors.allow_credentials, cors.allow_headers) == (False, "any")
    assert (cors.expose_headers, float(cors.max_age)) == ((), 600)
