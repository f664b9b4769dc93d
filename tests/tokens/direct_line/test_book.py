"""The book by itself: what is remembered of whom, and for how long."""

from __future__ import annotations

import pytest
from support.clock import FakeClock, settle

from proxy.model import Token
from proxy.tokens.cache import TokenCache
from proxy.tokens.direct_line.book import Book
from proxy.tokens.manager import TokenManager
from proxy.tokens.refresh_scheduler import RefreshScheduler
from proxy.tokens.store.memory import MemoryTokenStore
from proxy.tokens.token_response import TokenPair, TokenResponse


class Silent:
    """A source that is never asked here."""

    async def fetch(self, previous: TokenPair) -> TokenResponse:
        raise AssertionError(previous)


@pytest.fixture
def clock():
    return FakeClock()


@pytest.fixture
async def book(clock):
    scheduler, cache = RefreshScheduler(clock), TokenCache(clock)
    scheduler.start()
    book = Book(
        lambda _name, _lost: Silent(),
        lambda source: TokenManager(
            "chat", source, store=MemoryTokenStore(), clock=clock, cache=cache, scheduler=scheduler
        ),
        clock,
        scheduler,
        idle=600,
        most=5,
    )
    yield book
    await book.close()
    await scheduler.stop()


def token(clock: FakeClock, name: str, left: float | None = 10_000) -> Token:
    return Token(
        access_token=name,
        lifetime=left or 10_000,
        expires_wall=None if left is None else clock.wall() + left,
        expires_elapsed=None if left is None else clock.elapsed() + left,
        issued_wall=clock.wall(),
        issued_elapsed=clock.elapsed(),
    )


async def ready(book: Book, conversation: str) -> str:
    await settle()
    return book.find(conversation).life.ready().access_token


async def test_every_token_of_a_conversation_leads_to_it(book, clock):
    for name in ("t-1", "t-2", "t-2"):
        book.learn("a", token(clock, name))
    assert [book.of_token(name) for name in ("t-1", "t-2", "t-3")] == ["a", "a", None]


async def test_only_the_last_tokens_of_a_conversation_are_remembered(book, clock):
    for number in range(20):
        book.learn("a", token(clock, f"t-{number}"))
    assert [number for number in range(20) if book.of_token(f"t-{number}")] == list(range(4, 20))


async def test_tokens_are_not_kept_where_a_hash_does(book, clock):
    book.learn("a", token(clock, "t-1"))
    assert all(isinstance(key, bytes) and b"t-1" not in key for key in book._by_token)


async def test_the_token_that_lives_longest_is_sent(book, clock):
    book.learn("a", token(clock, "long", 2000))
    assert await ready(book, "a") == "long"
    book.learn("a", token(clock, "short", 1000))
    assert await ready(book, "a") == "long"
    book.learn("a", token(clock, "longer", 3000))
    assert await ready(book, "a") == "longer"
    book.learn("a", token(clock, "unstated", None))
    assert await ready(book, "a") == "unstated"


async def test_a_forgotten_conversation_leaves_nothing_behind(book, clock):
    book.learn("a", token(clock, "t-1"))
    book.forget("a")
    book.forget("a")
    assert (len(book), book.find("a"), book.of_token("t-1"), book._by_token) == (0, None, None, {})


async def test_using_a_conversation_keeps_it(book, clock):
    for name in "ab":
        book.learn(name, token(clock, f"t-{name}"))
    for _ in range(5):
        await clock.advance(200)
        book.find("b")
    assert [book.find(name) is not None for name in "ab"] == [False, True]
    await clock.advance(599)
    assert len(book) == 1
    await clock.advance(1)
    assert len(book) == 0


async def test_more_conversations_than_may_be_known_cost_the_least_recently_used(book, clock):
    for number in range(5):
        book.learn(str(number), token(clock, f"t-{number}"))
    book.find("0")
    for number in range(5, 8):
        book.learn(str(number), token(clock, f"t-{number}"))
    assert len(book) == 5
    assert [number for number in range(8) if book.find(str(number))] == [0, 4, 5, 6, 7]


async def test_closing_twice_is_fine_and_ends_everything(book, clock):
    book.learn("a", token(clock, "t-1"))
    await book.close()
    await book.close()
    assert len(book) == 0
