"""Every way to Redis on real servers: TLS with a private authority, logins, Sentinel, a cluster, a unix socket."""

from __future__ import annotations

import asyncio
import subprocess
import time
from typing import Any

import pytest
import redis
from support.local_redis import LocalRedis
from support.process import free_port
from support.tls import Authority

from proxy.config.schema import ClientTls, Secret
from proxy.tokens.store.token_store import Grant, StoreError

pytestmark = pytest.mark.peer("redis-server")

NAME = "crm"
CLUSTER: dict[str, Any] = {"cluster-enabled": "yes"}
FIRST = Grant(revision=1, access_token="secret")


async def works(store) -> None:
    """All that a store does, once."""
    seen: list[Grant | None] = []
    held = await store.load(NAME) or Grant()
    store.watch(NAME, seen.append)
    await store.start()
    async with store.lease(NAME, 5) as lease:
        assert lease.held()
        newer = Grant(revision=held.revision + 1, access_token="secret")
        assert await store.save(NAME, newer)
    async with asyncio.timeout(30):
        while newer not in seen and held not in seen and seen != [None]:
            await asyncio.sleep(0.01)
    assert await store.load(NAME) == newer
    assert store.last_error is None
    await store.close()


async def refused(store, why: str) -> None:
    with pytest.raises(StoreError, match=why) as failure:
        await store.load(NAME)
    assert failure.value.cut_off
    assert "hush" not in str(failure.value)
    await store.close()


# ---- logins ----------------------------------------------------------------------------------------------------------


async def test_a_login_is_given_in_the_url_or_beside_it_and_follows_its_file(make_of, tmp_path):
    with LocalRedis(requirepass="hush-1") as server:
        admin = server.raw(password="hush-1")
        admin.acl_setuser(
            "sidecar", enabled=True, passwords=["+hush-2"], keys=["t*"], channels=["t*"], categories=["+@all"]
        )
        host = f"127.0.0.1:{server.port}"
        await works(make_of(server, f"redis://:hush-1@{host}"))
        await works(make_of(server, f"redis://sidecar:hush-2@{host}"))
        await works(make_of(server, f"redis://{host}", username="sidecar", password=Secret(value="hush-2")))
        await refused(make_of(server, f"redis://{host}"), "refuses the login")
        await refused(make_of(server, f"redis://sidecar:hush-x@{host}"), "refuses the login")
        (tmp_path / "password").write_text("hush-x\n")
        store = make_of(server, f"redis://{host}", password=Secret(file=str(tmp_path / "password")))
        with pytest.raises(StoreError, match="refuses the login"):
            await store.load(NAME)
        (tmp_path / "password").write_text("hush-1\n")
        async with asyncio.timeout(30):
            while store.last_error is not None:
                await asyncio.sleep(0.05)
                try:
                    await store.load(NAME)
                except StoreError:
                    continue
        await store.close()
        admin.close()


async def test_every_connection_says_whose_it_is(make_of):
    with LocalRedis() as server:
        store = make_of(server)
        await store.load(NAME)
        raw = server.raw(decode_responses=True)
        assert any(client["name"].startswith("auth-sidecar:") for client in raw.client_list())
        raw.close()
        await store.close()


async def test_a_database_is_chosen_by_the_url(make_of):
    with LocalRedis() as server:
        await works(make_of(server, server.url + "/3"))
        raw = server.raw(db=3)
        assert len(raw.keys("*{crm}")) == 1
        raw.close()
        await refused(make_of(server, server.url + "/99"), "index is out of range")


async def test_a_unix_socket_is_an_address_too(make_of, tmp_path):
    path = tmp_path / "redis.sock"
    with LocalRedis(unixsocket=str(path)) as server:
        await works(make_of(server, f"unix://{path}"))
        await refused(make_of(server, f"unix://{tmp_path}/none"), "no such file")


# ---- TLS -------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def authority():
    return Authority()


async def test_tls_verifies_the_server_by_a_private_authority_and_shows_our_certificate(make_of, tmp_path, authority):
    certificate, key = authority.server("redis.internal").write(tmp_path, "server")
    ours, our_key = authority.client().write(tmp_path, "client")
    ca = tmp_path / "ca.pem"
    ca.write_bytes(authority.certificate)
    tls_port = free_port()
    options: dict[str, Any] = {
        "tls-port": str(tls_port), "tls-cert-file": str(certificate), "tls-key-file": str(key),
        "tls-ca-cert-file": str(ca), "tls-auth-clients": "yes",
    }  # fmt: skip
    with LocalRedis(**options) as server:
        url = f"rediss://127.0.0.1:{tls_port}"
        good: dict[str, Any] = {
            "ca_file": str(ca),
            "cert_file": str(ours),
            "key_file": str(our_key),
            "server_name": "redis.internal",
        }
        await works(make_of(server, url, tls=ClientTls(**good)))
        await refused(
            make_of(server, url, tls=ClientTls(**{**good, "server_name": None})), "certificate is not accepted"
        )
        await refused(make_of(server, url, tls=ClientTls(**{**good, "ca_file": None})), "certificate is not accepted")
        without = ClientTls(ca_file=str(ca), server_name="redis.internal")
        await refused(make_of(server, url, tls=without), "cannot be reached")
        await refused(make_of(server, f"rediss://127.0.0.1:{server.port}"), "TLS fails|cannot be reached")


# ---- more than one server --------------------------------------------------------------------------------------------


def told(port: int, *words: str) -> object:
    client = redis.Redis(port=port, decode_responses=True)
    try:
        return client.execute_command(*words)
    finally:
        client.close()


def wait_until(condition, seconds: float = 60.0) -> None:
    until = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < until
        time.sleep(0.05)


async def test_a_cluster_is_found_by_any_node_and_each_script_stays_in_its_slot(make_of):
    with (
        LocalRedis(**CLUSTER) as one,
        LocalRedis(**CLUSTER) as two,
    ):
        told(one.port, "CLUSTER", "ADDSLOTSRANGE", "0", "8000")
        told(two.port, "CLUSTER", "ADDSLOTSRANGE", "8001", "16383")
        told(one.port, "CLUSTER", "MEET", "127.0.0.1", str(two.port))
        wait_until(lambda: all("cluster_state:ok" in str(told(s.port, "CLUSTER", "INFO")) for s in (one, two)))
        url = f"redis+cluster://127.0.0.1:{free_port()},127.0.0.1:{one.port}"
        await works(make_of(one, url))
        store = make_of(one, url)
        for name in ("a", "b", "c", "d", "e", "f"):
            assert await store.save(name, FIRST)
            assert await store.load(name) == FIRST
        await store.close()
        counts = [int(told(server.port, "DBSIZE")) for server in (one, two)]  # type: ignore[call-overload]
        assert sum(counts) == 7
        assert min(counts) > 0
        await refused(make_of(one, two.url), "write redis\\+cluster")


@pytest.mark.peer("redis-sentinel")
async def test_sentinel_names_the_primary_also_after_a_fail_over(make_of, tmp_path):
    with LocalRedis() as primary, LocalRedis(replicaof=f"127.0.0.1 {primary.port}") as replica:
        wait_until(lambda: "master_link_status:up" in str(redis_info(replica.port)))
        port = free_port()
        file = tmp_path / "sentinel.conf"
        file.write_text(
            f"port {port}\nbind 127.0.0.1\ndir {tmp_path}\nsentinel monitor main 127.0.0.1 {primary.port} 1\n"
            "sentinel down-after-milliseconds main 500\nsentinel failover-timeout main 2000\n"
        )
        sentinel = subprocess.Popen(["redis-sentinel", str(file)], stdout=subprocess.DEVNULL)
        try:
            wait_until(lambda: answers(port))
            url = f"redis+sentinel://127.0.0.1:{port}/main"
            store = make_of(primary, url)
            assert await store.save(NAME, FIRST)
            wait_until(lambda: "'slaves': 1" in str(told(port, "INFO", "sentinel")))
            primary.kill()
            async with asyncio.timeout(60):
                while True:
                    try:
                        assert await store.save(NAME, Grant(revision=2))
                    except StoreError:
                        await asyncio.sleep(0.1)
                    else:
                        break
            assert await store.load(NAME) == Grant(revision=2)
            await store.close()
            await refused(make_of(replica, f"redis+sentinel://127.0.0.1:{port}/other"), "no primary of that name")
        finally:
            sentinel.kill()
            sentinel.wait()


def redis_info(port: int) -> object:
    client = redis.Redis(port=port, decode_responses=True)
    try:
        return "\n".join(f"{key}:{value}" for key, value in client.info("replication").items())
    finally:
        client.close()


def answers(port: int) -> bool:
    try:
        return bool(told(port, "PING"))
    except redis.ConnectionError:
        return False
