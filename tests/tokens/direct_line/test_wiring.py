from __future__ import annotations

from support.clock import FakeClock

from proxy.auth.challenge import refused
from proxy.config.schema import DirectLine, Duration, Secret
from proxy.model import Answer, Request, Token
from proxy.tokens.direct_line.wiring import REFRESH_ON, assemble
from proxy.tokens.http_client import HttpClient
from proxy.tokens.refresh_scheduler import RefreshScheduler
from proxy.tokens.token_response import TokenResponse


class Fixed:
    def ready(self) -> Token:
        return Token(access_token="secret")

    async def current(self) -> Token:
        return self.ready()

    def predecessor(self, young: Token) -> Token | None:  # noqa: ARG002 - the interface
        return None

    async def renew(self, refused: Token) -> Token:
        raise AssertionError(f"the secret of generation {refused.generation} was not to be renewed")


class NoLife(Fixed):
    """What becomes of a token is not looked at here."""

    def held(self) -> None:
        return None

    async def adopt(self, came: TokenResponse) -> Token:
        return came.token

    async def stop(self) -> None:
        pass


def answer(status: int, body: bytes) -> Answer:
    return Answer(status, [], body)


async def test_a_credential_is_put_together_as_configured():
    clock, client = FakeClock(), HttpClient()
    scheduler = RefreshScheduler(clock)
    config = DirectLine(
        secret=Secret(env="X"),
        domain="https://bot.example/.bot/v3/directline",
        max_conversations=2,
        conversation_idle=Duration(60),
    )
    picker = assemble(config, Fixed(), lambda _source: NoLife(), client=client, clock=clock, scheduler=scheduler)
    request = Request(b"POST", "https", b"bot.example", b"/.bot/v3/directline/tokens/generate")
    assert picker.pick(request, lambda _: None).ready().access_token == "secret"
    assert picker.wants_answer(request)
    for name in (b"a", b"b", b"c"):
        picker.learn(request, 200, b'{"conversationId": "%b", "token": "t-%b", "expires_in": 1800}' % (name, name))
    assert [picker.book.find(name) is not None for name in "abc"] == [False, True, True]
    await clock.advance(60)
    picker.book.renew_if_due()
    assert len(picker.book) == 0
    await picker.book.close()
    await client.close()


def test_an_expired_token_is_a_refused_one_and_a_missing_property_is_not():
    assert refused(answer(403, b'{"error": {"code": "TokenExpired"}}'), REFRESH_ON)
    assert not refused(answer(403, b'{"error": {"code": "BadArgument"}}'), REFRESH_ON)
    assert not refused(answer(400, b'{"error": {"code": "MissingProperty"}}'), REFRESH_ON)
