"""What the sandbox's handlers share: the script, the ledger, the clients, the counters, one clock."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import jwt
from cryptography.hazmat.primitives.asymmetric import ec

from proxy.clock import Clock
from proxy.sandbox.assertions import Assertions
from proxy.sandbox.clients import Client, Clients
from proxy.sandbox.counters import Counters
from proxy.sandbox.ledger import AccessToken, Family, Ledger
from proxy.sandbox.proofs import Proofs
from proxy.sandbox.script import Script

KEY_ID = "sandbox"


@dataclass(slots=True)
class SandboxState:
    """`issuer` is known once the listener is bound. The two servers have proofs of their own (RFC 9449 §8)."""

    clock: Clock
    users: dict[str, str] = field(repr=False)
    script: Script
    clients: Clients
    assertions: Assertions
    ledger: Ledger
    token_proofs: Proofs
    api_proofs: Proofs
    signing_key: ec.EllipticCurvePrivateKey = field(repr=False)
    counters: Counters = field(default_factory=Counters)
    issuer: str = ""

    def issue(self, family: Family, *, jkt: str | None = None, at_most: float | None = None) -> AccessToken:
        """Issue an access token as the settings say; `at_most`: its longest life in seconds."""
        settings = self.script.settings
        lifetime = settings.expires_in if at_most is None else min(at_most, settings.expires_in)
        value = self.ledger.random_value()
        if settings.jwt:
            value = self._signed(family, value, lifetime, jkt)
        return self.ledger.record(value, family, lifetime, jkt)

    def _signed(self, family: Family, token_id: str, lifetime: float, jkt: str | None) -> str:
        """RFC 9068 §2."""
        now = int(self.clock.wall())
        claims: dict[str, Any] = {
            "iss": self.issuer,
            "sub": family.subject,
            "client_id": family.client_id,
            "aud": list(family.audience) or self.issuer,
            "iat": now,
            "exp": now + int(lifetime),
            "jti": token_id,
            "scope": family.scope,
        }
        if jkt is not None:
            claims["cnf"] = {"jkt": jkt}
        return jwt.encode(claims, self.signing_key, "ES256", headers={"typ": "at+jwt", "kid": KEY_ID})


def make_state(clock: Clock, clients: tuple[Client, ...], users: dict[str, str]) -> SandboxState:
    """A new state with these clients and users."""
    assertions = Assertions(clock)
    return SandboxState(
        clock=clock,
        users=users,
        script=Script(),
        clients=Clients(clients, assertions),
        assertions=assertions,
        ledger=Ledger(clock),
        token_proofs=Proofs(clock),
        api_proofs=Proofs(clock),
        signing_key=ec.generate_private_key(ec.SECP256R1()),
    )
