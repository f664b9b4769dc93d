from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager

import msgspec
import pytest
from aiohttp import web
from support.clock import FakeClock, settle
from support.issuer import scripted_issuer

from proxy.errors import CredentialRefused, CredentialUnavailable
from proxy.tokens.http_client import HttpClient, Received
from proxy.tokens.sources.discovery import Discovery, locations

OAUTH = "/.well-known/oauth-authorization-server"
OPENID = "/.well-known/openid-configuration"


class Site:
    """Documents by path, and how often each was asked for."""

    def __init__(self, url: str, client: HttpClient) -> None:
        self.url = url
        self.clock = FakeClock()
        self.discovery = Discovery(client, self.clock)
        self.documents: dict[str, object] = {}
        self.asked: list[str] = []

    async def handler(self, request: web.Request) -> web.StreamResponse:
        self.asked.append(request.path)
        document = self.documents.get(request.path, (404, "no"))
        if document == "reset":
            assert request.transport is not None
            request.transport.abort()
        if isinstance(document, tuple):
            fields = {"Location": f"{request.path}/x", "Retry-After": "17"}
            return web.Response(status=document[0], text=document[1], headers=fields)
        return web.json_response(document)


@asynccontextmanager
async def site():
    client = HttpClient()
    served: list[Site] = []

    async def handler(request: web.Request) -> web.StreamResponse:
        return await served[0].handler(request)

    async with scripted_issuer([web.get("/{rest:.*}", handler)]) as issuer:
        served.append(Site(issuer.url, client))
        try:
            yield served[0]
        finally:
            await client.close()


def document(issuer: str, /, **more) -> dict:
    return {"issuer": issuer, "token_endpoint": f"{issuer}/t"} | more


def test_the_well_known_part_goes_before_the_path_or_behind_it():
    """RFC 8414 §3.1 and its §5, OpenID Connect Discovery §4.1."""
    assert locations("https://example.com") == (f"https://example.com{OAUTH}", f"https://example.com{OPENID}")
    assert locations("https://example.com/") == locations("https://example.com")
    assert locations("https://example.com/issuer1") == (
        f"https://example.com{OAUTH}/issuer1",
        f"https://example.com/issuer1{OPENID}",
        f"https://example.com{OPENID}/issuer1",
        f"https://example.com/issuer1{OAUTH}",
    )
    assert locations("https://example.com/a/")[0] == f"https://example.com{OAUTH}/a"


PLACES = [f"{OAUTH}/t/1", f"/t/1{OPENID}", f"{OPENID}/t/1", f"/t/1{OAUTH}"]
NOT_OURS = {
    "not there": (404, "no"),
    "gone": (410, ""),
    "a page": (200, "<html>Welcome"),
    "nothing": (200, ""),
    "a list": (200, "[]"),
    "cut short": (200, '{"issuer": "'),
    "another place": (302, ""),
    "secret": (401, ""),
    "broken": (500, "oops"),
    "busy": (429, ""),
    "another tenant": {"issuer": "https://other.example", "token_endpoint": "https://other.example/t"},
    "with a slash": {"issuer": "{}/", "token_endpoint": "https://other.example/t"},
    "nobody": {"token_endpoint": "https://other.example/t"},
    "a number": {"issuer": 17},
    "cut off": "reset",
}


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("others", list(NOT_OURS))
async def test_what_is_not_ours_at_one_place_says_nothing_of_the_others(place, others):
    async with site() as it:
        issuer = f"{it.url}/t/1"
        other = NOT_OURS[others]
        if isinstance(other, dict):
            other = {name: str(value).format(issuer) for name, value in other.items()}
        it.documents = {path: other for path in PLACES if path != place} | {place: document(issuer)}
        assert await it.discovery.endpoint(issuer, "token_endpoint") == f"{issuer}/t"


@pytest.mark.parametrize(
    ("found", "error", "told"),
    [
        ([(404, ""), (404, "")], CredentialUnavailable, "answered 404"),
        ([(404, ""), (403, "")], CredentialUnavailable, "answered 403"),
        ([(200, "<html>"), (403, "")], CredentialUnavailable, "answered 200 .* not with a document"),
        ([(404, ""), (200, "<html>")], CredentialUnavailable, "answered 200 .* not with a document"),
        ([(503, ""), (200, "<html>")], CredentialUnavailable, "answered 503"),
        ([(302, ""), (500, "")], CredentialUnavailable, "answered 500"),
        (["reset", (404, "")], CredentialUnavailable, "ended the connection"),
        ([(500, ""), "reset"], CredentialUnavailable, "answered 500"),
        ([{"issuer": "x"}, (404, "")], CredentialRefused, "another issuer"),
        ([(404, ""), {"issuer": "x"}], CredentialRefused, "another issuer"),
        ([(200, "<html>"), {"issuer": "x"}], CredentialRefused, "another issuer"),
        ([(503, ""), {"issuer": "x"}], CredentialUnavailable, "another issuer.*answered 503"),
        ([{"issuer": "x"}, "reset"], CredentialUnavailable, "another issuer.*ended the connection"),
    ],
)
async def test_the_most_telling_error_is_reported(found, error, told):
    async with site() as it:
        it.documents = dict(zip((OAUTH, OPENID), found, strict=True))
        with pytest.raises(error, match=told) as caught:
            await it.discovery.endpoint(it.url, "token_endpoint")
        assert type(caught.value) is error
        assert list(dict.fromkeys(it.asked)) == [OAUTH, OPENID]


async def test_a_document_of_ours_that_lacks_the_endpoint_is_completed_by_the_other():
    async with site() as it:
        it.documents = {OAUTH: {"issuer": it.url, "x": 1}, OPENID: document(it.url)}
        assert await it.discovery.endpoint(it.url, "token_endpoint") == f"{it.url}/t"
        with pytest.raises(CredentialRefused, match="no device_authorization_endpoint"):
            await it.discovery.endpoint(it.url, "device_authorization_endpoint")


async def test_a_place_that_does_not_answer_is_looked_at_last_the_next_time():
    """There may be no time for the others: whoever waits for a token has a deadline."""
    async with site() as it:
        it.documents[OAUTH] = "reset"
        with pytest.raises(CredentialUnavailable):
            await it.discovery.endpoint(it.url, "token_endpoint")
        it.asked.clear()
        it.documents[OPENID] = document(it.url)
        await it.discovery.endpoint(it.url, "token_endpoint")
        assert it.asked == [OPENID]


@pytest.mark.parametrize(
    "url",
    [
        "http://as.example/token",
        "http://169.254.169.254/token",
        "https://169.254.169.254/token",
        "https://[fe80::1]/token",
        "https://[::ffff:169.254.169.254]/token",
        "https://100.100.100.200/token",
        "https://0.0.0.0/token",
        "https://0xa9fea9fe/token",
        "https://0xa9.0xfe.0xa9.0xfe/token",
        "https://0251.0376.0251.0376/token",
        "https://2852039166/token",
        "https://user:s3cret@as.example/token",
        "https://as.example@evil.example/token",
        "https://as.example/token#s3cret",
        "https://as.example/to ken",
        "https://as.example/t\u00f6ken",
        "https://as.example:0/token",
        "https://as.example:99999/token",
        "https:///token",
        "https:token",
        "//as.example/token",
        "/token",
        "ftp://as.example/token",
        "file:///etc/passwd",
        "unix:/run/s3cret.sock",
        "s3cret",
    ],
)
@pytest.mark.parametrize("mtls", [True, False])
async def test_an_endpoint_is_held_to_the_rules_of_a_configured_one(url, mtls):
    async with site() as it:
        endpoints = {"mtls_endpoint_aliases": {"token_endpoint": url}} if mtls else {"token_endpoint": url}
        it.documents[OAUTH] = document(it.url, **endpoints)
        with pytest.raises(CredentialRefused, match="token_endpoint that is not used") as caught:
            await it.discovery.endpoint(it.url, "token_endpoint", mtls=mtls)
        assert "s3cret" not in str(caught.value)


@pytest.mark.parametrize(
    "url",
    [
        "https://as.example/token",
        "https://AS.example:8443/token?tenant=1",
        "HTTPS://as.example/token",
        "https://10.0.0.7/token",
        "https://[2001:db8::1]/token",
        "http://localhost:8080/token",
        "http://[::1]/token",
    ],
)
async def test_an_endpoint_within_the_rules_is_used(url):
    async with site() as it:
        it.documents[OAUTH] = document(it.url, token_endpoint=url)
        assert await it.discovery.endpoint(it.url, "token_endpoint") == url


@pytest.mark.parametrize("places", [(OAUTH, OPENID), (OPENID, OAUTH)])
async def test_an_endpoint_that_is_not_used_does_not_end_the_search(places):
    bad, good = places
    async with site() as it:
        it.documents[bad] = document(it.url, token_endpoint="http://as.example/token", x_endpoint=f"{it.url}/x")
        for _ in range(2):
            with pytest.raises(CredentialRefused, match="token_endpoint that is not used"):
                await it.discovery.endpoint(it.url, "token_endpoint")
        it.documents[good] = document(it.url)
        assert await it.discovery.endpoint(it.url, "token_endpoint") == f"{it.url}/t", "mended, and seen at once"
        assert await it.discovery.endpoint(it.url, "x_endpoint") == f"{it.url}/x"


@pytest.mark.parametrize("path", [OAUTH, OPENID])
async def test_either_location_will_do(path):
    async with site() as it:
        it.documents[path] = document(it.url)
        assert await it.discovery.endpoint(it.url, "token_endpoint") == f"{it.url}/t"


@pytest.mark.parametrize("broken", [(404, "no"), (200, "<html>"), (302, ""), (500, "oops"), (200, "[]")])
async def test_what_is_no_document_at_the_first_location_is_looked_for_at_the_second(broken):
    async with site() as it:
        it.documents = {OAUTH: broken, OPENID: document(it.url)}
        assert await it.discovery.endpoint(it.url, "token_endpoint") == f"{it.url}/t"


async def test_a_document_is_kept_for_an_hour():
    async with site() as it:
        it.documents[OAUTH] = document(it.url)
        for _ in range(3):
            await it.discovery.endpoint(it.url, "token_endpoint")
        assert it.asked == [OAUTH]
        it.clock.suspend(3601)
        await it.discovery.endpoint(it.url, "token_endpoint")
        assert it.asked == [OAUTH, OAUTH]


async def test_concurrent_first_requests_ask_once():
    async with site() as it:
        it.documents[OAUTH] = document(it.url)
        await asyncio.gather(*(it.discovery.endpoint(it.url, "token_endpoint") for _ in range(10)))
        assert it.asked == [OAUTH]


async def test_an_issuer_that_does_not_answer_holds_up_no_other():
    class Slow(HttpClient):
        async def send(self, method: str, url: str, **_) -> Received:  # noqa: ARG002 - the interface
            if "slow" in url:
                await asyncio.Event().wait()
            return Received(200, {}, b'{"issuer":"https://good.example","token_endpoint":"https://good.example/t"}')

    discovery = Discovery(Slow(), FakeClock())
    waiting = asyncio.create_task(discovery.endpoint("https://slow.example", "token_endpoint"))
    await settle()
    async with asyncio.timeout(5):
        assert await discovery.endpoint("https://good.example", "token_endpoint") == "https://good.example/t"
    waiting.cancel()
    await asyncio.wait((waiting,))


async def test_an_older_copy_serves_while_there_is_no_newer_one(caplog):
    async with site() as it:
        it.documents[OAUTH] = document(it.url)
        await it.discovery.endpoint(it.url, "token_endpoint")
        it.documents.clear()
        it.clock.suspend(3601)
        assert await it.discovery.endpoint(it.url, "token_endpoint") == f"{it.url}/t"
        assert f"the metadata of {it.url} cannot be had again" in caplog.text


async def test_the_log_names_no_issuer_with_a_callers_value_in_it(caplog):
    async with site() as it:
        it.documents[OAUTH] = document(it.url)
        for _ in range(2):
            await it.discovery.endpoint(it.url, "token_endpoint", configured="https://{per}.example")
            it.documents.clear()
            it.clock.suspend(3601)
        assert "the metadata of https://{per}.example cannot be had again" in caplog.text
        assert it.url not in caplog.text


async def test_of_more_than_a_thousand_issuers_the_oldest_documents_are_forgotten():
    """Callers name them, where an issuer's URL has `{per}` in it."""

    class Down(HttpClient):
        async def send(self, method: str, url: str, **_) -> Received:  # noqa: ARG002 - the interface
            issuer = url.removesuffix(OAUTH)
            return Received(503 if down else 200, {}, msgspec.json.encode(document(issuer)))

    clock, down = FakeClock(), False
    discovery = Discovery(Down(), clock)
    for number in range(1001):
        await discovery.endpoint(f"https://{number}.example", "token_endpoint")
    clock.suspend(3601)
    down = True
    assert await discovery.endpoint("https://1.example", "token_endpoint")
    with pytest.raises(CredentialUnavailable):
        await discovery.endpoint("https://0.example", "token_endpoint")


async def test_a_document_of_another_issuer_is_refused():
    """RFC 8414 §3.3: identical, to the last slash."""
    async with site() as it:
        for said in ("https://evil.example", f"{it.url}/", None):
            it.documents[OAUTH] = document(it.url, issuer=said)
            with pytest.raises(CredentialRefused, match="another issuer"):
                await it.discovery.endpoint(it.url, "token_endpoint")


async def test_no_document_anywhere_is_a_passing_failure():
    async with site() as it:
        with pytest.raises(CredentialUnavailable, match="404"):
            await it.discovery.endpoint(it.url, "token_endpoint")


async def test_an_issuer_that_asks_for_time_gets_it():
    async with site() as it:
        it.documents[OAUTH] = (503, "busy")
        with pytest.raises(CredentialUnavailable) as caught:
            await it.discovery.endpoint(it.url, "token_endpoint")
    assert caught.value.requested == 17


async def test_an_issuer_that_is_down_is_a_passing_failure():
    async with site() as it:
        with pytest.raises(CredentialUnavailable, match="issuer cannot be reached"):
            await it.discovery.endpoint("http://127.0.0.1:1", "token_endpoint")


@pytest.mark.parametrize("value", [None, 17, ["x"]])
async def test_a_document_without_the_endpoint_is_refused(value):
    async with site() as it:
        it.documents[OAUTH] = document(it.url, token_endpoint=value)
        with pytest.raises(CredentialRefused, match="no token_endpoint"):
            await it.discovery.endpoint(it.url, "token_endpoint")


async def test_an_issuer_with_tls_has_no_endpoints_without():
    class Canned(HttpClient):
        async def send(self, *_, **__):
            body = b'{"issuer":"https://as.example","token_endpoint":"http://as.example/token"}'
            return Received(200, {}, body)

    with pytest.raises(CredentialRefused, match="without TLS"):
        await Discovery(Canned(), FakeClock()).endpoint("https://as.example", "token_endpoint")


async def test_clients_with_a_certificate_get_the_alias_where_there_is_one():
    """RFC 8705 §5."""
    async with site() as it:
        it.documents[OAUTH] = document(it.url, mtls_endpoint_aliases={"token_endpoint": f"{it.url}/mtls"})
        assert await it.discovery.endpoint(it.url, "token_endpoint", mtls=True) == f"{it.url}/mtls"
        assert await it.discovery.endpoint(it.url, "token_endpoint") == f"{it.url}/t"


@pytest.mark.parametrize("aliases", [None, {}, [], "x", {"token_endpoint": None}])
async def test_without_an_alias_the_plain_endpoint_serves(aliases):
    async with site() as it:
        it.documents[OAUTH] = document(it.url, mtls_endpoint_aliases=aliases)
        assert await it.discovery.endpoint(it.url, "token_endpoint", mtls=True) == f"{it.url}/t"
