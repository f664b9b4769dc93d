from __future__ import annotations

import pytest
from support.full_file import errors_of, load_all, problems_of


def route(via: str, upstream: str = "https://a.b", more: str = "") -> str:
    return f"routes: [{{match: /, upstream: '{upstream}', via_proxy: {via}{more}}}]\n"


def credential(via: str) -> str:
    return (
        "routes: [{match: /, upstream: https://a.b}]\ncredentials: {c: {type: oauth2, "
        f"client_id: c, client_secret: {{env: KEY}}, token_endpoint: 'https://login.example', via_proxy: {via}}}}}\n"
    )


MISTAKES = [
    ("{url: 'http://a/b'}", "url", "no path"),
    ("{url: 'https://a:3128'}", "url", "speaks http://"),
    ("{url: 'socks5://a:1080'}", "url", "speaks http://"),
    ("{url: 'egress:3128'}", "url", "http://egress:3128"),
    ("'egress:3128'", "url", "http://egress:3128"),
    ("{url: 'http://'}", "url", "no valid host"),
    ("{url: 'http://u:hush@egress:3128'}", "url", "username"),
    ("{url: 'https://u:hush@egress:3128'}", "url", "username"),
    ("{url: 'http://a', password: {env: KEY}}", "password", "`username`"),
    ("{url: 'http://a', username: 'u:v', password: {env: KEY}}", "username", "no colon"),
    ("{url: 'http://a', username: \"u\\n\"}", "username", "control"),
    ("{url: 'http://a', username: u, password: hush}", "password", "by reference"),
    ("{url: 'http://a', username: u, password: {env: NOWHERE}}", "password.env", "not set"),
    ("{url: 'http://a', no_proxy: [a, 10.0.0.0/33]}", "no_proxy[1]", "network"),
    ("{url: 'http://a', no_proxy: [10.0.0.*]}", "no_proxy[0]", "10.0.0.0/8"),
    ("{url: 'http://a', no_proxy: ['a,b']}", "no_proxy[0]", "entry of the list"),
    ("{url: 'http://a', no_proxy: ['http://b']}", "no_proxy[0]", "no host"),
    ("{url: 'http://a', no_proxy: ['b:0']}", "no_proxy[0]", "port"),
    ("{no_proxy: [b]}", "url", "needs `url`"),
    ("{url: 'http://a', user: u}", "user", "username"),
]


@pytest.mark.parametrize(("via", "path", "said"), MISTAKES)
@pytest.mark.parametrize(("make", "owner"), [(route, "routes[0]"), (credential, "credentials.c")])
def test_what_cannot_be_read_is_a_mistake_with_its_place(make, owner, via, path, said):
    errors = [error for error in errors_of(make(via)) if error.path == f"{owner}.via_proxy.{path}"]
    assert errors, errors_of(make(via))
    assert said in errors[0].message + (errors[0].hint or "")
    assert "hush" not in str(errors_of(make(via)))


@pytest.mark.parametrize("make", [route, credential])
@pytest.mark.parametrize(
    "via",
    [
        "http://egress:3128",
        "{url: 'http://my_egress:3128/', username: u, password: {env: KEY}}",
        "{url: 'http://[::1]:3128', username: ünï, no_proxy: ['*', 10.0.0.0/8, 'fd00::/8', 'h:8443', '[::1]:1', .a.b]}",
    ],
)
def test_a_plain_string_is_the_url_and_all_keys_are_read(make, via):
    assert problems_of(make(via)) == []


def test_a_plain_string_and_a_mapping_are_the_same():
    short, long = (load_all(route(via)).config.routes[0].via_proxy for via in ("http://a:1", "{url: 'http://a:1'}"))
    assert short == long


@pytest.mark.parametrize("name", ["Proxy-Authorization", "proxy-authorization", "Proxy_Authorization"])
def test_the_proxys_field_is_not_set_by_hand(name):
    text = route("http://egress:3128", more=f", headers: {{set: {{{name}: Basic abc}}}}")
    (error,) = errors_of(text)
    assert error.path == f"routes[0].headers.set.{name}"
    assert "via_proxy: {url: …, username: …, password" in (error.hint or "")


HTTP = "http://a.b"


@pytest.mark.parametrize(
    ("text", "path"),
    [
        (route("http://e:1", HTTP, ", host: api.example"), "host"),
        (route("{url: 'http://e:1', no_proxy: [other]}", HTTP, ", host: api.example"), "host"),
        (route("{url: 'http://e:1', no_proxy: [a.b]}", HTTP, ", host: api.example"), None),
        (route("http://e:1", "https://a.b", ", host: api.example"), None),
        (route("http://e:1", HTTP), None),
        (route("http://e:1", "https://a.b", ", credential: iap"), None),
        (route("http://e:1", HTTP, ", credential: iap, allow_insecure: true"), "credential"),
        (route("{url: 'http://e:1', no_proxy: ['*']}", HTTP, ", credential: iap, allow_insecure: true"), None),
    ],
)
def test_what_a_proxy_would_take_for_its_own_is_refused_where_it_reads_requests(text, path):
    text += "credentials: {iap: {type: header, name: Proxy-Authorization, value: {env: KEY}}}\n"
    assert [error.path for error in errors_of(text)] == ([f"routes[0].{path}"] if path else [])
