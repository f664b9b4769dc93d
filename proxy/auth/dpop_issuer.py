"""DPoP at the authorization server (RFC 9449 §5, §8): proofs that bind new tokens to our key."""

from __future__ import annotations

from collections.abc import Mapping
from urllib.parse import urlsplit

from msgspec import structs

from proxy.auth.dpop import proof
from proxy.auth.dpop_key import DpopKeys
from proxy.auth.nonces import Nonces
from proxy.auth.skew import ServerTime
from proxy.auth.uri import as_uri, origin_of
from proxy.model import Answer, Moment


class TokenEndpointProofs:
    """One authorization server: proofs for its endpoints, nonces of its own. One object per credential.

    Call `proof` for each attempt and `learn` for each answer. `time`: the server's time as far as it is known, which
    client assertions for the same server may share.
    """

    def __init__(self, keys: DpopKeys, time: ServerTime | None = None) -> None:
        self.keys = keys
        self.time = time or ServerTime()
        self._nonces = Nonces()

    def proof(self, url: str, moment: Moment, method: str = "POST") -> str:
        """The value of the `DPoP` field for a request to `url`; the current key signs, and no token is hashed."""
        origin, htu = _split(url)
        moment = structs.replace(moment, wall=self.time.stamp(moment.wall))
        return proof(self.keys.current, method, htu, moment, nonce=self._nonces.of(origin))

    def learn(self, url: str, answer: Answer) -> bool:
        """Take the nonce of any answer, good or bad. True if it is new."""
        return self._nonces.learn(_split(url)[0], answer.fields)


def answer_of(status: int, headers: Mapping[str, str]) -> Answer:
    """An HTTP client's answer as `learn` wants it."""
    fields = [(name.encode("ascii", "replace"), value.encode("ascii", "replace")) for name, value in headers.items()]
    return Answer(status, fields)


def _split(url: str) -> tuple[str, str]:
    """Origin, and the URL without user info, query and fragment; its path stays as it is spelled."""
    parts = urlsplit(url)
    origin = origin_of(parts.scheme, parts.netloc.rpartition("@")[2].encode())
    return origin, as_uri(origin, (parts.path or "/").encode())
