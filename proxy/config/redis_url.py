"""Where Redis is, as `store.url` says it. Pure: text in, a struct out; no message holds any part of the text.

    redis://[user:password@]host[:6379][/database]                  one server
    redis+sentinel://[user:password@]host[:26379],…/service[/database]    whichever server Sentinel calls the primary
    redis+cluster://[user:password@]host[:6379],…                   a cluster, known by some of its nodes
    unix:///path[?db=0]                                             one server on this machine

`rediss://`, `rediss+sentinel://` and `rediss+cluster://` are the same over TLS. User and password are percent-encoded.
Sentinels that want a login of their own get `?sentinel_username=…&sentinel_password=…`.
"""

from __future__ import annotations

import re
from typing import Literal
from urllib.parse import unquote

from msgspec import Struct

from proxy.config.address import parse_address

Topology = Literal["single", "sentinel", "cluster"]

_SCHEME = re.compile(r"(redis|rediss)(?:\+(sentinel|cluster))?://(.*)", re.IGNORECASE | re.DOTALL)
_PORT = 6379
_SENTINEL_PORT = 26379
_SENTINEL_LOGIN = ("sentinel_username", "sentinel_password")
_SHAPES = (
    "redis://[user:password@]host[:6379][/0], rediss:// for TLS, redis+sentinel://host:26379,…/service[/0], "
    "redis+cluster://host:6379,…, or unix:///path"
)


class RedisNode(Struct, frozen=True):
    """One server: an IPv6 address stands without brackets."""

    host: str
    port: int


class RedisAddress(Struct, frozen=True, kw_only=True):
    """`nodes`: the server, the sentinels, or some nodes of the cluster; none for the unix socket `path`.

    `service`: what the sentinels call the servers. `sentinel_username` and `sentinel_password`: for the sentinels.
    """

    topology: Topology = "single"
    nodes: tuple[RedisNode, ...] = ()
    path: str | None = None
    tls: bool = False
    database: int = 0
    username: str | None = None
    password: str | None = None
    service: str | None = None
    sentinel_username: str | None = None
    sentinel_password: str | None = None

    @property
    def place(self) -> str:
        """Where it is, for people: no user, no password."""
        if self.path is not None:
            return f"unix:{self.path}"
        nodes = ",".join(
            f"[{node.host}]:{node.port}" if ":" in node.host else f"{node.host}:{node.port}" for node in self.nodes
        )
        return nodes if self.service is None else f"{self.service} by {nodes}"

    def __repr__(self) -> str:
        """Without the passwords."""
        return f"RedisAddress({self.place})"


def parse_redis_url(text: str) -> RedisAddress:
    """Raises ValueError: a sentence that says what is wrong and shows nothing of the text."""
    if text.startswith("unix://"):
        return _unix(text.removeprefix("unix://"))
    found = _SCHEME.fullmatch(text)
    if found is None:
        raise ValueError(f"this is no address of Redis: it begins with none of the schemes of {_SHAPES}")
    tls, kind = found[1].lower() == "rediss", (found[2] or "single").lower()
    rest, question, query = found[3].partition("?")
    if "#" in rest + query:
        raise ValueError("a Redis URL has no fragment; `#` in a password is written %23")
    authority, _, path = rest.partition("/")
    if "@" in path:
        raise ValueError("a special character in user or password is percent-encoded: `/` is written %2F")
    login, _, hosts = authority.rpartition("@")
    username, password = _login(login)
    options = _options(query, _SENTINEL_LOGIN if kind == "sentinel" else ()) if question else {}
    service, database = _service(path) if kind == "sentinel" else (None, _database(path))
    if kind == "cluster" and path.strip("/"):
        raise ValueError("a Redis cluster has one database only: nothing stands behind its nodes")
    nodes = tuple(_node(host, _SENTINEL_PORT if kind == "sentinel" else _PORT) for host in hosts.split(","))
    if kind == "single" and len(nodes) > 1:
        raise ValueError("several hosts are sentinels (redis+sentinel://) or nodes of a cluster (redis+cluster://)")
    return RedisAddress(
        topology="sentinel" if kind == "sentinel" else "cluster" if kind == "cluster" else "single",
        nodes=nodes,
        tls=tls,
        database=database,
        username=username,
        password=password,
        service=service,
        **options,
    )


def _unix(rest: str) -> RedisAddress:
    path, _, query = rest.partition("?")
    login, at, path = path.rpartition("@") if "@" in path.partition("/")[0] else ("", "", path)
    if not path.startswith("/"):
        raise ValueError("the path of a unix socket is absolute: unix:///run/redis/redis.sock")
    options = _options(query, ("db",)) if query else {}
    username, password = _login(login) if at else (None, None)
    return RedisAddress(
        path=unquote(path), database=_database(options.get("db", "")), username=username, password=password
    )


def _login(text: str) -> tuple[str | None, str | None]:
    username, colon, password = text.partition(":")
    if not colon:
        return (unquote(username) or None), None
    return (unquote(username) or None), (unquote(password) or None)


def _options(query: str, known: tuple[str, ...]) -> dict[str, str]:
    options = {}
    for pair in query.split("&"):
        name, equals, value = pair.partition("=")
        if name not in known or not equals:
            told = f"only {' and '.join(known)}" if known else "none"
            raise ValueError(f"of parameters behind `?` it takes {told}; timeouts and TLS have keys of their own")
        options[name] = unquote(value)
    return options


def _service(path: str) -> tuple[str, int]:
    service, _, database = path.partition("/")
    if not service:
        raise ValueError(
            "the name of the service that the sentinels watch is missing: redis+sentinel://host:26379/NAME"
        )
    return unquote(service), _database(database)


def _database(text: str) -> int:
    text = text.strip("/")
    if not text:
        return 0
    if not (text.isascii() and text.isdigit() and len(text) < 6):  # noqa: PLR2004 - far more than anybody configures
        raise ValueError("the database behind the host is a number: redis://host/0")
    return int(text)


def _node(text: str, port: int) -> RedisNode:
    if not text:
        raise ValueError("the host is missing")
    bare = text.rpartition("]")[2] if text.startswith("[") else text
    try:
        address = parse_address(text if ":" in bare else f"{text}:{port}")
    except ValueError as error:
        raise ValueError(f"the host: {error}") from None
    return RedisNode(address.host, address.port)
