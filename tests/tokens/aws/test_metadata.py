"""The metadata endpoints of containers and instances, played on loopback."""

from __future__ import annotations

import socket

import pytest
from aiohttp import web

from proxy.config.schema import Duration, TokenTimeouts
from proxy.errors import CredentialRefused, CredentialUnavailable
from proxy.tokens.aws.metadata import MetadataKeys
from proxy.tokens.http_client import HttpClient

KEYS = {
    "AccessKeyId": "ASIA1", "SecretAccessKey": "s3cret", "Token": "session", "Expiration": "2027-01-15T09:00:00Z",
}  # fmt: skip


class Machine:
    """An instance's endpoint (version 2 alone) and a container's, on one socket."""

    url: str

    def __init__(self) -> None:
        self.role = "my-role"
        self.said: dict[str, object] = {"Code": "Success", **KEYS}
        self.status = 200
        self.asked: list[tuple[str, str, str | None]] = []
        self.app = web.Application()
        self.app.router.add_put("/latest/api/token", self._session)
        self.app.router.add_get("/latest/meta-data/iam/security-credentials/", self._role)
        self.app.router.add_get("/latest/meta-data/iam/security-credentials/{role}", self._instance)
        self.app.router.add_get("/container/{id}", self._container)

    async def _session(self, request: web.Request) -> web.Response:
        self.asked.append(("PUT", request.path, request.headers.get("X-aws-ec2-metadata-token-ttl-seconds")))
        return web.Response(text="session-token")

    async def _role(self, request: web.Request) -> web.Response:
        if request.headers.get("X-aws-ec2-metadata-token") != "session-token":
            return web.Response(status=401)
        return web.Response(text=self.role)

    async def _instance(self, request: web.Request) -> web.Response:
        if (
            request.headers.get("X-aws-ec2-metadata-token") != "session-token"
            or request.match_info["role"] != self.role
        ):
            return web.Response(status=401)
        return web.json_response(self.said, status=self.status)

    async def _container(self, request: web.Request) -> web.Response:
        self.asked.append(("GET", request.path, request.headers.get("Authorization")))
        return web.json_response(self.said, status=self.status)


@pytest.fixture
async def machine(aiohttp_server):
    machine = Machine()
    machine.url = str((await aiohttp_server(machine.app)).make_url("/")).rstrip("/")
    return machine


@pytest.fixture
async def client():
    client = HttpClient(timeouts=TokenTimeouts(connect=Duration(2), total=Duration(5)))
    yield client
    await client.close()


async def test_an_instance_is_asked_in_a_session_for_the_keys_of_its_role(machine, client):
    given = await MetadataKeys(client, {"AWS_EC2_METADATA_SERVICE_ENDPOINT": machine.url + "/"}).give()
    assert (given.keys.access_key_id, given.keys.secret_access_key, given.keys.session_token) == (
        "ASIA1", "s3cret", "session",
    )  # fmt: skip
    assert given.expires_at == "2027-01-15T09:00:00Z"
    assert machine.asked == [("PUT", "/latest/api/token", "21600")]


@pytest.mark.parametrize("by", ["variable", "file", "nothing"])
async def test_a_container_is_asked_with_its_authorization(machine, client, tmp_path, by):
    environ = {"AWS_CONTAINER_CREDENTIALS_FULL_URI": f"{machine.url}/container/7"}
    if by == "variable":
        environ["AWS_CONTAINER_AUTHORIZATION_TOKEN"] = "proof"
    if by == "file":
        (tmp_path / "token").write_text("proof\n")
        environ["AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE"] = str(tmp_path / "token")
    given = await MetadataKeys(client, environ).give()
    assert given.keys.access_key_id == "ASIA1"
    assert machine.asked == [("GET", "/container/7", None if by == "nothing" else "proof")]


@pytest.mark.parametrize(
    "url",
    ["http://api.example/keys", "http://10.0.0.1/keys", "ftp://127.0.0.1/", "http:///keys", "http://[::1", "keys", "https://"],
)  # fmt: skip
async def test_a_container_endpoint_that_anybody_could_answer_for_is_not_asked(client, url):
    with pytest.raises(CredentialRefused, match="FULL_URI"):
        await MetadataKeys(client, {"AWS_CONTAINER_CREDENTIALS_FULL_URI": url}).give()


@pytest.mark.parametrize(
    ("said", "status", "error", "message"),
    [
        (KEYS, 500, CredentialUnavailable, "answered with status 500"),
        (KEYS, 404, CredentialRefused, "answered with status 404"),
        ({"Code": "Failed", **KEYS}, 200, CredentialRefused, "holds no keys"),
        ({"Code": "Success"}, 200, CredentialRefused, "holds no keys"),
        ([1], 200, CredentialRefused, "holds no keys"),
    ],
)
async def test_an_answer_without_keys_is_told_apart(machine, client, said, status, error, message):
    machine.said, machine.status = said, status
    with pytest.raises(error, match=message) as caught:
        await MetadataKeys(client, {"AWS_EC2_METADATA_SERVICE_ENDPOINT": machine.url}).give()
    assert "s3cret" not in caught.value.detail


async def test_an_instance_without_a_role_says_so(machine, client):
    machine.role = ""
    with pytest.raises(CredentialRefused, match="has no role"):
        await MetadataKeys(client, {"AWS_EC2_METADATA_SERVICE_ENDPOINT": machine.url}).give()


async def test_an_authorization_that_cannot_be_had_or_sent_is_told(machine, client, tmp_path):
    environ = {"AWS_CONTAINER_CREDENTIALS_FULL_URI": f"{machine.url}/container/7"}
    with pytest.raises(CredentialUnavailable, match="AUTHORIZATION_TOKEN_FILE cannot be read"):
        await MetadataKeys(client, environ | {"AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE": str(tmp_path / "no")}).give()
    with pytest.raises(CredentialRefused, match="control characters"):
        await MetadataKeys(client, environ | {"AWS_CONTAINER_AUTHORIZATION_TOKEN": "a\r\nb: c"}).give()


async def test_an_endpoint_that_hangs_is_a_clear_error_in_time():
    """Nobody takes the connection: a listening socket that accepts nothing."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        quick = HttpClient(timeouts=TokenTimeouts(connect=Duration(0.2), total=Duration(0.2)))
        try:
            where = f"http://127.0.0.1:{silent.getsockname()[1]}"
            with pytest.raises(CredentialUnavailable, match="instance metadata endpoint did not answer in time"):
                await MetadataKeys(quick, {"AWS_EC2_METADATA_SERVICE_ENDPOINT": where}).give()
        finally:
            await quick.close()
