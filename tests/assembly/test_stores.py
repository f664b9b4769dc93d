"""The store as configured: which one, with which keys, and what is said where the library is missing."""

from __future__ import annotations

import base64
import builtins
import sys

import pytest
from support.clock import FakeClock

from proxy.assembly.stores import make_store, read_envelope, redis_address, seal_with
from proxy.config.schema import ClientTls, FileStore, MemoryStore, RedisStore, Secret
from proxy.errors import ConfigurationError
from proxy.tokens.store.envelope import Envelope

KEY = base64.b64encode(b"k" * 32).decode()
ENVIRON = {"URL": "redis://u:hush@127.0.0.1:1/2", "KEY": KEY, "SHORT": "c2hvcnQ=", "TLS": "rediss://a"}


def redis(**more: object) -> RedisStore:
    return RedisStore(url=Secret(env="URL"), **more)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("config", "type_"),
    [
        (MemoryStore(), "memory"),
        (FileStore(path="/nowhere"), "file"),
        (redis(encryption_key=Secret(env="KEY")), "redis"),
    ],
)
async def test_the_configured_one_is_made_and_nothing_is_asked_yet(config, type_):
    store = make_store(config, ENVIRON, FakeClock())
    assert store.type == type_
    assert (store.errors, store.last_error) == (0, None)
    seal_with(store, read_envelope(config, ENVIRON))
    await store.close()


def refused(config: RedisStore) -> ConfigurationError:
    with pytest.raises(ConfigurationError) as failure:
        make_store(config, ENVIRON, FakeClock())
    assert "hush" not in str(failure.value)
    return failure.value


def test_what_cannot_be_used_has_its_place():
    assert refused(redis(encryption_key=Secret(env="SHORT"))).at == ("store", "encryption_key")
    assert refused(RedisStore(url=Secret(env="KEY"))).at == ("store", "url")
    assert refused(redis(password=Secret(env="NONE"))).at == ("store", "password")
    tls = RedisStore(url=Secret(env="TLS"), tls=ClientTls(ca_file="/nowhere"))
    assert refused(tls).at == ("store", "tls")


def test_the_missing_library_is_a_mistake_that_names_the_command(monkeypatch):
    real = builtins.__import__

    def without(name, *rest):
        if name == "redis" or name.startswith("redis."):
            raise ImportError(name)
        return real(name, *rest)

    for module in [name for name in sys.modules if name == "redis" or name.startswith("redis.")]:
        monkeypatch.delitem(sys.modules, module)
    monkeypatch.setitem(sys.modules, "redis", None)
    monkeypatch.setattr(builtins, "__import__", without)
    error = refused(redis())
    assert error.at == ("store", "type")
    assert "pip install 'auth-sidecar[redis]'" in str(error)


def test_a_library_that_is_too_old_is_named_with_its_version(monkeypatch):
    import redis as library  # noqa: PLC0415 - the one that is patched

    monkeypatch.setattr(library, "__version__", "8.0.3")
    assert "8.0.3 is installed: pip install" in str(refused(redis()))
    monkeypatch.setattr(library, "__version__", "10.0b1")
    make_store(redis(), ENVIRON, FakeClock())


def test_the_login_beside_the_url_is_the_addresss():
    assert redis_address(redis(), ENVIRON).username == "u"
    assert redis_address(RedisStore(url=Secret(env="TLS"), username="x"), ENVIRON).username == "x"


def test_without_a_key_records_are_plain():
    assert read_envelope(redis(), ENVIRON).marks == Envelope().marks
    assert read_envelope(redis(encryption_key=Secret(env="KEY")), ENVIRON).marks != Envelope().marks
