"""Who may in: each API knows its own credential, and what must never be seen at its door."""

from __future__ import annotations

import time

import jwt

from proxy.clock import SystemClock
from proxy.sandbox.proofs import ProofRefused, Proofs
from proxy.sandbox.sandbox_server import Sandbox
from soak.order import PUSHED, SECURE
from soak.wire import Head

CLIENTS = {
    "alpha": "soak-alpha",
    "beta": "soak-beta",
    "bound": "soak-bound",
    SECURE: "soak-secure",
    PUSHED: "soak-pushed",
}
"""The client of the authorization server whose tokens an API takes; those of `bound` are bound to a key (RFC 9449)."""

API_KEY = "the-key-of-the-keyed-api"
CONSUMER_KEY = "the-consumer-of-the-signed-api"
SITES = (*CLIENTS, "key", "signed", "open")

OWN = b"Bearer the-callers-own"
"""What callers send as their own Authorization: it passes where no credential stands in its place."""

INJECTS_AUTHORIZATION = frozenset({*CLIENTS, "signed"})
_CREDENTIAL_FIELDS = frozenset({b"authorization", b"dpop", b"x-api-key"})
_EXPIRED_FOR = 2.0
"""Seconds of grace: a token goes out seconds before it expires, and the machine may be busy."""


class Gate:
    """`complaints`: credentials that were where they must not be, told without the credential."""

    def __init__(self, sandbox: Sandbox, authority: str) -> None:
        self.complaints: list[str] = []
        self._sandbox = sandbox
        self._authority = authority
        self._proofs = Proofs(SystemClock())

    def admits(self, site: str, head: Head) -> bytes | None:
        """None for a credential that is good, else the challenge of a 401 (RFC 6750 §3)."""
        keys, given = head.values(b"x-api-key"), head.values(b"authorization")
        if keys != ([API_KEY.encode()] if site == "key" else []):
            self.complaints.append(f"{site}: {len(keys)} API keys, or the wrong one")
        if bool(head.values(b"dpop")) != (site == "bound"):
            self.complaints.append(f"{site}: a proof of possession where none belongs, or none where one does")
        if site in CLIENTS:
            return self._token(site, head, given)
        if site == "signed":
            if len(given) != 1 or not given[0].startswith(b"OAuth ") or CONSUMER_KEY.encode() not in given[0]:
                self.complaints.append(f"{site}: not the signature of its consumer")
        elif any(value != OWN for value in given):
            self.complaints.append(f"{site}: somebody else's Authorization")
        return None

    def _token(self, site: str, head: Head, given: list[bytes]) -> bytes | None:
        kind = "DPoP" if site == "bound" else "Bearer"
        scheme, _, token = given[0].decode("latin-1").partition(" ") if len(given) == 1 else ("", "", "")
        try:
            claims = jwt.decode(token, options={"verify_signature": False})
        except jwt.PyJWTError:
            self.complaints.append(f"{site}: {len(given)} values of Authorization, or no token of this issuer")
            return b'Bearer error="invalid_request"'
        if scheme != kind or claims["client_id"] != CLIENTS[site]:
            self.complaints.append(f"{site}: a {scheme} token of {claims['client_id']}")
        if time.time() > claims["exp"] + _EXPIRED_FOR:
            self.complaints.append(f"{site}: a token that expired {time.time() - claims['exp']:.1f} s ago")
        if site == "bound":
            self._proof(head, token)
        if self._sandbox.ledger.access(token) is None:
            return f'{kind} error="invalid_token"'.encode()
        return None

    def _proof(self, head: Head, token: str) -> None:
        method, target, _ = head.first.split(b" ")
        try:
            self._proofs.check(
                b",".join(head.values(b"dpop")).decode("latin-1"),
                method=method.decode(),
                url=f"http://{self._authority}{target.partition(b'?')[0].decode('latin-1')}",
                nonce_window=None,
                access_token=token,
            )
        except ProofRefused as refused:
            self.complaints.append(f"bound: {refused}")


def account(head: Head) -> bytes:
    """A request as it arrived, without the credential, which is no business of the caller's."""
    kept = [line for line in head.lines if not _is_credential(line)]
    return b"\r\n".join([head.first, *kept, b"", b""])


def _is_credential(line: bytes) -> bool:
    name, _, value = line.partition(b":")
    if name.lower() == b"x-generation":  # the configuration's, which is reloaded all the time
        return True
    return name.lower() in _CREDENTIAL_FIELDS and value.strip() != OWN
