"""Pieces of configuration files, as the tests of the whole program write them."""

from __future__ import annotations

from typing import Any


def client_credentials(
    token_endpoint: str, client_id: str = "sandbox", secret: str = "sandbox-secret", **more: Any
) -> dict[str, Any]:
    """An oauth2 credential, its secret plainly in the file."""
    return {
        "type": "oauth2",
        "grant_type": "client_credentials",
        "token_endpoint": token_endpoint,
        "client_id": client_id,
        "client_secret": {"value": secret},
        **more,
    }


def one_route(upstream: str, credential: dict[str, Any], match: str = "/api", **more: Any) -> dict[str, Any]:
    """A configuration with one route and one credential, named `main`."""
    return {
        "routes": [{"match": match, "upstream": upstream, "credential": "main", **more}],
        "credentials": {"main": credential},
    }
