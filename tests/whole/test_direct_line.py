"""A chat app in front of the whole program, and the Direct Line service behind it."""

from __future__ import annotations

import asyncio
import json
import zlib

import pytest
from support.direct_line import BASE, DirectLineService
from support.process import Program

_GZIP_OR_DEFLATE = 47
"""zlib's name for: whichever it is."""


@pytest.fixture
async def service(aiohttp_server):
    service = DirectLineService()
    server = await aiohttp_server(service.app)
    service.url = str(server.make_url(BASE))
    return service


@pytest.fixture
async def program(service, tmp_path):
    config = {
        "routes": [{"match": "/chat", "upstream": service.url.removesuffix(BASE), "credential": "chat"}],
        "credentials": {"chat": {"type": "direct_line", "secret": {"value": service.secret}, "domain": service.url}},
    }
    async with Program(config, tmp_path) as program:
        yield program


@pytest.fixture
def chat(program, fetch):
    async def call(method: str, path: str, bearer: str = "dummy", **said: object):
        headers = {"Authorization": f"Bearer {bearer}", "Accept-Encoding": "gzip, deflate, br"}
        how = {"json": said} if said else {}
        status, _, body = await fetch(f"{program.url}/chat{BASE}{path}", method, headers=headers, **how)
        return status, json.loads(body if body.startswith(b"{") else zlib.decompress(body, _GZIP_OR_DEFLATE))

    return call


def used(service: DirectLineService, path: str) -> list[str]:
    return [call.by for call in service.calls if call.path == path]


async def test_ten_conversations_at_once_keep_ten_tokens(service, chat):
    async def converse() -> str:
        status, made = await chat("POST", "/tokens/generate", "undefined", user={"id": "dl_1"})
        assert status == 200
        status, started = await chat("POST", "/conversations", made["token"])
        assert (status, started["conversationId"]) == (201, made["conversationId"])
        for number in range(3):
            status, _ = await chat("POST", f"/conversations/{made['conversationId']}/activities", text=f"{number}")
            assert status == 200
        return made["conversationId"]

    conversations = await asyncio.gather(*(converse() for _ in range(10)))
    assert len(set(conversations)) == 10
    for conversation in conversations:
        assert used(service, f"/conversations/{conversation}/activities") == [conversation] * 3


async def test_a_token_that_the_service_calls_expired_costs_the_app_nothing(service, chat):
    _, started = await chat("POST", "/conversations")
    conversation = started["conversationId"]
    service.expire(conversation)
    status, _ = await chat("POST", f"/conversations/{conversation}/activities", text="hello")
    assert status == 200
    assert used(service, f"/conversations/{conversation}") == ["secret"]
    assert used(service, f"/conversations/{conversation}/activities") == [conversation] * 2


async def test_short_tokens_are_renewed_while_the_app_is_silent(service, chat):
    service.lifetime = 4.0
    _, started = await chat("POST", "/conversations")
    async with asyncio.timeout(30):
        while service.count()["POST /tokens/refresh"] < 3:
            await asyncio.sleep(0.05)
    conversation = started["conversationId"]
    status, _ = await chat("POST", f"/conversations/{conversation}/activities", text="hello")
    assert (status, used(service, f"/conversations/{conversation}/activities")) == (200, [conversation])
    assert service.count()[f"GET /conversations/{conversation}"] == 0


async def test_missing_property_reaches_the_app(service, chat):
    service.enhanced = True
    _, started = await chat("POST", "/conversations")
    service.expire(started["conversationId"])
    status, said = await chat("GET", f"/conversations/{started['conversationId']}")
    assert (status, said["error"]["code"]) == (400, "MissingProperty")


async def test_a_gzipped_answer_teaches_as_well(service, chat):
    service.compress = True
    _, started = await chat("POST", "/conversations")
    conversation = started["conversationId"]
    await chat("POST", f"/conversations/{conversation}/activities", text="hello")
    assert used(service, f"/conversations/{conversation}/activities") == [conversation]


async def test_a_stream_is_a_tunnel_with_its_own_token(program, http, chat):
    _, started = await chat("POST", "/conversations")
    conversation = started["conversationId"]
    stream = started["streamUrl"].partition(BASE)[2]
    async with http.ws_connect(f"{program.url}/chat{BASE}{stream}") as socket:
        await chat("POST", f"/conversations/{conversation}/activities", text="hello")
        heard = [(await socket.receive_json(timeout=20))["activities"][0]["text"] for _ in range(2)]
    assert heard == ["hello", "echo: hello"]
