from __future__ import annotations

import pytest

from proxy.config.redis_url import RedisAddress, RedisNode, parse_redis_url


def nodes(*pairs: tuple[str, int]) -> tuple[RedisNode, ...]:
    return tuple(RedisNode(host, port) for host, port in pairs)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("redis://redis", RedisAddress(nodes=nodes(("redis", 6379)))),
        ("REDIS://Redis.Example:7000/3", RedisAddress(nodes=nodes(("redis.example", 7000)), database=3)),
        ("redis://127.0.0.1:6379/", RedisAddress(nodes=nodes(("127.0.0.1", 6379)))),
        ("redis://[::1]", RedisAddress(nodes=nodes(("::1", 6379)))),
        ("redis://[2001:db8::1]:7/1", RedisAddress(nodes=nodes(("2001:db8::1", 7)), database=1)),
        ("rediss://a:1", RedisAddress(nodes=nodes(("a", 1)), tls=True)),
        ("redis://:p%40ss@a", RedisAddress(nodes=nodes(("a", 6379)), password="p@ss")),
        ("redis://u:p:q@a", RedisAddress(nodes=nodes(("a", 6379)), username="u", password="p:q")),
        ("redis://u@a", RedisAddress(nodes=nodes(("a", 6379)), username="u")),
        ("redis://u:p@x@a", RedisAddress(nodes=nodes(("a", 6379)), username="u", password="p@x")),
        ("unix:///run/redis.sock", RedisAddress(path="/run/redis.sock")),
        ("unix://u:p@/run/r.sock?db=2", RedisAddress(path="/run/r.sock", username="u", password="p", database=2)),
        (
            "redis+sentinel://u:p@s1,s2:7/main/4",
            RedisAddress(
                topology="sentinel",
                nodes=nodes(("s1", 26379), ("s2", 7)),
                service="main",
                database=4,
                username="u",
                password="p",
            ),
        ),
        (
            "rediss+sentinel://s1/main?sentinel_username=x&sentinel_password=y%26z",
            RedisAddress(
                topology="sentinel",
                nodes=nodes(("s1", 26379)),
                tls=True,
                service="main",
                sentinel_username="x",
                sentinel_password="y&z",
            ),
        ),
        (
            "redis+cluster://a,b:7001,[::1]",
            RedisAddress(topology="cluster", nodes=nodes(("a", 6379), ("b", 7001), ("::1", 6379))),
        ),
        ("rediss+cluster://a/", RedisAddress(topology="cluster", nodes=nodes(("a", 6379)), tls=True)),
    ],
)  # fmt: skip
def test_an_address_is_read(text, expected):
    assert parse_redis_url(text) == expected


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "begins with none of the schemes"),
        ("hush", "begins with none of the schemes"),
        ("http://hush", "begins with none of the schemes"),
        ("redis:hush", "begins with none of the schemes"),
        ("redis+other://hush", "begins with none of the schemes"),
        ("redis://", "the host is missing"),
        ("redis://:hush@", "the host is missing"),
        ("redis://hush,", "the host is missing"),
        ("redis://a,b", "several hosts"),
        ("redis://a/hush", "is a number"),
        ("redis://a/-1", "is a number"),
        ("redis://a/1234567", "is a number"),
        ("redis://a:hush", "a port is a number"),
        ("redis://:hu/sh@a", "percent-encoded"),
        ("redis://::1", "in brackets"),
        ("redis://a b", "neither a name nor"),
        ("redis://a?ssl_cert_reqs=none", "timeouts and TLS have keys of their own"),
        ("redis://a?", "none"),
        ("redis://a#hush", "no fragment"),
        ("redis+sentinel://s1", "name of the service"),
        ("redis+sentinel://s1/main?hush=1", "only sentinel_username and sentinel_password"),
        ("redis+cluster://a/1", "one database only"),
        ("unix://run/redis.sock", "absolute"),
        ("unix:///a?timeout=3", "only db"),
    ],
)
def test_what_is_no_address_is_refused_and_not_shown(text, why):
    with pytest.raises(ValueError, match=why) as refused:
        parse_redis_url(text)
    assert "hush" not in str(refused.value)


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("redis://u:hush@a:1/2", "a:1"),
        ("redis://[::1]:1", "[::1]:1"),
        ("unix:///a/b", "unix:/a/b"),
        ("redis+sentinel://u:hush@s1,s2/main?sentinel_password=hush", "main by s1:26379,s2:26379"),
    ],
)
def test_people_are_told_the_place_and_no_password(text, place):
    address = parse_redis_url(text)
    assert address.place == place
    assert "hush" not in repr(address)
