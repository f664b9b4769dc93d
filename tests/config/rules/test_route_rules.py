"""Routes: each reachable, each to somewhere else than ourselves, no credential in the clear."""

from __future__ import annotations

import pytest
from support.full_file import errors_of, load_all, problems_of

CREDENTIALS = (
    "credentials: {key: {type: header, name: X-Key, value: {env: KEY}}, token: {type: bearer, token: {env: KEY}}}\n"
)


def one(route: str) -> str:
    return f"{CREDENTIALS}routes:\n- {{{route}}}\n"


@pytest.mark.parametrize(
    ("route", "path", "said"),
    [
        ("match: crm, upstream: https://a.b", "match.path", "starts with /"),
        ("match: /a?b, upstream: https://a.b", "match.path", "no query"),
        ("match: '/a#b', upstream: https://a.b", "match.path", "fragment"),
        ("match: /a/../b, upstream: https://a.b", "match.path", "normalised"),
        ("match: /a/%2E%2e/b, upstream: https://a.b", "match.path", "normalised"),
        ("match: /ä, upstream: https://a.b", "match.path", "ASCII"),
        ("match: {path: /, host: 'http://x'}, upstream: https://a.b", "match.host", "no host"),
        ("match: {path: /, methods: []}, upstream: https://a.b", "match.methods", "no method"),
        ("match: {path: /, methods: [CONNECT]}, upstream: https://a.b", "match.methods[0]", "never forwarded"),
        ("match: {path: /, methods: ['A B']}, upstream: https://a.b", "match.methods[0]", "no request method"),
        ("match: {path: /, methods: GET}, upstream: https://a.b", "match.methods", "a list"),
        ("match: /, upstream: a.b", "upstream", "https://"),
        ("match: /, upstream: ftp://a.b", "upstream", "https://"),
        ("match: /, upstream: 'https://'", "upstream", "no valid host"),
        ("match: /, upstream: 'https://a b'", "upstream", "blanks"),
        ("match: /, upstream: 'https://a.b:99999'", "upstream", "no URL"),
        ("match: /, upstream: 'https://a.b:'", "upstream", "no valid host"),
        ("match: /, upstream: 'https://[::1'", "upstream", "no URL"),
        ("match: /, upstream: 'https://a.b/c?d=e'", "upstream", "no query"),
        ("match: /, upstream: 'https://a.b/c#d'", "upstream", "no fragment"),
        ("match: /, upstream: 'https://hush:hush@a.b/'", "upstream", "user name"),
        ("match: /, upstream: 'https://a.b/../c'", "upstream", "`..`"),
        ("match: /, upstream: http://a.b, credential: key", "upstream", "over http://"),
        ("match: /, upstream: http://a.b, headers: {set: {A: a, X-K: {env: KEY}}}", "upstream", "the secret in X-K"),
        ("match: /, upstream: http://a.b, query: {set: {k: {env: KEY}}}", "upstream", "the secret in k"),
        ("match: /, upstream: https://a.b, query: {set: {'': a}}", "query.set.", "printable"),
        ("match: /, upstream: https://a.b, query: {set: {k: {env: NONE}}}", "query.set.k.env", "not set"),
        ("match: /, upstream: https://a.b, query: {set: {k: {credential: key}}}", "query.set.k.credential", "only a"),
        ("match: /, upstream: 'https://a.b/bot{credential}'", "upstream", "needs a `credential`"),
        ("match: /, upstream: 'https://a.b/{credential}{credential}', credential: key", "upstream", "there once"),
        ("match: /, upstream: 'https://{credential}.b/', credential: key", "upstream", "no valid host"),
        ("match: /, upstream: {}", "upstream", "one of the two"),
        (
            "match: /, upstream: {discover: {url: 'https://a', allow_hosts: [a.b], credential: kee}}",
            "upstream.discover.credential",
            "did you mean `key`?",
        ),
        ("match: /, upstream: {from_token: /u, allow_hosts: [a.b]}", "upstream.from_token", "oauth2 or http"),
        (
            "match: /, upstream: {from_token: /u, allow_hosts: [a.b]}, credential: key",
            "upstream.from_token",
            "oauth2 or http",
        ),
        ("match: /, upstream: {from_token: /u}, credential: token", "upstream.allow_hosts", "must name the hosts"),
        (
            "match: /, upstream: {from_token: /u, allow_hosts: [169.254.1.1]}, credential: token",
            "upstream.allow_hosts[0]",
            "link-local",
        ),
        (
            "match: /, upstream: {from_token: /u, allow_hosts: [a.b], path: 'x?'}, credential: token",
            "upstream.path",
            "starts with /",
        ),
        (
            "match: /, upstream: {from_token: /u, allow_hosts: [a.b], scheme: http}, credential: token",
            "upstream.scheme",
            "over http://",
        ),
        (
            "match: /, upstream: https://a.b, credential: token, headers: {set: {X: {kept: tenant}}}",
            "headers.set.X.kept",
            "response: {keep: {tenant: /pointer}}",
        ),
        (
            "match: /, upstream: https://a.b, headers: {set: {X: {kept: t, env: KEY}}}",
            "headers.set.X.kept",
            "one source",
        ),
        ("match: /, upstream: http://127.0.0.1:8080", "upstream", "our own listener (listen[0].address)"),
        ("match: /, upstream: http://localhost:9901/x", "upstream", "our own listener (admin.listen)"),
        ("match: /, upstream: http://0.0.0.0:8080", "upstream", "our own listener"),
        ("match: /, upstream: https://a.b, credential: kee", "credential", "did you mean `key`?"),
        ("match: /, upstream: https://a.b, credential: zzz", "credential", "credentials: key, token"),
        ("match: /, upstream: http://127.0.0.1:1, tls: {server_name: a}", "tls", "http:// upstream"),
        ("match: /, upstream: https://a.b, headers: {set: {Host: a}}", "headers.set.Host", "belongs to the connection"),
        (
            "match: /, upstream: https://a.b, headers: {set: {content-length: '1'}}",
            "headers.set.content-length",
            "belongs",
        ),
        ("match: /, upstream: https://a.b, headers: {set: {'X Y': a}}", "headers.set.X Y", "no name"),
        ('match: /, upstream: https://a.b, headers: {set: {X: "a\\nb"}}', "headers.set.X", "line breaks"),
        ("match: /, upstream: https://a.b, headers: {set: {X: a, x: b}}", "headers.set.x", "set twice"),
        ("match: /, upstream: https://a.b, headers: {remove: [Connection]}", "headers.remove[0]", "belongs"),
        ("match: /, upstream: https://a.b, refresh_on: [{status: 99}]", "refresh_on[0].status", "three digits"),
        (
            "match: /, upstream: https://a.b, refresh_on: [{status: 401, body_contains: ''}]",
            "refresh_on[0].body_contains",
            "every body",
        ),
        ("match: /, upstream: https://a.b, retry: {max_attempts: 0}", "retry.max_attempts", "more than 0"),
        ("match: /, upstream: https://a.b, retry: {max_attempts: 11}", "retry.max_attempts", "flood"),
        ("match: /, upstream: https://a.b, timeouts: {connect: off}", "timeouts.connect", "duration"),
        ("match: /, upstream: https://a.b, timeouts: {total: 0s}", "timeouts.total", "write off"),
        (
            "match: /, upstream: https://a.b, cors: {allow_origins: ['https://a/']}",
            "cors.allow_origins[0]",
            "no origin",
        ),
        (
            "match: /, upstream: https://a.b, rewrite_response: {json_pointers: [a]}",
            "rewrite_response.json_pointers[0]",
            "JSON pointer",
        ),
        ("match: /, upstream: https://a.b, upgrades: [h2c]", "upgrades[0]", "without the credential"),
        ("match: /, upstream: https://a.b, upgrades: [tcp, 'HTTP/2.0']", "upgrades[1]", "without the credential"),
        ("match: /, upstream: https://a.b, upgrades: [H2C-14]", "upgrades[0]", "without the credential"),
        ("match: /, upstream: https://a.b, upgrades: [http2]", "upgrades[0]", "without the credential"),
        ("match: /, upstream: https://a.b, upgrades: [TLS/1.2]", "upgrades[0]", "without the credential"),
        ("match: /, upstream: https://a.b, upgrades: ['tcp, foo']", "upgrades[0]", "no name of a protocol"),
        ("match: /, upstream: https://a.b, upgrades: ['']", "upgrades[0]", "no name of a protocol"),
        ("match: /, upstream: https://a.b, upgrades: [spdy/3/1]", "upgrades[0]", "no name of a protocol"),
        ("match: /, upstream: https://a.b, upgrades: [tcp, TCP]", "upgrades[1]", "twice"),
        ("match: /, upstream: https://a.b, name: ''", "name", "printable"),
        (
            "match: /, upstream: {discover: {url: 'https://a', json_pointer: /u, allow_hosts: []}}",
            "upstream.discover.allow_hosts",
            "must name",
        ),
        (
            "match: /, upstream: {discover: {url: 'https://a', json_pointer: /u, allow_hosts: ['*']}}",
            "upstream.discover.allow_hosts[0]",
            "no host",
        ),
        (
            "match: /, upstream: {discover: {url: 'https://a', allow_hosts: [a, '*.127.0.0.1']}}",
            "upstream.discover.allow_hosts[1]",
            "no host",
        ),
        (
            "match: /, upstream: {discover: {url: 'https://a', allow_hosts: ['*.[::1]']}}",
            "upstream.discover.allow_hosts[0]",
            "no host",
        ),
        (
            "match: /, upstream: {discover: {url: 'https://a', allow_hosts: ['[fe80::1]']}}",
            "upstream.discover.allow_hosts[0]",
            "link-local",
        ),
        (
            "match: /, upstream: {discover: {url: 'http://a', json_pointer: u, allow_hosts: [a]}}",
            "upstream.discover.url",
            "over http://",
        ),
        (
            "match: /, upstream: {discover: {url: 'https://a', json_pointer: u, allow_hosts: [a]}}",
            "upstream.discover.json_pointer",
            "pointer",
        ),
        (
            "match: /, upstream: {discover: {url: 'https://a', json_pointer: /u}}",
            "upstream.discover.allow_hosts",
            "needs `allow_hosts`",
        ),
        (
            (
                "credential: key, match: /, "
                "upstream: {discover: {url: 'https://a', json_pointer: /u, allow_hosts: [a], scheme: http}}"
            ),
            "upstream.discover.scheme",
            "http://",
        ),
    ],
)
def test_a_route_that_cannot_be_served_is_refused_with_its_place(route, path, said):
    errors = errors_of(one(route))
    found = [error for error in errors if error.path == f"routes[0].{path}"]
    assert found, errors
    assert said in found[0].message + (found[0].hint or "")
    assert "hush" not in str(errors)


@pytest.mark.parametrize(
    "route",
    [
        "match: /, upstream: http://127.0.0.1:3000, credential: key",
        "match: /, upstream: http://localhost:3000/a/..b/, credential: key",
        "match: /, upstream: 'http://[::1]:3000', credential: key",
        "match: /, upstream: http://a.b, credential: key, allow_insecure: true",
        "match: /, upstream: http://a.b, headers: {set: {X-K: {env: KEY}}}, allow_insecure: true",
        "match: /, upstream: http://a.b, headers: {set: {A: a}}",
        "match: /, upstream: http://api.example:8080",
        "match: /, upstream: http://127.0.0.2:8080",
        "credential: key, match: /, upstream: {discover: {url: 'https://a/?b=c', allow_hosts: ['*.a.b', 10.0.0.1]}}",
        "credential: key, match: /, upstream: {discover: {url: 'http://[::1]', allow_hosts: ['[::1]'], scheme: http}}",
        "match: /, upstream: {discover: {url: 'https://a', allow_hosts: [a], scheme: http}}",
        (
            "credential: key, allow_insecure: true, match: /, "
            "upstream: {discover: {url: 'https://a', allow_hosts: [a], scheme: http}}"
        ),
        "match: /a/.well-known/..., upstream: https://a.b:8443/x/",
        "match: /, upstream: https://xn--bcher-kva.example, credential: null",
        "match: {path: /, methods: [get]}, upstream: https://a.b",
        "match: /, upstream: https://a.b, headers: {set: {X-Ä: a}}".replace("Ä", "A"),
        "match: /, upstream: https://a.b, refresh_on: []",
        "match: /, upstream: https://a.b, max_request_body: 0B",
        "match: /, upstream: https://a.b, cors: {allow_origins: ['*', 'http://localhost:3000']}",
        "match: /, upstream: https://a.b, tls: {min_version: '1.3', ca_file: }",
    ],
)
def test_a_route_that_can_be_served_is_no_mistake(route):
    assert errors_of(one(route)) == []


def test_no_route_at_all_is_a_mistake():
    assert [error.path for error in errors_of("routes: []\n")] == ["routes"]


def test_routes_are_named_after_their_paths_and_never_alike():
    text = "routes:\n" + "".join(
        f"- {{match: {match}, upstream: https://a.b}}\n"
        for match in ("/", "/crm/", "{path: /crm, host: a}", "{path: /crm, methods: [GET]}", "/a/b")
    )
    assert [route.name for route in load_all(text).config.routes] == ["root", "crm", "crm-2", "crm-3", "a/b"]


def test_two_routes_of_one_name_are_refused():
    text = "routes:\n- {match: /a, name: x, upstream: https://a.b}\n- {match: /b, name: x, upstream: https://a.b}\n"
    (error,) = errors_of(text)
    assert (error.line, error.path) == (3, "routes[1].name")


@pytest.mark.parametrize(
    ("first", "second", "alike"),
    [
        ("/a", "/a", True),
        ("/a", "/a/", True),
        ("/a", "/A", False),
        ("{path: /a, host: x}", "{path: /a, host: X}", True),
        ("{path: /a, host: x}", "/a", False),
        ("{path: /a, methods: [GET]}", "{path: /a, methods: [POST]}", False),
        ("{path: /a, methods: [GET]}", "{path: /a, methods: [POST, GET]}", True),
        ("{path: /a, methods: [GET]}", "/a", False),
    ],
)
def test_two_routes_that_take_the_same_requests_are_refused(first, second, alike):
    errors = errors_of(
        f"routes:\n- {{match: {first}, upstream: https://a.b}}\n- {{match: {second}, upstream: https://a.b}}\n"
    )
    assert [error.path for error in errors] == (["routes[1].match"] if alike else [])


OAUTH2 = "type: oauth2, token_endpoint: https://i.example/token, client_id: c, client_secret: {env: KEY}"


@pytest.mark.parametrize(
    ("credential", "header", "warns"),
    [
        ("type: header, name: X-Key, value: {env: KEY}", "x-key", True),
        ("type: header, name: X-Key, value: {env: KEY}", "Authorization", False),
        ("type: query, name: x-key, value: {env: KEY}", "x-key", False),
        ("type: query, name: x-key, value: {env: KEY}", "Authorization", False),
        ("type: bearer, token: {env: KEY}", "AUTHORIZATION", True),
        ("type: python, callable: 'a:b', header: X-Own", "X-Own", True),
        (OAUTH2, "Authorization", True),
        (f"{OAUTH2}, header: X-Token", "Authorization", False),
        (f"{OAUTH2}, header: X-Token", "x-token", True),
        (f"{OAUTH2}, query: t", "Authorization", False),
        (f"{OAUTH2}, dpop: true", "DPoP", True),
        (OAUTH2, "DPoP", False),
        ("type: header, name: X-Key, value: {env: KEY}", "x_key", True),
        ("type: header, name: X_Key, value: {env: KEY}", "X-Key", True),
    ],
)
def test_a_header_with_two_writers_draws_a_warning(credential, header, warns):
    text = f"routes: [{{match: /, upstream: https://a.b, credential: c, headers: {{set: {{{header}: a}}}}}}]\n"
    problems = problems_of(f"{text}credentials:\n  c: {{{credential}}}\n")
    assert [(one.severity, "writes" in one.message) for one in problems] == [("warning", True)] * warns


def test_a_method_in_small_letters_draws_a_warning():
    (problem,) = problems_of(one("match: {path: /, methods: [get]}, upstream: https://a.b"))
    assert (problem.severity, problem.hint) == ("warning", "did you mean GET?")


def test_one_mistake_does_not_beget_another():
    """Neither the route of a broken credential nor the listener of broken callers is to blame."""
    text = "listen: 0.0.0.0:80\ncallers: {bearr: {env: KEY}}\n"
    text += "credentials: {a: {type: bearer, token: x}, b: {typ: bearer}}\nroutes:\n"
    text += "- {match: /a, upstream: https://a.b, credential: a}\n- {match: /b, upstream: https://a.b, credential: b}\n"
    assert [error.path for error in errors_of(text)] == ["callers.bearr", "credentials.a.token", "credentials.b"]
