"""Our own two requests to the service."""

from __future__ import annotations

import pytest
from aiohttp import web
from support.clock import FakeClock
from support.direct_line import BASE

from proxy.errors import CredentialRefused, CredentialUnavailable
from proxy.model import Token
from proxy.tokens.direct_line.conversation_source import ConversationSource, Service
from proxy.tokens.http_client import HttpClient
from proxy.tokens.token_response import NOTHING, TokenPair


class Answering:
    """A service that says what a test wants, and notes what it was asked."""

    url: str

    def __init__(self) -> None:
        self.answers: list[web.Response] = []
        self.asked: list[tuple[str, str, str]] = []
        self.lost: list[str] = []
        self.app = web.Application()
        self.app.router.add_route("*", "/{rest:.*}", self._answer)

    async def _answer(self, request: web.Request) -> web.Response:
        self.asked.append((request.method, request.raw_path.removeprefix(BASE), request.headers["Authorization"]))
        return self.answers.pop(0)

    def will_say(self, status: int = 200, **said: object) -> None:
        self.answers.append(web.json_response(said, status=status))


class Secret:
    def ready(self) -> Token:
        return Token(access_token="secret")

    async def current(self) -> Token:
        return self.ready()

    def predecessor(self, young: Token) -> Token | None:  # noqa: ARG002 - the interface
        return None

    async def renew(self, refused: Token) -> Token:
        raise AssertionError(f"the secret of generation {refused.generation} was not to be renewed")


@pytest.fixture
def clock():
    return FakeClock()


@pytest.fixture
async def answering(aiohttp_server):
    answering = Answering()
    answering.url = str((await aiohttp_server(answering.app)).make_url(BASE))
    return answering


@pytest.fixture
async def source(answering, clock):
    client = HttpClient()
    service = Service(client, clock, f"{answering.url}/", Secret(), assumed=77)
    yield ConversationSource(service, "a|b/c", clock, answering.lost.append)
    await client.close()


def living(clock: FakeClock, left: float = 60) -> Token:
    return Token(access_token="t-0", expires_wall=clock.wall() + left, expires_elapsed=clock.elapsed() + left)


REFRESH = ("POST", "/tokens/refresh", "Bearer t-0")
RECONNECT = ("GET", "/conversations/a%7Cb%2Fc", "Bearer secret")


async def test_a_living_token_is_refreshed_with_itself(source, answering, clock):
    answering.will_say(conversationId="a|b/c", token="t-1", expires_in=1800)
    token = (await source.fetch(TokenPair(living(clock)))).token
    assert (token.access_token, token.lifetime, answering.asked) == ("t-1", 1800, [REFRESH])


@pytest.mark.parametrize("end", [(0, 60), (60, 0)])
async def test_either_clock_may_say_that_a_token_has_ended(source, answering, clock, end):
    answering.will_say(conversationId="a|b/c", token="t-1", expires_in=1800)
    wall, elapsed = end
    token = Token(access_token="t-0", expires_wall=clock.wall() + wall, expires_elapsed=clock.elapsed() + elapsed)
    await source.fetch(TokenPair(token))
    assert answering.asked == [RECONNECT]


async def test_a_token_without_an_end_is_refreshed(source, answering):
    answering.will_say(conversationId="a|b/c", token="t-1", expires_in=1800)
    await source.fetch(TokenPair(Token(access_token="t-0")))
    assert answering.asked == [REFRESH]


@pytest.mark.parametrize("name", [".", ".."])
async def test_a_name_that_would_lead_elsewhere_is_no_conversations(answering, clock, name):
    client = HttpClient()
    service = Service(client, clock, answering.url, Secret(), assumed=77)
    with pytest.raises(CredentialRefused):
        await service.reconnect(name)
    await client.close()
    assert answering.asked == []


@pytest.mark.parametrize("previous", [NOTHING, TokenPair(None, "r")])
async def test_without_a_token_the_secret_asks_for_the_conversation(source, answering, previous):
    answering.will_say(conversationId="a|b/c", token="t-1")
    token = (await source.fetch(previous)).token
    assert (token.lifetime, answering.asked) == (77, [RECONNECT])


async def test_a_refused_refresh_asks_for_the_conversation_in_the_same_breath(source, answering, clock):
    answering.will_say(403, error={"code": "TokenExpired", "message": "s3cret"})
    answering.will_say(conversationId="a|b/c", token="t-1")
    assert (await source.fetch(TokenPair(living(clock)))).token.access_token == "t-1"
    assert answering.asked == [REFRESH, RECONNECT]


async def test_a_service_in_trouble_is_not_asked_twice(source, answering, clock):
    answering.will_say(503, error={"code": "ServiceError"})
    with pytest.raises(CredentialUnavailable):
        await source.fetch(TokenPair(living(clock)))
    assert (answering.asked, answering.lost) == ([REFRESH], [])


@pytest.mark.parametrize(("status", "code"), [(400, "MissingProperty"), (403, "BadArgument"), (404, "BadArgument")])
async def test_a_conversation_that_the_secret_cannot_have_is_lost(source, answering, status, code):
    answering.will_say(status, error={"code": code, "message": "s3cret"})
    with pytest.raises(CredentialRefused) as caught:
        await source.fetch(NOTHING)
    assert answering.lost == ["a|b/c"]
    assert "s3cret" not in str(caught.value)


async def test_a_conversation_with_a_living_token_is_not_lost_because_no_other_can_be_had(source, answering, clock):
    answering.will_say(403, error={"code": "BadArgument"})
    answering.will_say(400, error={"code": "MissingProperty"})
    with pytest.raises(CredentialRefused):
        await source.fetch(TokenPair(living(clock)))
    assert answering.lost == []


async def test_an_answer_about_another_conversation_is_refused(source, answering, clock):
    for _ in range(2):
        answering.will_say(conversationId="other", token="t-1", expires_in=1800)
    with pytest.raises(CredentialRefused, match="another conversation"):
        await source.fetch(TokenPair(living(clock)))


async def test_an_answer_without_a_token_is_a_failure_for_now(source, answering, clock):
    answering.will_say(conversationId="a|b/c")
    with pytest.raises(CredentialUnavailable):
        await source.fetch(TokenPair(living(clock)))
