from __future__ import annotations

import asyncio
import gc

import jwt
import pytest
from support.clock import FakeClock
from support.issuer import scripted_issuer, source_of
from support.managed import PlayedSource, managed

from proxy.config.schema import Refresh
from proxy.errors import CallerUnknown, CredentialRefused, CredentialUnavailable
from proxy.model import Request, Token
from proxy.tokens.cache import TokenCache
from proxy.tokens.issuer_errors import GrantRefused
from proxy.tokens.manager import TokenManager
from proxy.tokens.per_caller import OnBehalf, PerCaller
from proxy.tokens.refresh_scheduler import RefreshScheduler
from proxy.tokens.store.memory import MemoryTokenStore

REQUEST = Request(b"GET", "https", b"api.example", b"/")
PATTERN = "[a-z0-9.-]{1,64}"
LONG_SECRET = "a subject's key that is long enough for HS256"


def with_field(name: str, value: bytes | None):
    return {name.lower().encode(): value}.get


def pick(picker: PerCaller, value: bytes | None, name: str = "X-Tenant"):
    return picker.pick(REQUEST, with_field(name, value))


class Made:
    """Tokens for one value; what they do is up to a test."""

    def __init__(self, value: str) -> None:
        self.value = value
        self.error: Exception | None = None
        self.left = False

    def ready(self) -> Token | None:
        return None

    def detach(self) -> None:
        self.left = True

    async def current(self) -> Token:
        if self.error:
            raise self.error
        return Token(access_token=f"for {self.value}")

    def predecessor(self, young: Token) -> Token | None:  # noqa: ARG002 - the interface
        return None

    async def renew(self, refused: Token) -> Token:
        assert refused
        return await self.current()


def per_caller(most: int = 10) -> PerCaller:
    return PerCaller("X-Tenant", Made, pattern=PATTERN, most=most)


def test_each_value_has_its_own_tokens():
    picker = per_caller()
    assert pick(picker, b"acme") is pick(picker, b"acme")
    assert pick(picker, b"acme") is not pick(picker, b"umbrella")
    assert pick(picker, b"acme").value == "acme"
    assert picker.whose(pick(picker, b"acme")) is picker.whose(pick(picker, b"acme"))
    assert picker.whose(pick(picker, b"acme")) is not picker.whose(pick(picker, b"umbrella"))


def test_the_field_is_stripped():
    assert per_caller().strips == (b"x-tenant",)


@pytest.mark.parametrize("value", [None, b"", b"ACME", b"a b", b"a/../b", b"a" * 65, b"acme\n", b"\xff", b"..", b"."])
def test_a_missing_or_strange_value_is_a_401(value):
    with pytest.raises(CallerUnknown) as caught:
        pick(per_caller(), value)
    assert caught.value.status == 401
    assert dict(caught.value.headers)["WWW-Authenticate"].startswith("Bearer")
    if value and len(value) > 2:
        assert value.decode("latin-1").strip() not in caught.value.detail


def test_the_number_of_callers_is_bounded_and_idle_ones_go_first():
    picker = per_caller(most=2)
    first = pick(picker, b"a")
    idle = pick(picker, b"b")
    assert pick(picker, b"a") is first
    pick(picker, b"c")
    assert len(picker) == 2
    assert pick(picker, b"a") is first
    assert (first.left, idle.left) == (False, True)


def test_values_are_known_by_their_hash_alone():
    picker = per_caller()
    pick(picker, b"acme")
    assert all(b"acme" not in key for key in picker._known)


# ---- on behalf of ----------------------------------------------------------------------------------------------------


def on_behalf(clock: FakeClock | None = None) -> OnBehalf:
    return OnBehalf("Authorization", Made, clock or FakeClock())


def subject(lifetime: float, clock: FakeClock) -> str:
    return jwt.encode({"sub": "u", "exp": int(clock.wall() + lifetime)}, LONG_SECRET)


@pytest.mark.parametrize("value", [b"Bearer tok3n", b"bearer   tok3n", b"tok3n"])
async def test_the_word_before_the_subject_token_is_dropped(value):
    tokens = pick(on_behalf(), value, "Authorization")
    assert (await tokens.current()).access_token == "for tok3n"


@pytest.mark.parametrize("value", [b"tok3nBearer", b"Bearer tok3nBearer", b"Bearertok3n"])
async def test_only_a_word_before_the_subject_token_is_dropped(value):
    tokens = pick(on_behalf(), value, "Authorization")
    assert (await tokens.current()).access_token == f"for {value.decode().removeprefix('Bearer ')}"


@pytest.mark.parametrize(
    "value", [None, b"", b"Bearer ", b"Bearer", b"bearer", b"Bearer a b", b"Basic dTpw", b"Bearer \xff"]
)
def test_what_is_no_subject_token_is_a_401(value):
    with pytest.raises(CallerUnknown):
        pick(on_behalf(), value, "Authorization")


def test_a_subject_token_that_has_expired_is_a_401_and_costs_no_request():
    clock = FakeClock()
    value = f"Bearer {subject(60, clock)}".encode()
    picker = on_behalf(clock)
    pick(picker, value, "Authorization")
    clock.step_wall(60)
    with pytest.raises(CallerUnknown, match="expired"):
        pick(picker, value, "Authorization")


async def test_a_subject_token_that_ends_while_it_is_exchanged_is_a_401():
    clock = FakeClock()
    tokens = pick(on_behalf(clock), f"Bearer {subject(60, clock)}".encode(), "Authorization")
    tokens._tokens.error = CredentialUnavailable("The token had expired when it arrived")
    with pytest.raises(CredentialUnavailable):
        await tokens.current()
    clock.step_wall(59.5)
    with pytest.raises(CallerUnknown, match="expired"):
        await tokens.current()


async def test_a_refused_subject_is_a_401_and_other_failures_are_ours():
    for error, expected in (
        (GrantRefused("invalid_grant"), CallerUnknown),
        (CredentialRefused("invalid_client"), CredentialRefused),
        (CredentialUnavailable("down"), CredentialUnavailable),
    ):
        tokens = pick(on_behalf(), b"Bearer x", "Authorization")
        tokens._tokens.error = error
        with pytest.raises(expected):
            await tokens.current()
        with pytest.raises(expected):
            await tokens.renew(Token(access_token="t"))


async def test_a_good_subject_gets_its_token_and_a_renewed_one():
    tokens = pick(on_behalf(), b"Bearer x", "Authorization")
    token = await tokens.current()
    assert (await tokens.renew(token)).access_token == "for x"
    assert tokens.ready() is None


# ---- with real managers ----------------------------------------------------------------------------------------------


async def test_every_caller_gets_a_token_of_their_own_and_one_flight_each():
    clock = FakeClock()
    async with scripted_issuer() as issuer, source_of(issuer, clock, scope="for:{per}") as template:

        def make(value: str) -> TokenManager:
            source = type(template)(
                template.config, template.client, template.discovery, clock, template.secrets, None, value
            )
            return TokenManager(
                "crm",
                source,
                store=MemoryTokenStore(),
                clock=clock,
                cache=cache,
                scheduler=RefreshScheduler(clock),
                refresh=Refresh(eager=False, jitter=0.0),
            )

        cache = TokenCache(clock, 100)
        picker = PerCaller("X-Tenant", make, pattern=PATTERN, most=100)
        names = [f"t{i}" for i in range(20)] * 5
        tokens = await asyncio.gather(*(pick(picker, name.encode()).current() for name in names))
    assert issuer.count == 20
    assert {asked["scope"] for asked in issuer.asked} == {f"for:t{i}" for i in range(20)}
    by_name: dict[str, str] = {}
    for name, token in zip(names, tokens, strict=True):
        assert by_name.setdefault(name, token.access_token) == token.access_token
    assert len(set(by_name.values())) == 20


async def test_the_token_of_a_caller_who_had_to_go_goes_too():
    """Not when it ends: for a day it would take the room of one that is asked for."""
    clock, lazy = FakeClock(), Refresh(eager=False, jitter=0.0)
    cache, scheduler = TokenCache(clock), RefreshScheduler(clock)

    def make(value: str) -> TokenManager:
        source = PlayedSource(clock, lifetime=86400)
        return TokenManager(
            value, source, store=MemoryTokenStore(), clock=clock, cache=cache, scheduler=scheduler, refresh=lazy
        )

    picker = PerCaller("X-Tenant", make, pattern=PATTERN, most=2)
    for name in (b"a", b"b", b"c"):
        tokens = pick(picker, name)
        await tokens.current()
        assert tokens.ready() is not None
    assert len(cache) == 2
    on_behalf = OnBehalf("Authorization", make, clock, most=1)
    for name in (b"Bearer d", b"Bearer e"):
        tokens = pick(on_behalf, name, "Authorization")
        await tokens.current()
        assert tokens.ready() is not None
    assert len(cache) == 3


@pytest.mark.parametrize("behalf", [False, True])
async def test_more_callers_at_once_than_are_kept_still_cost_one_renewal_each(behalf):
    clock, lazy = FakeClock(), Refresh(eager=False, jitter=0.0)
    cache, scheduler = TokenCache(clock), RefreshScheduler(clock)
    sources: list[PlayedSource] = []

    def make(value: str) -> TokenManager:
        source = PlayedSource(clock)
        sources.append(source)
        return TokenManager(
            value, source, store=MemoryTokenStore(), clock=clock, cache=cache, scheduler=scheduler, refresh=lazy
        )

    picker = (
        OnBehalf("X-Tenant", make, clock, most=3) if behalf else PerCaller("X-Tenant", make, pattern=PATTERN, most=3)
    )
    waiting = [(pick(picker, f"t{i % 20}".encode())) for i in range(100)]
    await asyncio.gather(*(tokens.current() for tokens in waiting))
    assert [source.count for source in sources] == [1] * 20
    assert len(picker) == 3
    del waiting
    gc.collect()
    assert not picker._gone, "what nobody waits for is not kept"
    for i in range(20):
        await pick(picker, f"t{i}".encode()).current()
    assert len(sources) == 40
    assert not picker._gone, "without a collector"


async def test_a_manager_needs_no_start_for_one_caller():
    async with managed(started=False, refresh=Refresh(eager=False, jitter=0.0)) as it:
        assert it.ready is None
        assert (await it.manager.current()).access_token == "at-1"
        assert it.ready == "at-1"


def test_a_value_that_cannot_stand_where_it_is_filled_in_is_nobodys():
    picker = PerCaller("X-Tenant", Made, pattern=".+", most=10, unfit=lambda value: value.startswith("-"))
    assert pick(picker, b"a")
    for _ in range(2):
        with pytest.raises(CallerUnknown):
            pick(picker, b"-a")
    assert len(picker) == 1


@pytest.mark.parametrize(("octets", "value"), [("m\u00fc".encode(), "m\u00fc"), (b"m\xfc", "m\u00fc"), (b"a", "a")])
async def test_a_value_is_utf_8_or_else_latin_1(octets, value):
    picker = PerCaller("X-Tenant", Made, pattern=".+", most=10)
    assert (await pick(picker, octets).current()).access_token == f"for {value}"


@pytest.mark.parametrize("value", [b"acme", b"Bearer acme", b"bearer  acme", b"Token acme", b"DPoP acme"])
def test_a_word_that_says_how_the_value_is_used_is_no_part_of_it(value):
    made: list[str] = []

    def make(one: str) -> Made:
        made.append(one)
        return Made(one)

    pick(PerCaller("Authorization", make, pattern="[a-z]+", most=9), value, "Authorization")
    assert made == ["acme"]
