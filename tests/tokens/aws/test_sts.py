"""Roles, from a service that verifies signatures with botocore."""

from __future__ import annotations

import datetime as dt
from email.utils import formatdate
from urllib.parse import parse_qs

import botocore.auth
import pytest
from aiohttp import web
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from support.clock import FakeClock

from proxy.auth.aws_keys import AwsKeys
from proxy.errors import CredentialRefused, CredentialUnavailable
from proxy.tokens.aws.keys import GivenKeys
from proxy.tokens.aws.sts import Role, RoleKeys
from proxy.tokens.http_client import HttpClient

BASE = AwsKeys(access_key_id="AKIDBASE", secret_access_key="b4se", session_token="base-session")
NAMESPACE = "https://sts.amazonaws.com/doc/2011-06-15/"
KEYS = (
    f'<AssumeRoleResponse xmlns="{NAMESPACE}"><AssumeRoleResult><AssumedRoleUser><Arn>arn:x</Arn></AssumedRoleUser>'
    "<Credentials><AccessKeyId>ASIA1</AccessKeyId><SecretAccessKey>r0le</SecretAccessKey>"
    "<SessionToken>session</SessionToken><Expiration>2027-01-15T09:00:00Z</Expiration></Credentials>"
    "</AssumeRoleResult></AssumeRoleResponse>"
)


def refusal(code):
    error = f"<Error><Code>{code}</Code><Message>s3cret</Message></Error>"
    return f'<ErrorResponse xmlns="{NAMESPACE}">{error}</ErrorResponse>'


class Service:
    """STS: signed requests must be signed as botocore signs them, at `clock`."""

    url: str

    def __init__(self, clock: FakeClock) -> None:
        self.clock = clock
        self.offset = 0.0
        self.answers: list[tuple[int, str]] = []
        self.asked: list[dict[str, str]] = []
        self.app = web.Application()
        self.app.router.add_post("/", self._answer)

    async def _answer(self, request: web.Request) -> web.Response:
        body = await request.read()
        self.asked.append({name: values[0] for name, values in parse_qs(body.decode()).items()})
        now = self.clock.wall() + self.offset
        date = {"Date": formatdate(now, usegmt=True)}
        if "Authorization" in request.headers:
            stamp = request.headers["X-Amz-Date"]
            stamped = dt.datetime.strptime(stamp, "%Y%m%dT%H%M%SZ").replace(tzinfo=dt.UTC).timestamp()
            if abs(stamped - now) > 300:
                return web.Response(
                    status=403,
                    text=refusal("SignatureDoesNotMatch").replace("s3cret", "Signature expired: x"),
                    headers=date,
                )
            assert request.headers["Authorization"] == self._expected(request, body, stamp)
        status, text = self.answers.pop(0) if self.answers else (200, KEYS)
        return web.Response(status=status, text=text, headers=date)

    def _expected(self, request: web.Request, body: bytes, stamp: str) -> str:
        names = ("Host", "Content-Type", "X-Amz-Date", "X-Amz-Content-SHA256", "X-Amz-Security-Token")
        headers = {name: request.headers[name] for name in names if name in request.headers}
        one = AWSRequest("POST", str(request.url), headers=headers, data=body)
        one.context["timestamp"] = stamp
        signer = botocore.auth.SigV4Auth(Credentials(BASE.access_key_id, BASE.secret_access_key), "sts", "eu-west-1")
        signature = signer.signature(signer.string_to_sign(one, signer.canonical_request(one)), one)
        signed = signer.signed_headers(signer.headers_to_sign(one))
        scope = signer.scope(one)
        return f"AWS4-HMAC-SHA256 Credential={scope}, SignedHeaders={signed}, Signature={signature}"


class Base:
    async def give(self) -> GivenKeys:
        return GivenKeys(BASE)


@pytest.fixture
async def service(aiohttp_server):
    service = Service(FakeClock())
    service.url = str((await aiohttp_server(service.app)).make_url("/"))
    return service


@pytest.fixture
async def client():
    client = HttpClient()
    yield client
    await client.close()


def role_keys(service, client, *, web_identity=None, **more):
    role = Role(
        arn="arn:aws:iam::123456789012:role/r", session_name="us", endpoint=service.url, region="eu-west-1", **more
    )
    base = Base() if web_identity is None else None
    return RoleKeys(role, client, service.clock, base=base, web_identity=web_identity)


async def test_a_role_is_assumed_with_a_signature_that_botocore_would_make(service, client):
    given = await role_keys(service, client, external_id="ex", duration=900).give()
    assert (given.keys.access_key_id, given.keys.secret_access_key, given.keys.session_token) == (
        "ASIA1",
        "r0le",
        "session",
    )
    assert given.expires_at == "2027-01-15T09:00:00Z"
    (asked,) = service.asked
    assert asked == {
        "Action": "AssumeRole", "Version": "2011-06-15", "RoleArn": "arn:aws:iam::123456789012:role/r",
        "RoleSessionName": "us", "DurationSeconds": "900", "ExternalId": "ex",
    }  # fmt: skip


async def test_a_web_identity_is_its_own_proof_and_is_read_anew_each_time(service, client):
    tokens = iter(["jwt-1\n", "jwt-2"])

    async def identity() -> str:
        return next(tokens)

    giver = role_keys(service, client, web_identity=identity)
    await giver.give()
    await giver.give()
    assert [asked["WebIdentityToken"] for asked in service.asked] == ["jwt-1", "jwt-2"]
    assert {asked["Action"] for asked in service.asked} == {"AssumeRoleWithWebIdentity"}


async def test_a_clock_that_is_wrong_is_learned_and_the_request_signed_once_more(service, client):
    service.offset = 3600.0
    assert (await role_keys(service, client).give()).keys.access_key_id == "ASIA1"
    assert len(service.asked) == 2


@pytest.mark.parametrize(
    ("status", "text", "error", "message"),
    [
        (403, refusal("AccessDenied"), CredentialRefused, "no keys for the role: AccessDenied$"),
        (400, refusal("ExpiredTokenException"), CredentialRefused, "ExpiredTokenException"),
        (400, refusal("Throttling"), CredentialUnavailable, "Throttling"),
        (400, refusal("IDPCommunicationError"), CredentialUnavailable, "IDPCommunicationError"),
        (400, refusal("s3cret"), CredentialRefused, "status 400"),
        (503, "upstream connect error", CredentialUnavailable, "status 503"),
        (200, "<Credentials/>", CredentialUnavailable, "status 200"),
        (200, '<!DOCTYPE x [<!ENTITY a "b">]><x>&a;</x>', CredentialUnavailable, "status 200"),
    ],
)
async def test_a_refusal_is_named_by_the_services_own_word_and_nothing_else_of_it(
    service, client, status, text, error, message
):
    service.answers.append((status, text))
    with pytest.raises(error, match=message) as caught:
        await role_keys(service, client).give()
    assert "s3cret" not in caught.value.detail
