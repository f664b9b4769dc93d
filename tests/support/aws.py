"""AWS on loopback: moto as a server that checks signatures and permissions as IAM does.

async with MotoServer() as aws:
    aws.url                     # of all services
    aws.user                    # the access key of a user who may do everything: (id, secret)
    aws.role                    # the ARN of a role that this user may assume
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
from types import TracebackType
from typing import Any, Self

import aiohttp
import boto3
from botocore.config import Config

from support.process import free_port

_ALL = json.dumps({"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "*", "Resource": "*"}]})
_ANYBODY = json.dumps(
    {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Principal": {"AWS": "*"}, "Action": "sts:AssumeRole"}]}
)
_SERVE = (
    "import sys; sys.argv = ['moto_server', '-H', '127.0.0.1', '-p', sys.argv[1]]; from moto.server import main; main()"
)
ONCE = Config(retries={"max_attempts": 0}, s3={"addressing_style": "path"})
"""No attempt of the SDK's own makes up for an error."""


class MotoServer:
    """All services of AWS that the tests need, at one URL."""

    user: tuple[str, str]
    role: str

    def __init__(self) -> None:
        self._port = free_port()
        self.url = f"http://127.0.0.1:{self._port}"
        self._process: asyncio.subprocess.Process | None = None

    def client(self, service: str, endpoint: str | None = None, keys: tuple[str, str] = ("none", "none")) -> Any:
        """A boto3 client; without `endpoint` it asks this server itself."""
        return boto3.client(
            service,
            endpoint_url=endpoint or self.url,
            region_name="us-east-1",
            aws_access_key_id=keys[0],
            aws_secret_access_key=keys[1],
            config=ONCE,
        )

    def new_key(self) -> tuple[str, str]:
        """One more access key of the user."""
        key = self.client("iam", keys=self.user).create_access_key(UserName="us")["AccessKey"]
        return key["AccessKeyId"], key["SecretAccessKey"]

    def delete_key(self, identifier: str, by: tuple[str, str]) -> None:
        """A key that is refused from now on; `by`: another one."""
        self.client("iam", keys=by).delete_access_key(UserName="us", AccessKeyId=identifier)

    async def __aenter__(self) -> Self:
        self._process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-W", "ignore", "-c", _SERVE, str(self._port)),
            env={**os.environ, "MOTO_ENABLE_ISO_REGIONS": "false"},
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.DEVNULL,
        )
        try:
            async with asyncio.timeout(90), aiohttp.ClientSession() as http:
                while not await self._answers(http):
                    await asyncio.sleep(0.05)
                await asyncio.to_thread(self._people)
                async with http.post(
                    f"{self.url}/moto-api/reset-auth", data=b"0", headers={"Content-Type": "text/plain"}
                ) as done:
                    assert done.status == 200, await done.text()
        except BaseException:
            await self.__aexit__(None, None, None)
            raise
        return self

    async def _answers(self, http: aiohttp.ClientSession) -> bool:
        try:
            async with http.get(f"{self.url}/moto-api/data.json") as answer:
                return answer.status == 200
        except aiohttp.ClientConnectionError:
            return False

    def _people(self) -> None:
        iam = self.client("iam")
        iam.create_user(UserName="us")
        iam.put_user_policy(UserName="us", PolicyName="all", PolicyDocument=_ALL)
        key = iam.create_access_key(UserName="us")["AccessKey"]
        self.user = key["AccessKeyId"], key["SecretAccessKey"]
        self.role = iam.create_role(RoleName="ours", AssumeRolePolicyDocument=_ANYBODY)["Role"]["Arn"]
        iam.put_role_policy(RoleName="ours", PolicyName="all", PolicyDocument=_ALL)

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._process is not None:
            if self._process.returncode is None:
                self._process.kill()
            await self._process.wait()
