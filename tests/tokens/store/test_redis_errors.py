"""Each failure says what mends it. The errors of a real server are met in test_redis and test_redis_client."""

from __future__ import annotations

import ssl

import pytest
from redis import exceptions

from proxy.tokens.store.redis_client import NotSentError
from proxy.tokens.store.redis_errors import explained


def caused(error: BaseException, cause: BaseException) -> BaseException:
    error.__context__ = cause
    return error


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (exceptions.AuthenticationError("invalid username-password pair"), "refuses the login"),
        (exceptions.NoPermissionError("this user has no permissions to run the 'get' command"), "'get' command"),
        (exceptions.ResponseError("NOPERM No permissions to access a key"), "may not do what the store needs"),
        (exceptions.OutOfMemoryError("command not allowed"), "raise its maxmemory"),
        (exceptions.ResponseError("MISCONF Redis is configured to save RDB snapshots"), "mend that disk"),
        (exceptions.ResponseError("NOREPLICAS Not enough good replicas to write."), "min-replicas-to-write"),
        (exceptions.ReadOnlyError("You can't write against a read only replica."), "name the primary"),
        (exceptions.BusyLoadingError("Redis is loading"), "still loading"),
        (exceptions.MasterDownError("Link with MASTER is down"), "lost its primary"),
        (exceptions.ClusterDownError("The cluster is down"), "slots"),
        (exceptions.MovedError("7000 127.0.0.1:7001"), "redis+cluster://"),
        (exceptions.ResponseError("something\nelse " + "x" * 300), "it answers: something else xxx"),
        (exceptions.TimeoutError("Timeout reading from a:1"), "no answer in time"),
        (TimeoutError(), "no answer in time"),
        (caused(exceptions.ConnectionError("Error 111"), ConnectionRefusedError(111, "Connection refused")), "refused"),
        (exceptions.ConnectionError("Connection closed by server."), "connection closed by server"),
        (exceptions.ConnectionError("No master found for 'main'"), "no primary of that name"),
        (exceptions.ConnectionError(""), "the connection ended"),
        (caused(exceptions.ConnectionError("x"), ssl.SSLError(1, "[SSL: WRONG_VERSION_NUMBER] wrong")), "TLS fails"),
        (exceptions.RedisClusterException("Redis Cluster cannot be connected"), "cannot be reached"),
    ],
)
def test_an_error_is_explained_in_one_bounded_line(error, said):
    text = explained(error)
    assert said in text
    assert "\n" not in text
    assert len(text) < 320


def test_what_was_never_sent_is_explained_by_why():
    error = NotSentError()
    error.__cause__ = exceptions.AuthenticationError("no")
    assert "refuses the login" in explained(error)
    assert "cannot be reached" in explained(NotSentError())
