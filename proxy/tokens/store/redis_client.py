"""The way to Redis: one server, the primary that Sentinel names, or a cluster. Imported only where a store is `redis`.

redis-py speaks the protocol. Here is what it is told: verified TLS that follows its files, a login that follows its
secret, no waiting for ever, and no repeats of its own, because whoever asks knows what may be repeated.
"""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import Callable, Mapping
from typing import Any, Protocol

from redis.asyncio import Redis
from redis.asyncio.client import PubSub
from redis.asyncio.cluster import ClusterNode, RedisCluster
from redis.asyncio.connection import AbstractConnection, Connection, ConnectionPool, UnixDomainSocketConnection
from redis.asyncio.retry import Retry
from redis.asyncio.sentinel import Sentinel, SentinelConnectionPool, SentinelManagedConnection
from redis.backoff import FullJitterBackoff, NoBackoff
from redis.credentials import CredentialProvider
from redis.exceptions import RedisClusterException, RedisError, ResponseError

from proxy.config.redis_url import RedisAddress
from proxy.tokens.tls import FollowedTls

LIBRARY_ERRORS = (RedisError, RedisClusterException, OSError)
"""What is raised where Redis cannot be reached, or refuses."""
_AT_ONCE = 8
"""Connections for commands: more would only wait within Redis instead of here."""
_MOVES = 2
"""How often a cluster may say that a key is elsewhere before it has to be asked again."""


class NotSentError(Exception):
    """There was no connection, and nothing has changed. `__cause__` is why."""


class RedisClient(Protocol):
    """What the store asks of Redis."""

    async def execute(self, *words: str | int) -> Any:
        """Send one command and read its answer. Raises LIBRARY_ERRORS, NotSentError."""

    async def subscription(self) -> PubSub:
        """A new one, subscribed to nothing. Raises LIBRARY_ERRORS."""

    async def close(self) -> None:
        """Close all connections; twice is fine."""


class Login(CredentialProvider):
    """User and password, as they are whenever a connection is made."""

    def __init__(self, username: str | None, password: Callable[[], str]) -> None:
        self._username = username
        self._password = password

    def get_credentials(self) -> tuple[str] | tuple[str, str]:
        """What AUTH is sent with."""
        password = self._password()
        return (password,) if self._username is None else (self._username, password)

    async def get_credentials_async(self) -> tuple[str] | tuple[str, str]:
        """The same: nobody has to be waited for."""
        return self.get_credentials()


class TlsConnection(Connection):
    """TLS with our own verification: `tls` knows the authorities, our certificate, and the name to expect."""

    def __init__(self, *, tls: FollowedTls, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self._tls = tls

    def _connection_arguments(self) -> Mapping[str, Any]:
        return _tls_arguments(self, self._tls)


class SentinelTlsConnection(SentinelManagedConnection):
    """The same towards the primary that Sentinel names."""

    def __init__(self, *, tls: FollowedTls, **kwargs: Any) -> None:
        super().__init__(**kwargs)  # type: ignore[no-untyped-call]
        self._tls = tls

    def _connection_arguments(self) -> Mapping[str, Any]:
        return _tls_arguments(self, self._tls)


def _tls_arguments(connection: Connection, tls: FollowedTls) -> dict[str, Any]:
    name = tls.server_name or connection.host
    return {"host": connection.host, "port": connection.port, "ssl": tls.current(), "server_hostname": name}


def make_client(
    address: RedisAddress, *, tls: FollowedTls | None, password: Callable[[], str] | None, timeout: float
) -> RedisClient:
    """`tls`: where the address asks for it. `password`: of the data servers. `timeout`: for one answer, in seconds."""
    options: dict[str, Any] = {
        "socket_timeout": timeout,
        "socket_connect_timeout": timeout,
        "retry": Retry(NoBackoff(), 0),
        "protocol": 2,
        "driver_info": None,
    }
    data = {
        **options,
        "client_name": f"auth-sidecar:{socket.gethostname().replace(' ', '-')}:{os.getpid()}",
        "credential_provider": Login(address.username, password) if password is not None else None,
    }
    if address.topology == "cluster":
        return ClusterClient(_cluster(address, tls, data, timeout))
    if address.topology == "sentinel":
        return PoolClient(_sentinel_pool(address, tls, options, data | {"db": address.database}))
    data["db"] = address.database
    if address.path is not None:
        return PoolClient(ConnectionPool(UnixDomainSocketConnection, path=address.path, **data))
    node = address.nodes[0]
    return PoolClient(ConnectionPool(host=node.host, port=node.port, **_over(tls, TlsConnection), **data))


def _over(tls: FollowedTls | None, connection: type[AbstractConnection]) -> dict[str, Any]:
    return {} if tls is None else {"connection_class": connection, "tls": tls}


def _sentinel_pool(
    address: RedisAddress, tls: FollowedTls | None, options: dict[str, Any], data: dict[str, Any]
) -> ConnectionPool:
    sentinel = Sentinel([])
    login: dict[str, Any] = {"username": address.sentinel_username, "password": address.sentinel_password}
    sentinel.sentinels = [
        Redis.from_pool(ConnectionPool(host=node.host, port=node.port, **_over(tls, TlsConnection), **options, **login))
        for node in address.nodes
    ]
    return SentinelConnectionPool(address.service or "", sentinel, **_over(tls, SentinelTlsConnection), **data)


def _cluster(address: RedisAddress, tls: FollowedTls | None, data: dict[str, Any], timeout: float) -> RedisCluster:
    again = Retry(FullJitterBackoff(cap=timeout / 4, base=timeout / 16), _MOVES)
    options = {key: value for key, value in data.items() if key != "retry"}
    cluster = RedisCluster(
        startup_nodes=[ClusterNode(node.host, node.port) for node in address.nodes],
        retry=again,
        require_full_coverage=False,
        **options,
    )
    if tls is not None:  # the constructor takes files only
        for arguments in (cluster.connection_kwargs, *(node.connection_kwargs for node in cluster.startup_nodes)):
            arguments["tls"] = tls
        cluster.connection_kwargs["connection_class"] = TlsConnection
        for node in cluster.startup_nodes:
            node.connection_class = TlsConnection
    return cluster


class PoolClient:
    """One server at a time, by the connections of one pool."""

    def __init__(self, pool: ConnectionPool) -> None:
        self._pool = pool
        self._turns = asyncio.Semaphore(_AT_ONCE)

    async def execute(self, *words: str | int) -> Any:
        """See `RedisClient`."""
        async with self._turns:
            try:
                connection = await self._pool.get_connection()
            except LIBRARY_ERRORS as error:
                raise NotSentError from error
            try:
                await connection.send_command(*words)
                answer = await connection.read_response()
            except BaseException as error:
                if not isinstance(error, ResponseError):  # the answer may come yet, and would be taken for another's
                    await connection.disconnect(nowait=True)
                raise
            finally:
                await self._pool.release(connection)
            return answer

    async def subscription(self) -> PubSub:
        """See `RedisClient`."""
        return PubSub(self._pool)

    async def close(self) -> None:
        """See `RedisClient`."""
        await self._pool.aclose()
        if isinstance(self._pool, SentinelConnectionPool):
            await self._pool.sentinel_manager.aclose()


class ClusterClient:
    """A cluster: each key has its server."""

    def __init__(self, cluster: RedisCluster) -> None:
        self._cluster = cluster
        self._turns = asyncio.Semaphore(_AT_ONCE)

    async def execute(self, *words: str | int) -> Any:
        """See `RedisClient`."""
        async with self._turns:
            try:
                await self._cluster.initialize()
            except LIBRARY_ERRORS as error:
                raise NotSentError from error
            return await self._cluster.execute_command(*words)

    async def subscription(self) -> PubSub:
        """See `RedisClient`."""
        await self._cluster.initialize()
        return self._cluster.pubsub()

    async def close(self) -> None:
        """See `RedisClient`."""
        await self._cluster.aclose()
