"""Two verifiers of OAuth 1 requests as they came: oauthlib's own server side, and one made from RFC 5849 alone.

oauthlib refuses queries that real apps send; what `signature_base` makes of them is Python's own form decoder's word.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import re
from typing import Any
from urllib.parse import parse_qsl, quote, unquote

from oauthlib.oauth1 import RequestValidator, ResourceEndpoint, SignatureOnlyEndpoint

from support.recording_upstream import Received

FORM = "application/x-www-form-urlencoded"
CONSUMER_KEY = "consumerKey0123456789"
CONSUMER_SECRET = "c&s+ /"
TOKEN = "accessToken0123456789"
TOKEN_SECRET = "t s%"

_PARAMETER = re.compile(r'(\w+)="((?:[^"\\]|\\.)*)"')


def credential(*, token: bool = True, **more: Any) -> dict[str, Any]:
    """An `oauth1` credential with the keys above, as a user would write it."""
    made: dict[str, Any] = {"type": "oauth1", "consumer_key": CONSUMER_KEY}
    if not str(more.get("signature_method", "")).startswith("RSA"):
        made["consumer_secret"] = {"value": CONSUMER_SECRET}
    if token:
        made |= {"token": {"value": TOKEN}, "token_secret": {"value": TOKEN_SECRET}}
    return made | more


def said(request: Received) -> dict[str, str]:
    """The parameters of the one `Authorization: OAuth` field, decoded."""
    field = request.field(b"authorization")
    assert field is not None
    assert field.startswith(b"OAuth ")
    return {name: unquote(value) for name, value in _PARAMETER.findall(field.decode())}


def signature_base(request: Received, origin: str, path: bytes | None = None) -> str:
    """RFC 5849 §3.4.1 for a request that came; `path`: where the verifier sees another one."""
    sent, _, query = request.target.partition(b"?")
    pairs = [(n, v) for n, v in said(request).items() if n not in ("realm", "oauth_signature")]
    encoded = [(quote(name, safe=""), quote(value, safe="")) for name, value in pairs]
    sources = [query]
    if (request.field(b"content-type") or b"").startswith(FORM.encode()):
        sources.append(bytes(request.body))
    for source in sources:
        for name, value in parse_qsl(source.decode("latin-1"), keep_blank_values=True, encoding="latin-1"):
            encoded.append((quote(name.encode("latin-1"), safe=""), quote(value.encode("latin-1"), safe="")))
    method = request.line.split(b" ")[0].decode()
    uri = quote(origin, safe="") + quote(sent if path is None else path, safe="")
    return f"{method}&{uri}&{quote('&'.join(f'{n}={v}' for n, v in sorted(encoded)), safe='')}"


def is_signed(request: Received, origin: str, path: bytes | None = None) -> bool:
    """Whether the HMAC-SHA1 signature is over exactly this request."""
    key = f"{quote(CONSUMER_SECRET, safe='')}&{quote(TOKEN_SECRET, safe='')}"
    digest = hmac.digest(key.encode(), signature_base(request, origin, path).encode(), hashlib.sha1)
    return hmac.compare_digest(said(request)["oauth_signature"], base64.b64encode(digest).decode())


class OauthlibServer(RequestValidator):
    """oauthlib's endpoints with their strict defaults (timestamps within ten minutes, nonces once), and one client."""

    enforce_ssl = False
    dummy_client = dummy_access_token = "dummy"

    def __init__(self, public_key: str = "") -> None:
        super().__init__()
        self._public_key = public_key
        self._nonces: set[str] = set()

    def accepts(self, request: Received, url: str, realm: str | None = None) -> bool:
        """A whole verification, with or without a token as the request says; `realm`: which it must name."""
        method, target, _ = request.line.decode().split(" ")
        headers = {"Authorization": (request.field(b"authorization") or b"").decode()}
        if (content_type := request.field(b"content-type")) is not None:
            headers["Content-Type"] = content_type.decode()
        asked = (url + target, method, bytes(request.body).decode(), headers)
        if "oauth_token" in said(request):
            valid, seen = ResourceEndpoint(self).validate_protected_resource_request(*asked, realms=[realm])
        else:
            valid, seen = SignatureOnlyEndpoint(self).validate_request(*asked)
        return bool(valid) and seen.realm == realm

    # ---- what oauthlib asks ----

    def get_client_secret(self, *_: object) -> str:
        return CONSUMER_SECRET

    def get_access_token_secret(self, *_: object) -> str:
        return TOKEN_SECRET

    def get_rsa_key(self, *_: object) -> str:
        return self._public_key

    def validate_client_key(self, client_key: str, _: object) -> bool:
        return client_key == CONSUMER_KEY

    def validate_access_token(self, _client_key: str, token: str, _: object) -> bool:
        return token == TOKEN

    def validate_realms(self, *_: object, **_named: object) -> bool:
        return True  # `accepts` compares it: oauthlib hands the wanted ones in, not the request's

    def validate_timestamp_and_nonce(
        self,
        client_key: str,  # noqa: ARG002
        timestamp: object,  # noqa: ARG002
        nonce: str,
        request: object,  # noqa: ARG002
        request_token: str | None = None,  # noqa: ARG002
        access_token: str | None = None,  # noqa: ARG002
    ) -> bool:
        known = nonce in self._nonces
        self._nonces.add(nonce)
        return not known
