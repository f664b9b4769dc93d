"""Every store as the contract sees it: what several processes share, and a hand that reaches behind their backs."""

from __future__ import annotations

import base64
import os
import shutil
from pathlib import Path
from typing import Any

import pytest
from support.local_redis import LocalRedis

from proxy.assembly.stores import make_store
from proxy.clock import SystemClock
from proxy.config.schema import Duration, RedisStore, Secret
from proxy.tokens.store.envelope import Envelope
from proxy.tokens.store.file import FileTokenStore
from proxy.tokens.store.memory import MemoryTokenStore
from proxy.tokens.store.token_store import TokenStore


@pytest.fixture(scope="session", autouse=True)
def redis_first(request) -> None:
    """Before any test has counted its processes: `backing` asks for it late."""
    if shutil.which("redis-server"):
        request.getfixturevalue("redis_server")


class MemoryBacking:
    """One process: whoever asks for a store gets the same one."""

    shared = False

    def __init__(self) -> None:
        self.store = MemoryTokenStore()

    def make(self, keys: str | None = None) -> TokenStore:  # noqa: ARG002 - as the others
        return self.store

    def lose(self, name: str) -> None:
        del self.store._records[name]


class FileBacking:
    """A directory."""

    shared = True

    def __init__(self, path: Path) -> None:
        self.path = path

    def make(self, keys: str | None = None) -> TokenStore:
        envelope = Envelope() if keys is None else Envelope.from_lines(keys)
        return FileTokenStore(self.path, envelope, SystemClock())

    def raw(self, name: str) -> bytes:
        return (self.path / f"{name}.json").read_bytes()

    def put(self, name: str, content: bytes) -> None:
        self.path.mkdir(parents=True, exist_ok=True)
        (self.path / f"{name}.json").write_bytes(content)

    def lose(self, name: str) -> None:  # noqa: ARG002 - as the others
        shutil.rmtree(self.path)


class RedisBacking:
    """Keys of one prefix."""

    shared = True

    def __init__(self, server: LocalRedis, url: str | None = None) -> None:
        self.server = server
        self.url = url or server.url
        self.prefix = f"t{os.urandom(4).hex()}:"
        self.client = server.raw()

    def make(self, keys: str | None = None, **more: Any) -> TokenStore:
        config = RedisStore(
            url=Secret(value=self.url),
            encryption_key=None if keys is None else Secret(value=keys),
            key_prefix=self.prefix,
            timeout=Duration(5),
            **more,
        )
        return make_store(config, {}, SystemClock())

    def key(self, name: str) -> str:
        return f"{self.prefix}{{{name}}}"

    def raw(self, name: str) -> bytes:
        return self.client.get(self.key(name))  # type: ignore[return-value]

    def put(self, name: str, content: bytes) -> None:
        self.client.set(self.key(name), content)

    def lose(self, name: str) -> None:
        self.client.delete(self.key(name))


@pytest.fixture(params=["memory", "file", pytest.param("redis", marks=pytest.mark.peer("redis-server"))])
def backing(request, tmp_path):
    if request.param == "memory":
        yield MemoryBacking()
    elif request.param == "file":
        yield FileBacking(tmp_path / "state" / "tokens")
    else:
        made = RedisBacking(request.getfixturevalue("redis_server"))
        yield made
        made.client.close()


@pytest.fixture
async def make(backing):
    """Another process's store on the same records; each is closed at the end."""
    made: list[TokenStore] = []

    def one(keys: str | None = None) -> TokenStore:
        made.append(backing.make(keys))
        return made[-1]

    yield one
    for store in made:
        await store.close()


@pytest.fixture
def redis_backing(redis_server):
    made = RedisBacking(redis_server)
    yield made
    made.client.close()


def keys_of(letters: str) -> str:
    """An encryption key for each letter."""
    return "\n".join(base64.b64encode(letter.encode() * 32).decode() for letter in letters)


@pytest.fixture
async def make_redis(redis_backing):
    """The same for Redis alone; keys are named by letters."""
    made: list[TokenStore] = []

    def one(letters: str = "", **more: Any) -> TokenStore:
        made.append(redis_backing.make(keys_of(letters) or None, **more))
        return made[-1]

    yield one
    for store in made:
        await store.close()


@pytest.fixture
def make_of():
    """A store of a server of one's own, to be closed before that ends."""

    def one(server: LocalRedis, url: str | None = None, **more: Any) -> TokenStore:
        backing = RedisBacking(server, url)
        backing.client.close()
        return backing.make(**more)

    return one
