"""What went wrong between us and Redis, in a sentence that says what mends it. Imported where a store is `redis`."""

from __future__ import annotations

import os
import socket
import ssl

from redis import exceptions

from proxy.tokens.store.redis_client import NotSentError

_LONGEST = 200
_DENIED = "The user executing the script can't"
"""How a script of Redis 7 is told that its user may not do something."""

_BY_WORD = {
    "OOM": "it is out of memory; raise its maxmemory, or give the sidecar a Redis of its own",
    "MISCONF": "it refuses writes because it cannot save to its disk; mend that disk",
    "NOREPLICAS": "it refuses writes because too few of its replicas are connected (min-replicas-to-write)",
    "READONLY": "it is a replica and takes no writes; name the primary in store.url, or let Sentinel name it "
    "(redis+sentinel://)",
    "LOADING": "it is still loading its data",
    "MASTERDOWN": "it is a replica that has lost its primary",
    "CLUSTERDOWN": "the cluster is down: some of its slots are served by nobody",
    "MOVED": "it is a node of a cluster; write redis+cluster:// in store.url",
    "CROSSSLOT": "it is a node of a cluster; write redis+cluster:// in store.url",
}


_WORDS: dict[type[BaseException], str] = {  # the library keeps the word that the server begins with to itself
    exceptions.ReadOnlyError: "READONLY",
    exceptions.OutOfMemoryError: "OOM",
    exceptions.BusyLoadingError: "LOADING",
    exceptions.MasterDownError: "MASTERDOWN",
    exceptions.ClusterDownError: "CLUSTERDOWN",
    exceptions.AskError: "MOVED",
}


def explained(error: BaseException) -> str:
    """Without the place, the user, or anything that was sent."""
    if isinstance(error, NotSentError):
        error = error.__cause__ or error
    text = " ".join(str(error).split())
    word = text.partition(" ")[0].rstrip(":")
    text = text.partition(" script: ")[0]
    if isinstance(error, exceptions.NoPermissionError) or word == "NOPERM" or _DENIED in text:
        return f"its user may not do what the store needs ({_bounded(text)}); docs/redis-store.md lists what to grant"
    if isinstance(error, exceptions.AuthenticationError | exceptions.AuthorizationError):
        return "it refuses the login; look at user and password in store.url, store.username, store.password"
    word = next((known for kind, known in _WORDS.items() if isinstance(error, kind)), word)
    if word in _BY_WORD:
        return _BY_WORD[word]
    if isinstance(error, exceptions.ResponseError):
        return f"it answers: {_bounded(text)}"
    return f"it cannot be reached: {_reason(error)}"


def _reason(error: BaseException) -> str:
    """Why there is no connection: what the system said, where it said anything."""
    seen: BaseException | None = error
    while seen is not None:
        if isinstance(seen, ssl.SSLCertVerificationError):
            return f"its certificate is not accepted ({seen.verify_message}); look at store.tls"
        if isinstance(seen, ssl.SSLError):
            reason = getattr(seen, "reason", None) or "no reason given"
            return f"TLS fails ({reason.lower().replace('_', ' ')}); look at store.tls"
        if isinstance(seen, TimeoutError | exceptions.TimeoutError):
            return "no answer in time"
        if isinstance(seen, OSError) and seen.strerror:
            known = seen.errno is not None and seen.errno > 0 and not isinstance(seen, socket.gaierror)
            return (os.strerror(seen.errno or 0) if known else seen.strerror).lower()
        seen = seen.__cause__ or seen.__context__
    text = " ".join(str(error).split())
    if isinstance(error, exceptions.ConnectionError) and "No master found" in text:
        return "the sentinels know no primary of that name, or cannot be reached"
    return _bounded(text[:1].lower() + text[1:]) or "the connection ended"


def _bounded(text: str) -> str:
    return text if len(text) <= _LONGEST else text[: _LONGEST - 1] + "…"
