"""The npm package oidc-provider as a subprocess: a real authorization server to run against.

    async with OidcProvider(ttl=60) as provider:
        seed = await provider.mint_refresh_token("basic")
        …                                             # provider.token_endpoint, provider.secrets["basic"]
        assert (await provider.stats())["token_requests"] == 1

Tests that use it are marked `peer("oidc_provider")`.
"""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import aiohttp
from joserfc.jwk import ECKey

HERE = Path(__file__).parent
API = "urn:api"
"""The resource that opaque tokens are for; `urn:api:jwt` gets JWTs."""

_PATIENCE = 90.0
_CREDENTIALS, _REFRESH = "client_credentials", "refresh_token"
_DEVICE_CODE = "urn:ietf:params:oauth:grant-type:device_code"
_EXCHANGE = "urn:ietf:params:oauth:grant-type:token-exchange"

SECRETS = {
    "basic": "s/+:% &=@~ ,;!",  # what a client that does not form-encode gets wrong (RFC 6749 §2.3.1)
    "post": "s/+:% &=@~ ,;?",
    "secret_jwt": "a secret of more than thirty-two octets",
    "resource-server": "whoever asks for introspection",
}


class OidcProvider:
    """Clients `basic`, `post`, `secret_jwt`, `key` (private_key_jwt), `dpop` (basic, bound tokens only), `public`, and
    `login` (public, of people).

    `settings`: interactive, ttl, rotate, require_nonce, delay_ms, lose_answers; see provider.mjs.
    """

    def __init__(self, **settings: Any) -> None:
        self.secrets = {**SECRETS, "dpop": SECRETS["basic"]}
        self.client_key = ECKey.generate_key("P-256", {"kid": "client-key", "use": "sig", "alg": "ES256"})
        self.issuer = ""
        self._settings = settings
        self._said: list[str] = []
        self._process: asyncio.subprocess.Process | None = None
        self._reader: asyncio.Task[None] | None = None
        self._session: aiohttp.ClientSession | None = None

    @property
    def token_endpoint(self) -> str:
        return f"{self.issuer}/token"

    async def set(self, **settings: Any) -> None:
        """Change settings at once."""
        await self._control("POST", "settings", settings)

    async def mint_refresh_token(self, client_id: str, **grant: Any) -> str:
        """A refresh token as if its owner had just consented in a browser. `grant`: account, scope, resource, jkt."""
        answer = await self._control("POST", "refresh-token", {"client_id": client_id, **grant})
        token: str = answer["refresh_token"]
        return token

    async def forget_access_tokens(self) -> int:
        """All at once, as if they had been revoked one by one; returns how many there were."""
        count: int = (await self._control("POST", "forget"))["forgotten"]
        return count

    async def stats(self) -> dict[str, Any]:
        """token_requests, most_at_once, by_grant, statuses, grants_revoked."""
        return await self._control("GET", "stats")

    async def introspect(self, token: str) -> dict[str, Any]:
        """RFC 7662, as a resource server would."""
        return await self._form("/token/introspection", token=token)

    async def revoke(self, token: str, client_id: str) -> None:
        """RFC 7009, as the client `basic`, `post` or `dpop` would."""
        await self._form("/token/revocation", client_id, token=token)

    async def start(self) -> None:
        """Start it, and wait until it listens."""
        self._process = await asyncio.create_subprocess_exec(
            "node",
            str(HERE / "provider.mjs"),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        assert self._process.stderr is not None
        self._reader = asyncio.create_task(self._listen(self._process.stderr))
        self._process.stdin.write(json.dumps(self._first_line()).encode() + b"\n")
        async with asyncio.timeout(_PATIENCE):
            line = await self._process.stdout.readline()
        if not line:
            await self.stop()
            raise AssertionError("oidc-provider did not start:\n" + "".join(self._said))
        self.issuer = f"http://127.0.0.1:{json.loads(line)['port']}"
        self._session = aiohttp.ClientSession()

    async def stop(self) -> None:
        """End it; nothing is left."""
        if self._session is not None:
            await self._session.close()
        if self._process is not None and self._reader is not None:
            if self._process.returncode is None:
                self._process.kill()
            await self._process.wait()
            await self._reader
            if self._process.stdin is not None:
                self._process.stdin.close()

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.stop()
        if kind is not None:
            sys.stderr.write("---- what oidc-provider said ----\n" + "".join(self._said))

    def _first_line(self) -> dict[str, Any]:
        def client(client_id: str, method: str, grants: list[str], **more: Any) -> dict[str, Any]:
            secret = {"client_secret": self.secrets[client_id]} if client_id in self.secrets else {}
            return {
                "client_id": client_id,
                "token_endpoint_auth_method": method,
                "grant_types": [*grants, "authorization_code"],
                "response_types": ["code"],
                "id_token_signed_response_alg": "ES256",
                "redirect_uris": ["https://app.example/callback"],
                **secret,
                **more,
            }

        everything = [_CREDENTIALS, _REFRESH, _EXCHANGE]
        public_key = self.client_key.as_dict(private=False)
        return {
            "settings": self._settings,
            "jwks": [ECKey.generate_key("P-256", {"kid": "server-key", "use": "sig"}).as_dict(private=True)],
            "clients": [
                client("basic", "client_secret_basic", everything),
                client("post", "client_secret_post", everything),
                client("secret_jwt", "client_secret_jwt", everything),
                client("key", "private_key_jwt", everything, jwks={"keys": [public_key]}),
                client("dpop", "client_secret_basic", everything, dpop_bound_access_tokens=True),
                client("public", "none", [_REFRESH]),
                client(
                    "login",
                    "none",
                    [_REFRESH, *([_DEVICE_CODE] if self._settings.get("interactive") else [])],
                    application_type="native",
                    redirect_uris=["http://127.0.0.1/callback"],
                ),
                client("resource-server", "client_secret_post", []),
            ],
        }

    async def _control(self, method: str, path: str, document: dict[str, Any] | None = None) -> dict[str, Any]:
        assert self._session is not None
        async with self._session.request(method, f"{self.issuer}/control/{path}", json=document) as answer:
            assert answer.status == 200, await answer.text()
            result: dict[str, Any] = await answer.json()
            return result

    async def _form(self, path: str, client_id: str = "resource-server", **members: str) -> dict[str, Any]:
        assert self._session is not None
        secret = self.secrets[client_id]
        headers = {}
        if client_id in ("basic", "dpop"):
            headers["Authorization"] = aiohttp.encode_basic_auth(client_id, _form_encoded(secret))
        else:
            members |= {"client_id": client_id, "client_secret": secret}
        async with self._session.post(self.issuer + path, data=members, headers=headers) as answer:
            assert answer.status == 200, await answer.text()
            result: dict[str, Any] = await answer.json() if answer.content_type == "application/json" else {}
            return result

    async def _listen(self, stream: asyncio.StreamReader) -> None:
        async for line in stream:
            self._said.append(line.decode("utf-8", "replace"))


def _form_encoded(text: str) -> str:
    return aiohttp.FormData({"x": text})().decode().removeprefix("x=")
