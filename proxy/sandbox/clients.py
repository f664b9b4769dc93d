"""The registered clients and their authentication at the token endpoint (RFC 6749 §2.3, RFC 7523 §2.2). Pure."""

from __future__ import annotations

import base64
import hmac
from collections.abc import Iterable, Mapping
from typing import Any, Literal
from urllib.parse import unquote_plus

from msgspec import Struct, field

from proxy.sandbox.assertions import AssertionRefused, Assertions
from proxy.sandbox.refusal import Refusal, invalid_client

ASSERTION_TYPE = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"

METHODS = ("client_secret_basic", "client_secret_post", "client_secret_jwt", "private_key_jwt", "none")


class Client(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One client, in the words of RFC 7591 §2. Without `token_endpoint_auth_method` every method that it has keys for.

    `client_secret` is a demonstration's: it is readable at `/control`.
    """

    client_id: str
    client_secret: str | None = None
    jwks: dict[str, Any] | None = None
    token_endpoint_auth_method: (
        Literal["client_secret_basic", "client_secret_post", "client_secret_jwt", "private_key_jwt", "none"] | None
    ) = None
    scope: str = ""

    @property
    def public(self) -> bool:
        """Whether it has no credentials (RFC 6749 §2.1)."""
        return self.token_endpoint_auth_method == "none"  # noqa: S105 - the name of a method

    def __repr__(self) -> str:
        """Without the secret."""
        return f"Client({self.client_id!r})"


DEFAULT_CLIENTS = (
    Client(client_id="sandbox", client_secret="sandbox-secret"),  # noqa: S106 - published with the documentation
    Client(client_id="sandbox-public", token_endpoint_auth_method="none"),  # noqa: S106 - the name of a method
)


class Credentials(Struct, frozen=True):
    """The parts of a request that authenticate its client: header fields and form members."""

    authorization: str | None
    form: Mapping[str, str] = field(default_factory=dict)

    def __repr__(self) -> str:
        """It holds secrets."""
        return "Credentials()"


class Clients:
    """The registered clients."""

    def __init__(self, clients: Iterable[Client], assertions: Assertions) -> None:
        self._clients = {client.client_id: client for client in clients}
        self._assertions = assertions

    def register(self, client: Client) -> None:
        """Add a client; it replaces one with the same identifier."""
        self._clients[client.client_id] = client

    def names(self) -> list[str]:
        """All identifiers."""
        return list(self._clients)

    def secret(self, client_id: str) -> str | None:
        """The secret, for signatures made with it."""
        client = self._clients.get(client_id)
        return client.client_secret if client else None

    def jwks(self, client_id: str) -> dict[str, Any] | None:
        """The public keys."""
        client = self._clients.get(client_id)
        return client.jwks if client else None

    def authenticate(self, given: Credentials, audiences: Iterable[str]) -> Client:
        """The authenticated client of a request. It must use exactly one method, the one that it is registered with.

        Raises Refusal: invalid_client, or invalid_request for two methods at once (RFC 6749 §2.3).
        """
        form = given.form
        used = [
            name
            for name, present in (
                ("Authorization", given.authorization is not None),
                ("client_secret", "client_secret" in form),
                ("client_assertion", "client_assertion" in form),
            )
            if present
        ]
        if len(used) > 1:
            raise Refusal("invalid_request", f"more than one client authentication: {', '.join(used)}")
        if given.authorization is not None:
            return self._by_basic(given.authorization)
        if "client_assertion" in form:
            return self._by_assertion(form, audiences)
        client = self._clients.get(form.get("client_id", ""))
        if "client_secret" in form:
            return self._by_secret(client, form["client_secret"], "client_secret_post")
        if client is None or not client.public:
            raise invalid_client("client authentication is missing")
        return client

    def _by_basic(self, authorization: str) -> Client:
        """Identifier and secret are form-encoded before they are joined (RFC 6749 §2.3.1)."""
        scheme, _, encoded = authorization.partition(" ")
        try:
            pair = base64.b64decode(encoded.strip(), validate=True).decode()
        except ValueError:  # no base64, no ASCII to begin with, or no UTF-8 within
            raise invalid_client("malformed Basic credentials", basic=True) from None
        name, colon, secret = pair.partition(":")
        if scheme.lower() != "basic" or not colon:
            raise invalid_client("malformed Basic credentials", basic=True)
        client = self._clients.get(unquote_plus(name))
        return self._by_secret(client, unquote_plus(secret), "client_secret_basic")

    @staticmethod
    def _by_secret(client: Client | None, secret: str, method: str) -> Client:
        expected = (client.client_secret if client else None) or ""
        right = hmac.compare_digest(secret.encode(), expected.encode())
        if not right or not expected or client is None or client.token_endpoint_auth_method not in (None, method):
            raise invalid_client("unknown client or wrong secret", basic=method == "client_secret_basic")
        return client

    def _by_assertion(self, form: Mapping[str, str], audiences: Iterable[str]) -> Client:
        if form.get("client_assertion_type") != ASSERTION_TYPE:
            raise invalid_client("unknown client_assertion_type")
        try:
            claims = self._assertions.check(
                form["client_assertion"], secret=self.secret, jwks=self.jwks, audiences=audiences
            )
        except AssertionRefused as refused:
            raise invalid_client(str(refused)) from None
        client = self._clients.get(str(claims["sub"]))
        if client is None or claims["iss"] != claims["sub"] or form.get("client_id", claims["sub"]) != claims["sub"]:
            raise invalid_client("issuer and subject of a client assertion are the client")
        if client.token_endpoint_auth_method not in (None, "client_secret_jwt", "private_key_jwt"):
            raise invalid_client("this client authenticates otherwise")
        if "jti" not in claims:
            raise invalid_client("a client assertion needs a jti")
        return client
