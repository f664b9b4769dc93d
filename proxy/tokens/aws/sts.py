"""Temporary keys of a role, from the Security Token Service (STS, API version 2011-06-15).

With a web identity the request is not signed: the identity's JWT is the proof (AssumeRoleWithWebIdentity). Otherwise it
is signed with the keys that there are (AssumeRole), and once more by the service's clock where it refuses ours.
"""

from __future__ import annotations

from urllib.parse import urlencode, urlsplit
from xml.etree.ElementTree import Element, ParseError

from defusedxml.common import DefusedXmlException
from defusedxml.ElementTree import fromstring
from msgspec import Struct

from proxy.auth.aws_keys import AwsKeys, as_text
from proxy.auth.aws_sigv4 import AllowedScopes, SigV4Scheme
from proxy.clock import Clock
from proxy.errors import CredentialRefused, CredentialUnavailable
from proxy.model import Answer, Moment, Request, Token, Verdict
from proxy.tokens.aws.keys import GivenKeys, KeyGiver
from proxy.tokens.http_client import HttpClient, Received
from proxy.tokens.parts import Read
from proxy.tokens.policy import retry_after

_TYPE = "application/x-www-form-urlencoded"
_OK, _SERVER_ERRORS = 200, 500
_PASSING = frozenset({"Throttling", "ThrottlingException", "RequestLimitExceeded", "IDPCommunicationError"})
_KNOWN = _PASSING | frozenset(
    {
        "AccessDenied", "ExpiredToken", "ExpiredTokenException", "IDPRejectedClaim", "IncompleteSignature",
        "InvalidAccessKeyId", "InvalidClientTokenId", "InvalidIdentityToken", "MalformedPolicyDocument",
        "RegionDisabledException", "RequestExpired", "SignatureDoesNotMatch", "ValidationError",
    }
)  # fmt: skip
"""Errors that are named in messages; whatever else the service writes is not repeated."""


class Role(Struct, frozen=True, kw_only=True):
    """What is asked for. `duration`: seconds; `endpoint`: the service's URL; `region`: what its signatures name."""

    arn: str
    session_name: str
    endpoint: str
    region: str
    duration: int = 3600
    external_id: str | None = None


class RoleKeys:
    """The keys of a role; `base` signs for them, or `web_identity` is the proof."""

    def __init__(
        self, role: Role, client: HttpClient, clock: Clock, *, base: KeyGiver | None, web_identity: Read | None
    ) -> None:
        self._role = role
        self._client = client
        self._clock = clock
        self._base = base
        self._web_identity = web_identity
        self._scheme = SigV4Scheme(AllowedScopes(role.region, "sts"))

    async def give(self) -> GivenKeys:
        """Raises CredentialUnavailable, or CredentialRefused with the service's own word for it."""
        role = self._role
        said = {
            "Action": "AssumeRole" if self._web_identity is None else "AssumeRoleWithWebIdentity",
            "Version": "2011-06-15",
            "RoleArn": role.arn,
            "RoleSessionName": role.session_name,
            "DurationSeconds": str(role.duration),
        }
        if role.external_id is not None:
            said["ExternalId"] = role.external_id
        if self._web_identity is not None:
            said["WebIdentityToken"] = (await self._web_identity()).strip()
            return self._read(await self._send(urlencode(said).encode(), []))
        if self._base is None:
            raise ValueError("a role is assumed with keys or with a web identity")
        return await self._signed(urlencode(said).encode(), (await self._base.give()).keys)

    async def _signed(self, body: bytes, keys: AwsKeys) -> GivenKeys:
        where = urlsplit(self._role.endpoint)
        authority, path = where.netloc.encode(), (where.path or "/").encode()
        section = b"\r\nHost: %b\r\nContent-Type: %b\r\n" % (authority, _TYPE.encode())
        request = Request(b"POST", where.scheme, authority, path, _TYPE.encode(), body, section=section)
        token = Token(access_token=as_text(keys))
        for _ in range(2):
            moment = Moment(self._clock.wall(), self._clock.octets)
            signed = self._scheme.sign(request, token, moment)
            received = await self._send(body, [(name.decode(), value.decode("latin-1")) for name, value in signed])
            fields = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in received.headers.items()]
            answer = Answer(received.status, fields, received.body)
            if self._scheme.judge(request, answer, signed) is not Verdict.RESIGN:
                break
        return self._read(received)

    async def _send(self, body: bytes, fields: list[tuple[str, str]]) -> Received:
        headers = [("Accept", "text/xml"), ("Content-Type", _TYPE), *fields]
        return await self._client.send("POST", self._role.endpoint, headers=headers, body=body, peer="STS endpoint")

    def _read(self, received: Received) -> GivenKeys:
        said = _texts(received.body)
        if received.status == _OK and said.get("AccessKeyId") and said.get("SecretAccessKey"):
            keys = AwsKeys(
                access_key_id=said["AccessKeyId"],
                secret_access_key=said["SecretAccessKey"],
                session_token=said.get("SessionToken"),
            )
            return GivenKeys(keys, said.get("Expiration"))
        code = said.get("Code", "")
        word = code if code in _KNOWN else f"status {received.status}"
        detail = f"The STS endpoint gave no keys for the role: {word}"
        if received.status == _OK or received.status >= _SERVER_ERRORS or code in _PASSING:
            error = CredentialUnavailable(detail)
            error.requested = retry_after(received.headers.get("Retry-After"), self._clock.wall())
            raise error
        raise CredentialRefused(detail)


def _texts(body: bytes) -> dict[str, str]:
    """The texts of an XML answer by their elements' names, whatever contains them; nothing where it is no XML."""
    try:
        root: Element = fromstring(body)
    except (ParseError, DefusedXmlException, ValueError, LookupError):
        return {}
    return {one.tag.rpartition("}")[2]: one.text.strip() for one in root.iter() if one.text and one.text.strip()}
