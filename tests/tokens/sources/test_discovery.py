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
    """RFC 8414 §3.1 and its §5."""
    assert locations("https://example.com") == (f"https://example.com{OAUTH}", f"https://example.com{OPENID}")
    assert locations("https://example.com/issuer1") == (
        f"https://example.com{OAUTH}/issuer1",
        f"https://example.com/issuer1{OPENID}",
    )
    assert locations("https://example.com/a/")[0] == f"https://example.com{OAUTH}/a"


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
