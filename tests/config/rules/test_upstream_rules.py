from __future__ import annotations

import pytest
from support.full_file import errors_of, load_all, problems_of

CREDENTIALS = "credentials: {key: {type: header, name: X-Key, value: {env: KEY}}}\n"


def one(route: str, more: str = "") -> str:
    return f"{more}{CREDENTIALS}routes:\n- {{match: /, {route}}}\n"


@pytest.mark.parametrize(
    ("route", "path", "said"),
    [
        ("upstream: 'unix:', credential: key", "upstream", "no path"),
        ("upstream: unix:run/a.sock, tls: {min_version: '1.3'}", "tls", "unix socket"),
        ("upstream: 'unix:/run/a.sock:/a/../b'", "upstream", "`..`"),
        ("upstream: unix:/run/a.sock, via_proxy: 'http://egress:3128'", "via_proxy", "no proxy leads there"),
        ("upstream: http+unix://run%2Fa.sock", "upstream", "begins with %2F"),
        ("upstream: 'http://unix:/run/a.sock:/v1'", "upstream", "is written unix:"),
        ("upstream: https://a.b, host: ''", "host", "no host"),
        ("upstream: https://a.b, host: 'https://api.example'", "host", "no host"),
        ("upstream: https://a.b, host: api.example/x", "host", "no host"),
        ("upstream: https://a.b, host: 'api.example:0'", "host", "no host"),
        ("upstream: https://a.b, host: 'api.example:65536'", "host", "65535"),
        ("upstream: https://a.b, host: '*.example'", "host", "no host"),
        ("upstream: https://a.b, host: 'a, b'", "host", "no host"),
        ("upstream: https://a.b, host: 'api.example\\r'", "host", "no host"),
        ("upstream: https://a.b, host: bücher.example", "host", "xn--bcher-kva.example"),
        ("upstream: https://bücher.example", "upstream", "xn--bcher-kva.example"),
        ("upstream: https://a.b, tls: {server_name: bücher.example}", "tls.server_name", "xn--bcher-kva.example"),
        ("upstream: https://a.b, headers: {set: {Host: api.example}}", "headers.set.Host", "`host`"),
        (
            "upstream: {discover: {url: 'https://a', allow_hosts: ['*.bücher.example']}}",
            "upstream.discover.allow_hosts[0]",
            "xn--bcher-kva.example",
        ),
    ],
)
def test_an_upstream_that_cannot_be_is_refused_with_its_place(route, path, said):
    (error,) = errors_of(one(route))
    assert error.path == f"routes[0].{path}"
    assert said in error.message + (error.hint or "")


def test_hosts_beyond_ascii_are_refused_with_their_spelling_wherever_they_stand():
    text = (
        "allowed_hosts: [bücher.example]\n"
        "routes: [{match: {path: /, host: 'bücher.example'}, upstream: https://a.b, "
        "via_proxy: {url: 'http://bücher.example', no_proxy: [bücher.example]}}]\n"
        "credentials: {a: {type: oauth2, client_id: c, token_endpoint: 'https://bücher.example'}}\n"
    )
    errors = errors_of(text)
    assert len(errors) == 5
    assert all("xn--bcher-kva.example" in error.message for error in errors)


def test_names_of_services_are_hosts_wherever_they_stand():
    text = (
        "allowed_hosts: [my_proxy, 'my_proxy:8080']\n"
        "routes:\n"
        "- {match: {path: /a, host: 'my_proxy:8080'}, upstream: 'http://my_service:8080', "
        "host: my_api, via_proxy: {url: 'http://my_egress:3128', no_proxy: [my_service]}}\n"
        "- {match: /b, upstream: {discover: {url: 'https://my_directory', allow_hosts: [my_service]}}}\n"
        "credentials: {a: {type: oauth2, client_id: c, token_endpoint: 'https://my_issuer:8443/token'}}\n"
    )
    assert errors_of(text) == []


@pytest.mark.parametrize(
    "upstream",
    [
        "unix:/run/app.sock",
        "unix:app.sock:/v1",
        "http+unix://%2Frun%2Fapp.sock/v1",
        "unix:${HERE:-/run}/app.sock",
    ],
)
def test_a_credential_may_go_to_a_unix_socket(upstream):
    assert problems_of(one(f"upstream: '{upstream}', credential: key, host: api.example")) == []


def test_the_path_of_a_socket_is_relative_to_the_file(tmp_path):
    config = load_all(one("upstream: 'unix:run/../app.sock:/v1//x/'"), tmp_path).config
    assert config.routes[0].upstream == f"unix:{tmp_path}/app.sock:/v1//x/"


@pytest.mark.parametrize(
    ("listen", "upstream", "who"),
    [
        ("listen: unix:run/a.sock\n", "unix:run/a.sock", "listen[0].address"),
        ("listen: unix:run/a.sock\n", "unix:run/../run/a.sock:/v1", "listen[0].address"),
        ("listen: [127.0.0.1:1, unix:/run/a.sock]\n", "http+unix://%2Frun%2F.%2Fa.sock", "listen[1].address"),
        ("admin: {listen: unix:/run/a.sock}\n", "unix:///run/a.sock", "admin.listen"),
        ("health: {listen: unix:/run/a.sock}\n", "unix:/run/a.sock", "health.listen"),
    ],
)
def test_our_own_socket_is_no_upstream(listen, upstream, who):
    (error,) = errors_of(one(f"upstream: '{upstream}'", listen))
    assert error.path == "routes[0].upstream"
    assert f"our own listener ({who})" in error.message
