"""Conversations through the token side of a sidecar, against a double of the service that keeps its rules."""

from __future__ import annotations

import asyncio

import pytest
from support.direct_line import BASE

from proxy.errors import CallerUnknown
from proxy.model import Request


async def start(sidecar, bearer="dummy") -> str:
    status, said = await sidecar.call("POST", "/conversations", bearer)
    assert status == 201
    return said["conversationId"]


def used(service, method: str, path: str) -> list[str]:
    """Who made these calls: "secret", "unknown", or the conversation whose token it was."""
    return [call.by for call in service.calls if (call.method, call.path) == (method, path)]


# ---- who gets what ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("bearer", [None, "dummy", "undefined"])
async def test_a_token_for_a_new_conversation_is_had_with_the_secret(sidecar, service, bearer):
    status, said = await sidecar.call("POST", "/tokens/generate", bearer, user={"id": "dl_1"})
    assert (status, used(service, "POST", "/tokens/generate")) == (200, ["secret"])
    assert service.conversations[said["conversationId"]].user == "dl_1"


@pytest.mark.parametrize("bearer", [None, "dummy", "undefined"])
async def test_a_conversation_goes_on_with_its_own_token_whatever_the_app_sends(sidecar, service, bearer):
    conversation = await start(sidecar, bearer)
    assert used(service, "POST", "/conversations") == ["secret"]
    assert await sidecar.say(conversation, "hello", bearer) == 200
    status, said = await sidecar.call("GET", f"/conversations/{conversation}/activities", bearer)
    assert (status, [activity["text"] for activity in said["activities"]]) == (200, ["hello", "echo: hello"])
    assert used(service, "POST", f"/conversations/{conversation}/activities") == [conversation]
    assert used(service, "GET", f"/conversations/{conversation}/activities") == [conversation]


async def test_what_is_known_of_one_conversation_is_known_of_that_alone(sidecar):
    def whose(conversation: str) -> object:
        path = f"{BASE}/conversations/{conversation}/activities"
        tokens = sidecar.picker.pick(Request(b"POST", "http", b"upstream", path.encode()), lambda _: None)
        return sidecar.picker.whose(tokens)

    one, other = await start(sidecar), await start(sidecar)
    assert whose(one) is whose(one)
    assert len({whose(one), whose(other), whose("unknown"), whose("unknown, too")}) == 3


async def test_a_generated_token_starts_its_own_conversation(sidecar):
    _, made = await sidecar.call("POST", "/tokens/generate")
    status, said = await sidecar.call("POST", "/conversations", made["token"])
    assert (status, said["conversationId"]) == (201, made["conversationId"])
    assert (await sidecar.call("POST", "/conversations", made["token"]))[0] == 200  # it is going on already


async def test_the_app_refreshes_any_token_that_it_ever_had_and_the_newest_one_is_sent(sidecar, service):
    _, first = await sidecar.call("POST", "/tokens/generate")
    await sidecar.pass_time(60)
    _, second = await sidecar.call("POST", "/tokens/refresh", first["token"])
    await sidecar.pass_time(60)
    status, third = await sidecar.call("POST", "/tokens/refresh", first["token"])
    assert (status, third["conversationId"]) == (200, first["conversationId"])
    sent = [call.token for call in service.calls if call.path == "/tokens/refresh"]
    assert sent == [first["token"], second["token"]]


async def test_a_token_that_was_never_seen_is_found_by_the_conversation_that_it_claims(sidecar, service):
    _, made = await sidecar.call("POST", "/tokens/generate")
    elsewhere = service.token(made["conversationId"], lifetime=-5)
    status, said = await sidecar.call("POST", "/tokens/refresh", elsewhere)
    assert (status, said["conversationId"]) == (200, made["conversationId"])
    assert [call.token for call in service.calls if call.path == "/tokens/refresh"] == [made["token"]]


async def test_one_conversations_token_never_serves_another(sidecar, service):
    one, other = [await start(sidecar) for _ in range(2)]
    token = service.token(one)
    assert await sidecar.say(other, "hello", token) == 200
    assert await sidecar.say("never-heard-of", "hello", token) == 404
    assert used(service, "POST", f"/conversations/{other}/activities") == [other]
    assert used(service, "POST", "/conversations/never-heard-of/activities") == ["secret"]


async def test_an_answer_about_another_conversation_than_its_token_claims_teaches_nothing(sidecar, service):
    conversation = await start(sidecar)
    request = Request(b"POST", "http", b"upstream", f"{BASE}/tokens/refresh".encode())
    forged = f'{{"conversationId": "{conversation}", "token": "{service.token("other")}", "expires_in": 9999}}'
    sidecar.picker.learn(request, 200, forged.encode())
    assert await sidecar.say(conversation, "hello") == 200
    assert used(service, "POST", f"/conversations/{conversation}/activities") == [conversation]


async def test_answers_that_nobody_asked_to_see_teach_nothing(sidecar):
    request = Request(b"GET", "http", b"upstream", f"{BASE}/conversations/a/activities".encode())
    assert not sidecar.picker.wants_answer(request)
    sidecar.picker.learn(request, 200, b'{"conversationId": "a", "token": "t-1"}')
    assert len(sidecar.book) == 0


async def test_a_gzipped_answer_is_understood(sidecar, service):
    service.compress = True
    _, said = await sidecar.call("POST", "/tokens/generate")
    assert said[:2] == b"\x1f\x8b"  # and passed on as it came
    assert len(sidecar.book) == 1


async def test_ten_conversations_at_once_keep_ten_tokens(sidecar, service):
    conversations = await asyncio.gather(*(start(sidecar) for _ in range(10)))
    assert len(set(conversations)) == 10
    for _ in range(3):
        said = [sidecar.say(conversation, f"to {conversation}") for conversation in conversations]
        assert set(await asyncio.gather(*said)) == {200}
        await sidecar.pass_time(1500)
    for conversation in conversations:
        assert set(used(service, "POST", f"/conversations/{conversation}/activities")) == {conversation}
        texts = {activity["text"] for activity in service.conversations[conversation].activities}
        assert texts == {f"to {conversation}", f"echo: to {conversation}"}


# ---- how it goes on --------------------------------------------------------------------------------------------------


async def test_tokens_are_renewed_without_any_traffic_before_they_expire(sidecar, service):
    """C8."""
    conversation = await start(sidecar)
    await sidecar.pass_time(4 * 3600)
    assert service.count()["POST /tokens/refresh"] == 8  # every 1620 s: nine tenths of a life
    assert service.count()[f"GET /conversations/{conversation}"] == 0
    assert await sidecar.say(conversation, "still here") == 200
    assert used(service, "POST", f"/conversations/{conversation}/activities") == [conversation]


async def test_an_abandoned_conversation_is_forgotten_and_its_renewals_end(sidecars, service):
    sidecar = sidecars(conversation_idle=3600)
    left, kept = [await start(sidecar) for _ in range(2)]
    for _ in range(4):
        await sidecar.pass_time(1200)
        await sidecar.say(kept, "here")
    assert len(sidecar.book) == 1
    before = service.count()["POST /tokens/refresh"]
    await sidecar.pass_time(7200)
    assert len(sidecar.book) == 0
    after = service.count()["POST /tokens/refresh"]
    await sidecar.pass_time(7200)
    assert (before, service.count()["POST /tokens/refresh"]) == (before, after)
    assert await sidecar.say(left, "back again") == 200
    assert used(service, "POST", f"/conversations/{left}/activities") == ["secret"]


async def test_after_a_suspend_the_conversation_goes_on(sidecar, service, clock):
    conversation = await start(sidecar)
    clock.suspend(8 * 3600)
    assert await sidecar.say(conversation, "good morning") == 200
    assert used(service, "GET", f"/conversations/{conversation}") == ["secret"]
    assert used(service, "POST", f"/conversations/{conversation}/activities") == [conversation]
    assert service.count()["POST /tokens/refresh"] == 0


async def test_after_a_suspend_an_app_with_an_old_token_refreshes_it_all_the_same(sidecar, clock):
    _, made = await sidecar.call("POST", "/tokens/generate")
    await sidecar.call("POST", "/conversations", made["token"])
    clock.suspend(8 * 3600)
    status, said = await sidecar.call("POST", "/tokens/refresh", made["token"])
    assert (status, said["conversationId"]) == (200, made["conversationId"])


async def test_many_calls_after_a_suspend_ask_for_one_token(sidecar, service, clock):
    conversation = await start(sidecar)
    clock.suspend(8 * 3600)
    assert set(await asyncio.gather(*(sidecar.say(conversation, str(n)) for n in range(10)))) == {200}
    assert service.count()[f"GET /conversations/{conversation}"] == 1


async def test_a_token_that_the_service_calls_expired_is_replaced_and_the_call_repeated(sidecar, service):
    conversation = await start(sidecar)
    service.expire(conversation)
    assert await sidecar.say(conversation, "hello") == 200
    assert used(service, "POST", f"/conversations/{conversation}/activities") == [conversation] * 2
    assert used(service, "GET", f"/conversations/{conversation}") == ["secret"]
    assert await sidecar.say(conversation, "again") == 200
    assert service.count()[f"GET /conversations/{conversation}"] == 1


async def test_a_burst_of_expired_tokens_costs_one_replacement(sidecar, service):
    conversation = await start(sidecar)
    service.expire(conversation)
    assert set(await asyncio.gather(*(sidecar.say(conversation, str(n)) for n in range(10)))) == {200}
    assert service.count()[f"GET /conversations/{conversation}"] == 1


async def test_a_token_without_a_stated_life_is_good_until_it_is_refused(sidecar, service, clock):
    service.states_lifetime = False
    conversation = await start(sidecar)
    clock.suspend(8 * 3600)
    await sidecar.call("GET", f"/conversations/{conversation}")
    assert await sidecar.say(conversation, "hello") == 200
    assert used(service, "POST", f"/conversations/{conversation}/activities") == [conversation]


async def test_missing_property_passes_and_the_secret_serves_what_it_can(sidecar, service, clock):
    """Enhanced authentication: the secret cannot bring a conversation back, so the app gets the service's own word."""
    service.enhanced = True
    conversation = await start(sidecar)
    clock.suspend(8 * 3600)
    status, said = await sidecar.call("GET", f"/conversations/{conversation}")
    assert (status, said["error"]["code"]) == (400, "MissingProperty")
    assert await sidecar.say(conversation, "hello") == 200
    assert used(service, "POST", f"/conversations/{conversation}/activities") == ["secret"]


async def test_a_token_that_is_refused_and_cannot_be_replaced_leaves_the_call_to_the_secret(sidecar, service):
    service.enhanced = True
    conversation = await start(sidecar)
    service.expire(conversation)
    assert await sidecar.say(conversation, "hello") == 200
    assert used(service, "POST", f"/conversations/{conversation}/activities") == [conversation, "secret"]


async def test_a_token_to_refresh_that_cannot_be_replaced_gets_the_services_own_word(sidecar, service, clock):
    """What a Direct Line client understands, instead of an answer of ours."""
    service.enhanced = True
    _, made = await sidecar.call("POST", "/tokens/generate")
    await sidecar.call("POST", "/conversations", made["token"])
    clock.suspend(8 * 3600)
    status, said = await sidecar.call("POST", "/tokens/refresh", made["token"])
    assert (status, said["error"]["code"]) == (403, "TokenExpired")
    assert [call.by for call in service.calls if call.path == "/tokens/refresh"] == [made["conversationId"]]


async def test_a_call_that_waits_while_its_conversation_is_forgotten_goes_out_with_the_secret(sidecar, service, clock):
    conversation = await start(sidecar)
    clock.suspend(8 * 3600)
    service.gate.clear()
    waiting = asyncio.create_task(sidecar.say(conversation, "hello"))
    async with asyncio.timeout(30):
        while not service.count()[f"GET /conversations/{conversation}"]:
            await asyncio.sleep(0.001)
    sidecar.book.forget(conversation)
    sidecar.book.forget(conversation)
    assert await waiting == 200
    assert used(service, "POST", f"/conversations/{conversation}/activities") == ["secret"]
    service.gate.set()
    calls = len(service.calls)
    await sidecar.pass_time(3600)
    assert len(service.calls) == calls  # nobody renews what nobody knows


async def test_a_forgotten_conversation_is_not_brought_back_by_a_late_refusal(sidecar, service):
    conversation = await start(sidecar)
    tokens = sidecar.picker.pick(
        Request(b"POST", "http", b"upstream", f"{BASE}/conversations/{conversation}/activities".encode()), {}.get
    )
    token = tokens.ready() or await tokens.current()
    sidecar.book.forget(conversation)
    assert (await tokens.renew(token)).access_token == service.secret
    assert (await tokens.current()).access_token == service.secret
    await sidecar.pass_time(3600)
    assert len(service.calls) == 1


async def test_a_conversation_that_is_gone_is_not_asked_for_again_and_again(sidecar, service, clock):
    conversation = await start(sidecar)
    del service.conversations[conversation]
    clock.suspend(8 * 3600)
    assert await sidecar.say(conversation, "hello") == 404
    await sidecar.pass_time(3600)
    assert service.count()[f"GET /conversations/{conversation}"] == 1
    assert len(sidecar.book) == 0


async def test_while_the_service_cannot_answer_a_living_token_goes_on(sidecar, service):
    conversation = await start(sidecar)
    await sidecar.pass_time(1600)
    service.outage = 503
    await sidecar.pass_time(60)
    service.outage = None
    assert await sidecar.say(conversation, "hello") == 200
    assert used(service, "POST", f"/conversations/{conversation}/activities") == [conversation]
    await sidecar.pass_time(120)
    assert await sidecar.say(conversation, "and on") == 200
    assert service.count()[f"GET /conversations/{conversation}"] == 0


async def test_an_outage_beyond_the_end_of_a_token_loses_no_conversation(sidecar, service):
    conversation = await start(sidecar)
    service.outage = 503
    await sidecar.pass_time(2400)
    assert await sidecar.say(conversation, "anybody?") == 503
    service.outage = None
    await sidecar.pass_time(120)
    assert await sidecar.say(conversation, "there you are") == 200
    assert used(service, "POST", f"/conversations/{conversation}/activities")[-1] == conversation


# ---- bounds and restarts ---------------------------------------------------------------------------------------------


async def test_the_least_recently_used_conversation_makes_room(sidecars, service):
    sidecar = sidecars(max_conversations=3)
    conversations = [await start(sidecar) for _ in range(3)]
    await sidecar.say(conversations[0], "here")
    newest = await start(sidecar)
    assert len(sidecar.book) == 3
    for conversation, by in ((conversations[1], "secret"), (conversations[0], conversations[0]), (newest, newest)):
        assert await sidecar.say(conversation, "hello") == 200
        assert used(service, "POST", f"/conversations/{conversation}/activities")[-1] == by


async def test_an_unknown_conversation_is_served_by_the_secret_until_an_answer_teaches_its_token(sidecars, service):
    conversation = await start(sidecars())
    restarted = sidecars()
    assert await restarted.say(conversation, "hello") == 200
    assert (await restarted.call("GET", f"/conversations/{conversation}"))[0] == 200
    assert await restarted.say(conversation, "hello") == 200
    assert used(service, "POST", f"/conversations/{conversation}/activities") == ["secret", conversation]


async def test_after_a_restart_a_living_token_gets_its_successor_by_itself(sidecars, service):
    _, made = await sidecars().call("POST", "/tokens/generate")
    restarted = sidecars()
    status, said = await restarted.call("POST", "/tokens/refresh", made["token"])
    assert (status, said["conversationId"]) == (200, made["conversationId"])
    assert used(service, "POST", "/tokens/refresh") == [made["conversationId"]]
    assert len(restarted.book) == 1


async def test_after_a_restart_a_generated_token_still_starts_its_own_conversation(sidecars):
    _, made = await sidecars().call("POST", "/tokens/generate")
    status, said = await sidecars().call("POST", "/conversations", made["token"])
    assert (status, said["conversationId"]) == (201, made["conversationId"])


async def test_after_a_restart_an_expired_token_finds_its_conversation_again(sidecars, clock):
    _, made = await (first := sidecars()).call("POST", "/tokens/generate")
    await first.call("POST", "/conversations", made["token"])
    clock.suspend(8 * 3600)
    restarted = sidecars()
    status, said = await restarted.call("POST", "/conversations", made["token"])
    assert (status, said["conversationId"]) == (200, made["conversationId"])
    status, said = await sidecars().call("POST", "/tokens/refresh", made["token"])
    assert (status, said["conversationId"]) == (200, made["conversationId"])


async def test_an_expired_token_of_a_conversation_that_is_gone_starts_a_new_one(sidecar, service):
    stale = service.token("gone", lifetime=-5)
    status, said = await sidecar.call("POST", "/conversations", stale)
    assert (status, said["conversationId"] in service.conversations) == (201, True)
    status, said = await sidecar.call("POST", "/tokens/refresh", stale)
    assert (status, said["error"]["code"]) == (403, "TokenExpired")


async def test_a_strangers_token_that_is_refused_is_replaced_or_left_alone(sidecars, service):
    conversation = await start(sidecars())
    token = service.token(conversation)
    service.expire(conversation)
    sidecar = sidecars()
    status, said = await sidecar.call("POST", "/tokens/refresh", token)
    assert (status, said["conversationId"]) == (200, conversation)
    service.enhanced = True
    token = service.token(conversation)
    service.expire(conversation)
    for make, path, answer in ((sidecars, "/tokens/refresh", 403), (sidecars, "/conversations", 201)):
        status, _ = await make().call("POST", path, token)
        assert status == answer


@pytest.mark.parametrize("bearer", ["dummy", "undefined"])
async def test_a_token_to_refresh_that_nobody_knows_is_the_services_to_refuse(sidecar, service, bearer):
    status, said = await sidecar.call("POST", "/tokens/refresh", bearer)
    assert (status, said["error"]["code"]) == (403, "BadArgument")
    assert used(service, "POST", "/tokens/refresh") == ["unknown"]


async def test_nothing_to_refresh_is_an_error_of_the_caller(sidecar):
    with pytest.raises(CallerUnknown):
        await sidecar.call("POST", "/tokens/refresh", None)


# ---- streams ---------------------------------------------------------------------------------------------------------


async def test_a_stream_url_opens_by_its_own_token_and_is_not_touched(sidecar):
    _, said = await sidecar.call("POST", "/conversations")
    conversation = said["conversationId"]
    async with sidecar.app.ws_connect(said["streamUrl"]) as stream:
        await stream.send_str("")  # are you there?
        assert await sidecar.say(conversation, "hello") == 200
        heard = [await stream.receive_json() for _ in range(2)]
    assert [activity["text"] for part in heard for activity in part["activities"]] == ["hello", "echo: hello"]
    assert heard[-1]["watermark"] == "2"


async def test_a_stream_url_that_has_expired_renews_nothing(sidecar, service):
    conversation = await start(sidecar)
    path = f"/conversations/{conversation}/stream?t={service.token(conversation, lifetime=-5)}"
    before = len(service.calls)
    status, said = await sidecar.call("GET", path)
    assert (status, said["error"]["code"]) == (403, "TokenExpired")
    assert len(service.calls) == before + 1


# ---- with the secret for everything ----------------------------------------------------------------------------------


async def test_without_tokens_per_conversation_the_secret_serves_everything_but_a_refresh(sidecars, service):
    sidecar = sidecars(per_conversation=False)
    _, made = await sidecar.call("POST", "/tokens/generate")
    conversation = await start(sidecar, made["token"])
    await sidecar.say(conversation, "hello", made["token"])
    status, said = await sidecar.call("POST", "/tokens/refresh", made["token"])
    assert (status, said["conversationId"]) == (200, made["conversationId"])
    assert [call.by for call in service.calls] == ["secret", "secret", "secret", made["conversationId"]]
    assert len(sidecar.book) == 0
    service.expire(made["conversationId"])
    assert (await sidecar.call("POST", "/tokens/refresh", made["token"]))[0] == 403


async def test_a_changed_secret_is_used_from_then_on(sidecar, service):
    sidecar.secret.value = "wrong"
    assert (await sidecar.call("POST", "/tokens/generate"))[0] == 403
    sidecar.secret.value = service.secret
    assert (await sidecar.call("POST", "/tokens/generate"))[0] == 200
