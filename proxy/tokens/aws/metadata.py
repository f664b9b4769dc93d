"""Keys from the metadata endpoint of a container (ECS, EKS Pod Identity) or of an instance (IMDSv2).

Which one there is follows from the environment, as in every AWS SDK: AWS_CONTAINER_CREDENTIALS_RELATIVE_URI or
AWS_CONTAINER_CREDENTIALS_FULL_URI name the container's; otherwise the instance is asked, at
AWS_EC2_METADATA_SERVICE_ENDPOINT if that is set. Sources: the AWS SDKs and Tools Reference Guide, "Container credential
provider" and "IMDS credential provider".
"""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping
from urllib.parse import urlsplit

import msgspec

from proxy.auth.aws_keys import AwsKeys
from proxy.auth.header import may_be_valued
from proxy.errors import CredentialRefused, CredentialUnavailable
from proxy.tokens.aws.keys import GivenKeys, text_of
from proxy.tokens.http_client import HttpClient

_CONTAINER_HOST = "http://169.254.170.2"
_CONTAINER_ADDRESSES = frozenset(map(ipaddress.ip_address, ("169.254.170.2", "169.254.170.23", "fd00:ec2::23")))
_INSTANCE_HOST = "http://169.254.169.254"
_SESSION_SECONDS = "21600"
_KEYS_AT = "/latest/meta-data/iam/security-credentials/"
_OK = 200


class _Said(msgspec.Struct, rename="pascal"):
    """What both endpoints answer; `code` is the instance's alone."""

    access_key_id: str = ""
    secret_access_key: str = ""
    token: str = ""
    expiration: str | float | None = None
    code: str = "Success"


class MetadataKeys:
    """The keys of the role that this machine or container runs under."""

    def __init__(self, client: HttpClient, environ: Mapping[str, str]) -> None:
        """`client`: without a proxy, which would have a role of its own."""
        self._client = client
        self._environ = environ

    async def give(self) -> GivenKeys:
        """Raises CredentialUnavailable where the endpoint does not answer, CredentialRefused where it has no keys."""
        relative = self._environ.get("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI")
        full = self._environ.get("AWS_CONTAINER_CREDENTIALS_FULL_URI")
        if relative:
            return await self._container(_CONTAINER_HOST + relative)
        if full:
            if not _trusted(full):
                raise CredentialRefused(
                    "AWS_CONTAINER_CREDENTIALS_FULL_URI names a host that gives no keys to this one"
                )
            return await self._container(full)
        return await self._instance()

    async def _container(self, url: str) -> GivenKeys:
        token = self._environ.get("AWS_CONTAINER_AUTHORIZATION_TOKEN")
        file = self._environ.get("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE")
        if file:
            try:
                token = text_of(file).strip()
            except (OSError, UnicodeDecodeError):
                raise CredentialUnavailable("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE cannot be read") from None
        if token and not may_be_valued(token.encode()):
            raise CredentialRefused("The container's authorization token contains control characters")
        return _read(await self._get(url, {"Authorization": token} if token else {}, "container metadata endpoint"))

    async def _instance(self) -> GivenKeys:
        host = self._environ.get("AWS_EC2_METADATA_SERVICE_ENDPOINT", "").rstrip("/") or _INSTANCE_HOST
        peer = "instance metadata endpoint"
        asked = {"X-aws-ec2-metadata-token-ttl-seconds": _SESSION_SECONDS}
        session = await self._get(f"{host}/latest/api/token", asked, peer, method="PUT")
        proof = {"X-aws-ec2-metadata-token": session.decode("latin-1").strip()}
        role = (await self._get(host + _KEYS_AT, proof, peer)).decode("latin-1").split("\n")[0].strip()
        if not role:
            raise CredentialRefused("The instance has no role")
        return _read(await self._get(host + _KEYS_AT + role, proof, peer))

    async def _get(self, url: str, headers: Mapping[str, str], peer: str, method: str = "GET") -> bytes:
        answer = await self._client.send(method, url, headers=headers.items(), peer=peer)
        if answer.status == _OK:
            return answer.body
        detail = f"The {peer} answered with status {answer.status}"
        if answer.status in (400, 401, 403, 404):
            raise CredentialRefused(detail)
        raise CredentialUnavailable(detail)


def _read(body: bytes) -> GivenKeys:
    try:
        said = msgspec.json.decode(body, type=_Said)
    except (msgspec.DecodeError, RecursionError):
        raise CredentialRefused("The metadata endpoint's answer holds no keys") from None
    if said.code != "Success" or not (said.access_key_id and said.secret_access_key):
        raise CredentialRefused("The metadata endpoint's answer holds no keys")
    keys = AwsKeys(
        access_key_id=said.access_key_id, secret_access_key=said.secret_access_key, session_token=said.token or None
    )
    return GivenKeys(keys, said.expiration)


def _trusted(url: str) -> bool:
    """Over plain HTTP only loopback and the containers' own addresses: anybody on the way could give other keys."""
    try:
        parts = urlsplit(url)
        host = parts.hostname or ""
        if parts.scheme != "http" or host == "localhost":
            return parts.scheme in ("http", "https") and bool(host)
        address = ipaddress.ip_address(host)
    except ValueError:
        return False
    return address.is_loopback or address in _CONTAINER_ADDRESSES
