"""`auth-sidecar explain`: the truth about one request, and no secret in it."""

from __future__ import annotations

import json
import re

import pytest
from support.directory import Directory

from proxy.cli.explain_command import request_of
from proxy.config.schema import Config

ISSUED = {
    "type": "oauth2",
    "token_endpoint": "http://127.0.0.1:1/token",
    "client_id": "c",
    "client_secret": {"value": "hush-client"},
}
CREDENTIALS = {
    "token": ISSUED,
    "bound": {**ISSUED, "dpop": True},
    "tenant": {**ISSUED, "per": {"header": "X-Tenant"}},
    "caller": {
        **ISSUED,
        "grant_type": "urn:ietf:params:oauth:grant-type:token-exchange",
        "subject_token": {"request_header": "Authorization"},
    },
    "key": {"type": "query", "name": "key", "value": {"value": "hush-key"}},
    "user": {"type": "basic", "username": "u", "password": {"value": "hush-password"}},
    "signed": {
        "type": "oauth1",
        "consumer_key": "ck",
        "consumer_secret": {"value": "hush-a"},
        "token": {"value": "hush-b"},
    },
}


def route(name, **more):
    return {"match": f"/{name}", "upstream": "https://api.example/v2", "credential": name, **more}


@pytest.fixture(autouse=True)
def config(written):
    routes = [route(name) for name in CREDENTIALS]
    routes[0]["headers"] = {
        "set": {"X-Word": "w", "X-Secret": {"value": "hush-set"}, "X-Command": {"exec": ["false"]}},
        "remove": ["Cookie"],
    }
    routes.append(
        {"name": "plain", "match": {"path": "/plain", "methods": ["GET", "POST"]}, "upstream": "http://127.0.0.1:1"}
    )
    routes.append(route("keep", credential="user", on_client_authorization="keep"))
    routes.append(route("reject", credential="user", on_client_authorization="reject"))
    origins = ["https://app.example"]
    routes.append({"match": "/shared", "upstream": "https://api.example", "cors": {"allow_origins": origins}})
    written({"routes": routes, "credentials": CREDENTIALS, "callers": {"bearer": {"value": "hush-caller"}}})


def test_the_route_the_target_and_the_fields_are_told_without_any_secret(command):
    said = command(
        "explain", "GET", "/token/x?a=b", "-H", "Accept: text/html", "-H", "Cookie: c=d", "-H", "Authorization: mine"
    )
    assert said.code == 0
    assert said.out == (
        "route       token: /token\n"
        "upstream    https://api.example\n"
        "credential  token (oauth2)\n"
        "\n"
        "GET /v2/x?a=b HTTP/1.1\n"
        "Host: api.example\n"
        "Accept: text/html\n"
        "X-Word: REDACTED\n"
        "X-Secret: REDACTED\n"
        "X-Command: REDACTED\n"
        "Authorization: Bearer REDACTED\n"
    )


def test_what_an_egress_proxy_is_sent_is_told_without_its_password(command, written):
    via = {"url": "http://egress:3128", "username": "u", "password": {"value": "hush-proxy"}, "no_proxy": ["b.example"]}
    places = {"/http": "http://a.example", "/https": "https://a.example", "/direct": "http://b.example"}
    written({"routes": [{"match": path, "upstream": url, "via_proxy": via} for path, url in places.items()]})
    assert command("explain", "GET", "/http/x?y").out == (
        "route       http: /http\n"
        "upstream    http://a.example\n"
        "via proxy   http://egress:3128 (in absolute form)\n"
        "credential  none\n"
        "\n"
        "GET http://a.example/x?y HTTP/1.1\n"
        "Host: a.example\n"
        "Proxy-Authorization: Basic REDACTED\n"
    )
    upgrade = ("-H", "Connection: Upgrade", "-H", "Upgrade: websocket")
    assert "(CONNECT)\ncredential  none\n\nGET /x HTTP/1.1\n" in command("explain", "GET", "/http/x", *upgrade).out
    assert "(CONNECT)\ncredential  none\n\nGET /x HTTP/1.1\n" in command("explain", "GET", "/https/x").out
    assert "proxy" not in command("explain", "GET", "/direct/x").out.lower()


def test_the_host_that_the_upstream_sees_is_what_is_signed(command, written):
    upstreams = {"/unix": "unix:/run/app.sock:/v1", "/tcp": "https://10.0.0.1:8443/v1"}
    routes = [
        {"match": path, "upstream": url, "credential": name, "host": "api.example:443", "name": f"{name}{path}"}
        for path, url in upstreams.items()
        for name in ("signed",)
    ]
    routes.append({"match": "/bound", "upstream": upstreams["/tcp"], "credential": "bound", "host": "API.example"})
    routes.append({"match": "/own", "upstream": upstreams["/unix"], "credential": "signed"})
    written({"routes": routes, "credentials": CREDENTIALS})
    said = command("explain", "GET", "/tcp/x").out
    assert "upstream    https://10.0.0.1:8443\n" in said
    assert "\nHost: api.example:443\n" in said
    assert "OAuth 1 base string: GET&https%3A%2F%2Fapi.example%2Fv1%2Fx&" in said
    said = command("explain", "GET", "/unix/x").out
    assert "upstream    unix:/run/app.sock\n" in said
    assert "OAuth 1 base string: GET&http%3A%2F%2Fapi.example%3A443%2Fv1%2Fx&" in said
    assert '"htu":"https://api.example/v1/x"' in command("explain", "GET", "/bound/x").out
    said = command("explain", "GET", "/own/x").out
    assert "\nHost: localhost\n" in said
    assert "OAuth 1 base string: GET&http%3A%2F%2Flocalhost%2Fv1%2Fx&" in said


@pytest.mark.parametrize("url", ["http://127.0.0.1:8080/plain?x", "http://localhost/plain?x#f", "/plain?x"])
def test_a_full_url_of_the_sidecar_is_as_good_as_a_path(command, url):
    said = command("explain", "GET", url)
    assert said.code == 0
    assert "\nGET /?x HTTP/1.1\nHost: 127.0.0.1:1\n" in said.out
    assert "credential  none" in said.out


def test_the_base_string_of_an_oauth1_signature_is_shown(command):
    said = command("explain", "POST", "/signed/items?b=2&a=1")
    assert said.code == 0
    base = said.out.partition("OAuth 1 base string: ")[2]
    assert base.startswith("POST&https%3A%2F%2Fapi.example%2Fv2%2Fitems&a%3D1%26b%3D2%26oauth_consumer_key%3Dck%26")
    assert 'oauth_signature="REDACTED"' in said.out
    assert "hush" not in said.out


def test_the_claims_of_a_dpop_proof_are_shown(command):
    said = command("explain", "GET", "/bound/items?b=2")
    claims = json.loads(said.out.partition("DPoP claims: ")[2].partition("\n")[0])
    assert (claims["htm"], claims["htu"]) == ("GET", "https://api.example/v2/items")
    assert "Authorization: DPoP REDACTED\nDPoP: REDACTED\n" in said.out
    assert "`ath` is a placeholder's" in said.out


def test_a_key_in_the_query_and_a_password_are_not_shown(command):
    assert "\nGET /v2/?key=REDACTED HTTP/1.1\n" in command("explain", "GET", "/key/").out
    assert "\nAuthorization: Basic REDACTED\n" in command("explain", "GET", "/user").out


def test_a_tenants_token_is_a_placeholder_and_its_field_goes_no_further(command):
    said = command("explain", "GET", "/tenant/x", "-H", "X-Tenant: acme")
    assert "depends on the request" in said.out
    assert "acme" not in said.out


def test_the_apps_own_authorization_is_kept_or_refused_as_the_route_says(command):
    own = ("-H", "Authorization: Bearer mine")
    said = command("explain", "GET", "/keep/x", *own)
    assert "\nAuthorization: Bearer mine\n" in said.out
    assert "is kept" in said.out
    assert "Basic REDACTED" in command("explain", "GET", "/keep/x").out
    said = command("explain", "GET", "/reject/x", *own)
    assert said.code == 1
    assert "refused with 403" in said.err


def test_a_websocket_is_opened_with_the_credential(command):
    upgrade = ("-H", "Connection: Upgrade", "-H", "Upgrade: websocket")
    said = command("explain", "GET", "/token/socket", *upgrade)
    assert "Connection: Upgrade\nUpgrade: websocket\nAuthorization: Bearer REDACTED\n" in said.out


@pytest.mark.parametrize(
    ("method", "url", "said"), [("GET", "/none", "404: No route"), ("PUT", "/plain", "405: .*GET, HEAD, POST")]
)
def test_nothing_that_matches_is_exit_4(command, method, url, said):
    found = command("explain", method, url)
    assert found.code == 4
    assert found.out == ""
    assert re.match(said, found.err)


@pytest.mark.parametrize(
    ("words", "status"),
    [
        (["GET", "http://evil.example/plain"], 403),
        (["GET", "/plain/%2e%2e/x"], 400),
        (["GET", "/plain x"], 400),
        (["GET", "/plain", "-H", "X: a\r\nb"], 400),
        (["TRACE", "/plain"], 405),
        (["GET", "/plain", "-H", "Sec-Fetch-Site: cross-site"], 403),
        (["GET", "/plain", "-H", f"X: {'a' * 40000}"], 431),
        (["GET", "/tenant/x"], 401),
        (["GET", "/tenant/x", "-H", "X-Tenant: a b"], 401),
        (["GET", "/caller/x"], 401),
    ],
)
def test_a_request_that_would_be_refused_says_with_what(command, words, status):
    said = command("explain", *words)
    assert said.code == 1
    assert f"refused with {status}: " in said.err


def test_host_is_the_first_listeners_unless_it_is_given():
    config = Config(routes=())
    assert request_of("GET", "/a", [], config) == b"GET /a HTTP/1.1\r\nHost: 127.0.0.1:8080\r\n\r\n"
    assert request_of("GET", "http://h.example", [], config) == b"GET / HTTP/1.1\r\nHost: h.example\r\n\r\n"
    assert request_of("GET", "http://h.example?q", [], config) == b"GET /?q HTTP/1.1\r\nHost: h.example\r\n\r\n"
    assert request_of("GET", "/a", ["host: x"], config) == b"GET /a HTTP/1.1\r\nhost: x\r\n\r\n"


async def test_an_upstream_that_is_looked_up_is_looked_up_because_signatures_cover_it(written, beside):
    async with Directory(base="127.0.0.1:1/v3") as directory:
        routes = [route(name, upstream=directory.discover()) for name in ("bound", "signed")]
        written({"routes": routes, "credentials": CREDENTIALS})
        said = await beside("explain", "GET", "/bound/items?b=2")
        assert said.out.startswith(
            "route       bound: /bound\n"
            "upstream    http://127.0.0.1:1\n"
            "credential  bound (oauth2)\n"
            f"directory   {directory.url}/api/account/4711/service/asyncMessaging/baseURI.json\n"
            "\n"
            "GET /v3/items?b=2 HTTP/1.1\n"
            "Host: 127.0.0.1:1\n"
        )
        claims = json.loads(said.out.partition("DPoP claims: ")[2].partition("\n")[0])
        assert claims["htu"] == "http://127.0.0.1:1/v3/items"
        said = await beside("explain", "GET", "/signed/items")
        assert "OAuth 1 base string: GET&http%3A%2F%2F127.0.0.1%3A1%2Fv3%2Fitems&" in said.out
        assert "hush" not in said.out + said.err
        assert len(directory.requests) == 2


async def test_where_the_directory_cannot_be_asked_the_rest_is_told_all_the_same(written, beside):
    where = {"discover": {"url": "http://127.0.0.1:1/where?key=hush", "allow_hosts": ["*.example.net"]}}
    written({"routes": [route("token", upstream=where)], "credentials": CREDENTIALS})
    said = await beside("explain", "GET", "/token/x")
    assert said.code == 0
    assert (
        "directory   http://127.0.0.1:1/where "
        "(The directory cannot be reached; the upstream's host and path are not known)\n"
    ) in said.out
    assert "\nGET /token/x HTTP/1.1\nHost: undiscovered.invalid\n" in said.out


@pytest.mark.parametrize(
    ("wanted", "sent"),
    [("br, gzip;q=0.5", "gzip"), ("br, zstd", "identity"), ("gzip;q=0", "identity"), (None, None)],
)
def test_only_a_coding_that_can_be_read_is_asked_for_where_answers_are_read(written, command, wanted, sent):
    """What is said to be sent is what is sent: `tests/forward/test_relink.py` has the other half."""
    reads = route("rewritten", credential=None, rewrite_response={"json_pointers": ["/a"]})
    moves = route("moved", credential=None, rewrite_response={"location": True})
    learns = route("learns", credential="chat", upstream="https://directline.botframework.com/v3/directline")
    chat = {"type": "direct_line", "secret": {"value": "hush"}}
    written({"routes": [reads, moves, learns], "credentials": {"chat": chat}})
    fields = ("-H", f"Accept-Encoding: {wanted}") if wanted else ()
    line = f"\nAccept-Encoding: {sent}\n" if sent else ""
    for url in ("/rewritten/x", "/learns/tokens/generate"):
        said = command("explain", "POST", url, *fields)
        assert said.code == 0
        assert line in said.out
        assert said.out.count("Accept-Encoding") == bool(sent)
    for url in ("/moved/x", "/learns/conversations/a/activities"):
        assert (f"\nAccept-Encoding: {wanted}\n" in command("explain", "POST", url, *fields).out) == bool(wanted)


def test_the_callers_bearer_is_not_among_what_is_sent(command):
    own = ("-H", "Authorization: Bearer hush-caller", "-H", "X-Api-Key: hush-caller", "-H", "X-App: mine")
    for path in ("/keep/x", "/plain", "/reject/x"):
        said = command("explain", "GET", path, *own)
        assert said.code == 0
        assert "hush" not in said.out
        assert "X-App: mine" in said.out
    assert command("explain", "GET", "/caller/x", *own[:2]).code == 1


def test_a_preflight_that_is_answered_here_is_said_to_be(command):
    asks = ("-H", "Access-Control-Request-Method: PUT", "-H")
    said = command("explain", "OPTIONS", "/shared/x", *asks, "Origin: https://app.example")
    assert "it is answered here" in said.out
    assert "OPTIONS /x" not in said.out
    assert command("explain", "OPTIONS", "/shared/x", *asks, "Origin: https://evil.example").code == 1
    said = command("explain", "OPTIONS", "/shared/x", *asks, "Origin: http://127.0.0.1:8080")
    assert "\nOPTIONS /x HTTP/1.1\n" in said.out
