"""DPoP at the authorization server (RFC 9449 §5, §8): what binds a new token to our key."""

from __future__ import annotations

from collections.abc import Mapping
from urllib.parse import urlsplit

from proxy.auth.dpop import proof
from proxy.auth.dpop_key import DpopKeys
from proxy.auth.nonces import Nonces
from proxy.auth.uri import as_uri, origin_of
from proxy.model import Moment


class TokenEndpointProofs:
    """One authorization server: proofs for its endpoints, nonces of its own. One object per credential.

    For each attempt `proof`, and for each answer `learn`; a request that was refused with `use_dpop_nonce` is worth one
    more attempt (with a new client assertion) where `learn` said that there is another nonce now.
    """

    def __init__(self, keys: DpopKeys) -> None:
        self.keys = keys
        self._nonces = Nonces()

    def proof(self, url: str, moment: Moment, method: str = "POST") -> str:
        """The value of the `DPoP` field for a request to `url`; the current key signs, and no token is hashed."""
        origin, htu = _split(url)
        return proof(self.keys.current, method, htu, moment, nonce=self._nonces.of(origin))

    def learn(self, url: str, headers: Mapping[str, str]) -> bool:
        """Take the nonce of any answer, good or bad. True where it is another one than the last request carried."""
        fields = [
            (name.encode("ascii", "replace"), value.encode("ascii", "replace")) for name, value in headers.items()
        ]
        return self._nonces.learn(_split(url)[0], fields)


def _split(url: str) -> tuple[str, str]:
    """Origin, and the URL without user info, query and fragment; its path stays as it is spelled."""
    parts = urlsplit(url)
    origin = origin_of(parts.scheme, parts.netloc.rpartition("@")[2].encode())
    return origin, as_uri(origin, (parts.path or "/").encode())
