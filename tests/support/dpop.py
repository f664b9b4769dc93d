"""A verifier of DPoP proofs (RFC 9449 §4.3), built on joserfc alone."""

from __future__ import annotations

import json
import warnings
from typing import Any

from joserfc import jws
from joserfc.errors import SecurityWarning
from joserfc.jwk import import_key
from joserfc.jws import JWSRegistry

_ALGORITHMS = ["ES256", "ES384", "EdDSA", "PS256"]


class _Registry(JWSRegistry):
    """The public part of an RSA key makes a longer header than joserfc expects."""

    max_header_length = 2048


_REGISTRY = _Registry(algorithms=_ALGORITHMS)


def payload_of(compact: bytes, jwk: dict[str, Any]) -> bytes:
    """The payload of a JWS, after its signature was verified with that public key. Raises otherwise."""
    with warnings.catch_warnings():
        warnings.simplefilter(
            "ignore", SecurityWarning
        )  # RFC 9864 renames EdDSA; RFC 9449 servers know it by this name
        return jws.deserialize_compact(compact, import_key(jwk), registry=_REGISTRY).payload


def verified(proof: bytes | str) -> dict[str, Any]:
    """The claims of a proof that verifies with the key in its own header, and that key's thumbprint as `jkt`."""
    compact = proof.encode() if isinstance(proof, str) else proof
    head = jws.extract_compact(compact, registry=_REGISTRY).headers()
    assert head["typ"] == "dpop+jwt"
    assert not {"d", "p", "q", "dp", "dq", "qi", "k"} & head["jwk"].keys()
    claims: dict[str, Any] = json.loads(payload_of(compact, head["jwk"]))
    return {**claims, "jkt": import_key(head["jwk"]).thumbprint()}
