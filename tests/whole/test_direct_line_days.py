"""Conversations that last: silent for most of a day, through a suspended machine, and until they are abandoned."""

from __future__ import annotations

import asyncio
import json

import pytest
import yaml
from support.clock import FakeClock
from support.direct_line import BASE, DirectLineService
from support.process import free_port

from proxy.app import App
from proxy.config.load import load

MINUTE, HOUR = 60.0, 3600.0


@pytest.fixture
def clock():
    return FakeClock()


@pytest.fixture
async def service(aiohttp_server, clock):
    service = DirectLineService(now=clock.wall)
    server = await aiohttp_server(service.app)
    service.url = str(server.make_url(BASE))
    return service


@pytest.fixture
async def chat(service, clock, tmp_path, fetch):
    """One request of the app through the program: status and answer. The app never has a token of its own."""
    port = free_port()
    config = {
        "listen": f"127.0.0.1:{port}",
        "admin": {"listen": "off"},
        "routes": [{"match": "/chat", "upstream": service.url.removesuffix(BASE), "credential": "chat"}],
        "credentials": {"chat": {"type": "direct_line", "secret": {"value": service.secret}, "domain": service.url}},
    }
    file = tmp_path / "config.yaml"
    file.write_text(yaml.safe_dump(config))
    app = App(file, load(file, {}), {}, clock)
    await app.start()
    running = asyncio.create_task(app.run())

    async def call(method, path, **said):
        headers = {"Authorization": "Bearer dummy"}
        how = {"json": said} if said else {}
        url = f"http://127.0.0.1:{port}/chat{BASE}{path}"
        status, _, body = await fetch(url, method, headers=headers, **how)
        return status, json.loads(body)

    yield call
    app.quit()
    await running


@pytest.fixture
def pass_time(clock):
    """Time in steps, each of which ends when every renewal that it began has been answered."""

    async def do(seconds, step=10 * MINUTE):
        for _ in range(int(seconds / step)):
            await clock.advance(step)
            async with asyncio.timeout(30):
                while any(task.get_name().startswith("renew ") for task in asyncio.all_tasks()):
                    await asyncio.sleep(0)

    return do


async def begun(chat, count):
    """So many conversations that have just been started, at once."""
    answers = await asyncio.gather(*(chat("POST", "/conversations") for _ in range(count)))
    assert {status for status, _ in answers} == {201}
    return [said["conversationId"] for _, said in answers]


@pytest.fixture
async def conversations(chat):
    """Ten."""
    return await begun(chat, 10)


async def say(chat, conversation, text):
    status, _ = await chat("POST", f"/conversations/{conversation}/activities", type="message", text=text)
    return status


def by_whom(service, path):
    return [call.by for call in service.calls if call.path == path]


def refreshed(service):
    """How often each conversation's token was refreshed with itself."""
    by = by_whom(service, "/tokens/refresh")
    return {conversation: by.count(conversation) for conversation in by}


async def test_ten_conversations_keep_their_ten_tokens_through_a_silent_day(service, chat, conversations, pass_time):
    """A token lives half an hour and is renewed after nine tenths of it."""
    await pass_time(23 * HOUR)
    assert set(refreshed(service)) == set(conversations)
    assert all(46 <= times <= 60 for times in refreshed(service).values())
    assert await asyncio.gather(*(say(chat, one, "still here") for one in conversations)) == [200] * 10
    for conversation in conversations:
        assert by_whom(service, f"/conversations/{conversation}/activities") == [conversation]
        assert by_whom(service, f"/conversations/{conversation}") == []
        assert service.conversations[conversation].activities[0]["text"] == "still here"


async def test_a_conversation_is_kept_for_a_day_after_its_last_use_and_no_longer(service, chat, pass_time):
    used, *silent = await begun(chat, 3)
    await pass_time(20 * HOUR)
    assert await say(chat, used, "one more thing") == 200
    await pass_time(5 * HOUR)
    before = refreshed(service)
    await pass_time(10 * HOUR)
    after = refreshed(service)
    assert [after[one] - before[one] for one in silent] == [0, 0]
    assert after[used] - before[used] >= 20
    await pass_time(10 * HOUR)
    before = refreshed(service)
    await pass_time(2 * HOUR)
    assert refreshed(service) == before
    assert await say(chat, used, "hello?") == 200
    assert by_whom(service, f"/conversations/{used}/activities") == [used, "secret"]


async def test_conversations_go_on_after_the_machine_has_slept(service, chat, conversations, clock):
    """Their tokens expired meanwhile, and an expired token cannot be refreshed: the secret asks for each again."""
    for conversation in conversations:
        await say(chat, conversation, "before")
    clock.suspend(8 * HOUR)
    assert await asyncio.gather(*(say(chat, one, "after") for one in conversations)) == [200] * 10
    for conversation in conversations:
        assert by_whom(service, f"/conversations/{conversation}") == ["secret"]
        assert by_whom(service, f"/conversations/{conversation}/activities") == [conversation] * 2
        said = [activity["text"] for activity in service.conversations[conversation].activities]
        assert said == ["before", "echo: before", "after", "echo: after"]
    assert len(service.conversations) == 10
    assert by_whom(service, "/tokens/refresh") == []


async def test_an_outage_of_the_service_ends_no_conversation(service, chat, conversations, pass_time):
    """Shorter than what is left of the tokens when their renewal is due: nothing is lost, nobody notices."""
    await pass_time(20 * MINUTE)
    service.outage = 503
    await pass_time(8 * MINUTE, MINUTE)
    service.outage = None
    await pass_time(HOUR, MINUTE)
    assert await asyncio.gather(*(say(chat, one, "hello") for one in conversations)) == [200] * 10
    for conversation in conversations:
        assert by_whom(service, f"/conversations/{conversation}/activities") == [conversation]
        assert by_whom(service, f"/conversations/{conversation}") == []
