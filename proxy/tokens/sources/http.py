"""Tokens from any HTTP API: the request as configured, and `response` for where the answer keeps things.

`obtain` starts from nothing. `refresh`, where there is one, goes on from the previous token; if that is refused, or
there is nothing to go on from, a new one is obtained in the same breath. What an answer means is read as everywhere
else.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import urlencode

import msgspec
from msgspec import Struct

from proxy.auth.header import checked
from proxy.clock import Clock
from proxy.config.placeholders import places
from proxy.config.schema import HttpAnswer, HttpCall, HttpRefresh, Secret
from proxy.errors import CredentialError, CredentialRefused, CredentialUnavailable
from proxy.tokens import reply
from proxy.tokens.answer_reader import AnswerReader
from proxy.tokens.http_client import HttpClient
from proxy.tokens.issuer_errors import NoGrant, ReplyLost, ReplyUnreadable
from proxy.tokens.lifetime import Asked, LastStated, ended
from proxy.tokens.parts import Parts, Read, unfilled
from proxy.tokens.template import MissingPartError, UnfitPartError, fill, fill_text, fill_url
from proxy.tokens.token_request import login
from proxy.tokens.token_response import NOTHING, TokenPair, TokenResponse

_NOBODY = "There is no token to go on from, and no `obtain`: configure initial_token, or push one"


class Call(Struct, frozen=True):
    """A request template. Header and form values are templates or secrets (sent as they are)."""

    method: str
    url: str
    headers: tuple[tuple[str, str | Read], ...] = ()
    json: Any = None
    form: tuple[tuple[str, str | Read], ...] | None = None
    body: str | None = None
    basic: tuple[str | Read, Read | None, str] | None = None

    def __repr__(self) -> str:
        """Templates hold secrets at times."""
        return f"Call({self.method})"

    @property
    def places(self) -> set[str]:
        """The parts that the templates ask for."""
        return places(self.templates)

    @property
    def templates(self) -> list[Any]:
        """All that may hold placeholders."""
        values = [value for _, value in (*self.headers, *(self.form or ()))]
        return [self.url, self.json, self.body, *values, *(self.basic or ())]


def prepared(
    call: HttpCall | HttpRefresh | None,
    secret: Callable[[Secret], Read],
    authorization: Callable[[Secret], Read] | None = None,
) -> Call | None:
    """The configured request with a reader for each secret in it; None where there is none.

    `authorization`: reads what stands in `Authorization`, where another credential's bare token would mean nothing.
    """
    if call is None or call.url is None:
        return None

    def value(name: str, given: str | Secret) -> str | Read:
        if isinstance(given, str):
            return given
        return (authorization or secret)(given) if name.lower().endswith("authorization") else secret(given)

    headers = tuple((name, value(name, given)) for name, given in call.headers.items())
    form = None if call.form is None else tuple((name, value("", given)) for name, given in call.form.items())
    login = call.basic
    basic = None
    if login is not None:
        password = secret(login.password) if login.password is not None else None
        basic = (value("", login.username), password, login.scheme)
    return Call(call.method, call.url, headers, call.json, form, call.body, basic)


class HttpSource:
    """One token API."""

    def __init__(
        self,
        client: HttpClient,
        clock: Clock,
        obtain: Call | None,
        *,
        refresh: Call | None = None,
        answers: AnswerReader | None = None,
        assumed: float = 300.0,
        secrets: Mapping[str, Read] | None = None,
        per: str | None = None,
    ) -> None:
        """`obtain`: None where there is nothing to begin with but a given token. `secrets`: for placeholders, by name.

        `assumed`: the lifetime where the answer states none, in seconds; `per`: the value for `{per}`.
        """
        self._client = client
        self._clock = clock
        self._obtain = obtain
        self._refresh = refresh
        self._refreshes_with = refresh.places if refresh is not None else set()
        self._answers = answers or AnswerReader(HttpAnswer())
        self._assumed = assumed
        self._last_stated = LastStated()
        self._parts = Parts(clock, secrets, per=per)

    async def fetch(self, previous: TokenPair) -> TokenResponse:
        """Refresh if possible, else obtain. Raises CredentialUnavailable or CredentialRefused."""
        expected = reply.Expected(assumed=self._last_stated.after(previous.access, self._assumed))
        if self._refresh is not None and self._goes_on_from(previous):
            try:
                return await self._ask(self._refresh, previous, expected)
            except CredentialError as error:
                if not (error.refuses_grant or isinstance(error, CredentialRefused)):
                    raise
                if self._obtain is None:
                    raise
                return await self._instead(self._obtain, error, expected)
        if self._obtain is None:
            raise NoGrant(_NOBODY)
        return await self._ask(self._obtain, NOTHING, expected)

    async def _instead(self, obtain: Call, refused: CredentialError, expected: reply.Expected) -> TokenResponse:
        """Obtain after a refusal to refresh. What fails then says nothing of the refresh token, which was answered."""
        try:
            return await self._ask(obtain, NOTHING, expected)
        except CredentialError as error:
            told = CredentialUnavailable(error.detail) if isinstance(error, ReplyLost | ReplyUnreadable) else error
            told.rotated = error.rotated or refused.rotated
            told.refuses_grant = False  # `obtain` is all that there is besides, and it was tried
            raise told from None

    def _goes_on_from(self, previous: TokenPair) -> bool:
        """Whether the parts that `refresh` sends are there and, if an access token proves who asks, still alive."""
        if "refresh_token" in self._refreshes_with:
            return previous.refresh_token is not None
        access = previous.access
        return access is not None and not ended(access, self._clock.wall(), self._clock.elapsed())

    async def _ask(self, call: Call, previous: TokenPair, expected: reply.Expected) -> TokenResponse:
        parts = await self._parts.of(call.templates, previous)
        try:
            url = fill_url(call.url, parts)
            headers = await _values(call.headers, parts)
            body, content_type = await _body(call, parts)
            authorization = await _login(call, parts)
        except (MissingPartError, UnfitPartError) as error:
            raise unfilled(error) from None
        if authorization is not None:
            headers.append(("Authorization", authorization))
        for name, value in headers:
            checked((name.encode(), value.encode()))
        if content_type is not None and not any(name.lower() == "content-type" for name, _ in headers):
            headers.append(("Content-Type", content_type))
        asked = Asked(self._clock.wall(), self._clock.elapsed())
        received = await self._client.send(call.method, url, headers=headers, body=body, incomplete=True)
        return self._answers.read(received, asked, expected)


async def _values(values: tuple[tuple[str, str | Read], ...], parts: Mapping[str, str | None]) -> list[tuple[str, str]]:
    return [(name, fill(value, parts) if isinstance(value, str) else await value()) for name, value in values]


async def _login(call: Call, parts: Mapping[str, str | None]) -> str | None:
    if call.basic is None:
        return None
    username, password, scheme = call.basic
    user = fill(username, parts) if isinstance(username, str) else await username()
    return login(user, await password() if password is not None else "", scheme)


async def _body(call: Call, parts: Mapping[str, str | None]) -> tuple[bytes | None, str | None]:
    """The body, and the Content-Type that goes with it unless another is configured."""
    if call.form is not None:
        return urlencode(await _values(call.form, parts)).encode(), "application/x-www-form-urlencoded"
    if call.json is not None:
        return msgspec.json.encode(fill(call.json, parts)), "application/json"
    if call.body is not None:
        kinds = [value for name, value in call.headers if name.lower() == "content-type" and isinstance(value, str)]
        return fill_text(call.body, parts, kinds[0] if kinds else None).encode(), None
    return None, None
