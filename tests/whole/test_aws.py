"""boto3 and the AWS CLI, with keys that mean nothing, through the whole program to a server that checks signatures."""

from __future__ import annotations

import asyncio
import io
import os
import sys
import threading
import urllib.request
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from boto3.s3.transfer import TransferConfig
from botocore.exceptions import ClientError
from support.aws import MotoServer
from support.process import Program

ODD_KEYS = [
    "a b",
    "ü/€",
    "plus+and&equals=",
    "(paren)*'!",
    "per%20cent",
    "~tilde._-",
    "sl//ash",
    "dots/./x",
    "q?uery#frag",
]
SERVICES = ("s3", "dynamodb", "sqs", "sts")


@pytest.fixture
async def aws():
    async with MotoServer() as running:
        yield running


def config(aws: MotoServer, credentials: Mapping[str, object]) -> dict[str, object]:
    """A route for each service, each with its own credential of these keys."""
    return {
        "routes": [{"match": f"/{name}", "upstream": aws.url, "credential": name} for name in SERVICES],
        "credentials": {
            name: {"type": "aws_sigv4", "service": name, "region": "us-east-1", **credentials} for name in SERVICES
        },
    }


def static(aws: MotoServer) -> dict[str, object]:
    return {"access_key_id": aws.user[0], "secret_access_key": {"env": "AWS_SECRET"}}


async def test_boto3_and_the_cli_work_with_every_service_and_never_see_a_key(aws, tmp_path):
    environ = {"AWS_SECRET": aws.user[1]}
    async with Program(config(aws, static(aws)), tmp_path, environ=environ) as program:
        await asyncio.to_thread(_objects, aws, program.url)
        await asyncio.to_thread(_tables_and_queues, aws, program.url)
        await _cli(program.url, tmp_path)
        assert aws.user[1] not in program.log


def _objects(aws: MotoServer, url: str) -> None:
    s3 = aws.client("s3", f"{url}/s3")
    s3.create_bucket(Bucket="bucket")
    body = os.urandom(8 * 1024 * 1024)
    s3.put_object(Bucket="bucket", Key="eight", Body=body)
    assert s3.get_object(Bucket="bucket", Key="eight")["Body"].read() == body
    parts = os.urandom(11 * 1024 * 1024)
    s3.upload_fileobj(
        io.BytesIO(parts),
        "bucket",
        "parts",
        Config=TransferConfig(multipart_threshold=5 * 1024 * 1024, multipart_chunksize=5 * 1024 * 1024),
    )
    assert s3.get_object(Bucket="bucket", Key="parts")["Body"].read() == parts
    for key in ODD_KEYS:
        s3.put_object(
            Bucket="bucket", Key=key, Body=key.encode(), ContentType="text/plain; charset=utf-8", Metadata={"a": "b  c"}
        )
        assert s3.get_object(Bucket="bucket", Key=key)["Body"].read() == key.encode()
        assert s3.head_object(Bucket="bucket", Key=key)["ContentLength"] == len(key.encode())
    listed = s3.list_objects_v2(Bucket="bucket", Prefix="", MaxKeys=100, EncodingType="url")
    assert listed["KeyCount"] == len(ODD_KEYS) + 2
    presigned = s3.generate_presigned_url("get_object", Params={"Bucket": "bucket", "Key": "a b"})
    with urllib.request.urlopen(presigned) as answer:
        assert answer.read() == b"a b"
    s3.delete_object(Bucket="bucket", Key="a b")
    with pytest.raises(ClientError, match="NoSuchKey"):
        s3.get_object(Bucket="bucket", Key="a b")


def _tables_and_queues(aws: MotoServer, url: str) -> None:
    dynamodb = aws.client("dynamodb", f"{url}/dynamodb")
    dynamodb.create_table(
        TableName="t",
        KeySchema=[{"AttributeName": "k", "KeyType": "HASH"}],
        AttributeDefinitions=[{"AttributeName": "k", "AttributeType": "S"}],
        BillingMode="PAY_PER_REQUEST",
    )
    dynamodb.put_item(TableName="t", Item={"k": {"S": "ü"}, "v": {"N": "1"}})
    assert dynamodb.get_item(TableName="t", Key={"k": {"S": "ü"}})["Item"]["v"] == {"N": "1"}
    sqs = aws.client("sqs", f"{url}/sqs")
    queue = sqs.create_queue(QueueName="q")["QueueUrl"]
    sqs.send_message(QueueUrl=queue, MessageBody="hello & <welcome>")
    assert sqs.receive_message(QueueUrl=queue)["Messages"][0]["Body"] == "hello & <welcome>"
    assert aws.client("sts", f"{url}/sts").get_caller_identity()["Arn"].endswith("user/us")


async def _cli(url: str, directory: Path) -> None:
    (directory / "up").write_bytes(b"x" * 1024)
    environ = {
        **os.environ, "AWS_ACCESS_KEY_ID": "none", "AWS_SECRET_ACCESS_KEY": "none", "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_MAX_ATTEMPTS": "1", "AWS_CONFIG_FILE": os.devnull, "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
    }  # fmt: skip
    command = (
        sys.executable,
        "-W",
        "ignore",
        "-m",
        "awscli",
        "--endpoint-url",
        f"{url}/s3",
        "s3",
        "cp",
        "up",
        "s3://bucket/by cli",
    )
    process = await asyncio.create_subprocess_exec(
        *command, cwd=directory, env=environ, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
    )
    said, _ = await process.communicate()
    assert process.returncode == 0, said.decode()


async def test_a_role_is_assumed_and_its_keys_are_shown_by_state_alone(aws, tmp_path, fetch):
    role = {"role_arn": aws.role, "endpoint": aws.url, "session_name": "sidecar"}
    given = config(aws, {**static(aws), "assume_role": role})
    async with Program(given, tmp_path, environ={"AWS_SECRET": aws.user[1]}) as program:
        sts = aws.client("sts", f"{program.url}/sts")
        identity = await asyncio.to_thread(sts.get_caller_identity)
        assert identity["Arn"].endswith("assumed-role/ours/sidecar")
        _, _, status = await fetch(f"{program.admin}/status")
        assert b'"state":"fresh"' in status.replace(b" ", b"")
        assert b"SecretAccessKey" not in status


async def test_a_role_that_is_refused_is_named_in_the_log_and_the_status(aws, tmp_path, fetch):
    role = {"role_arn": aws.role, "endpoint": aws.url}
    keys = {"access_key_id": "AKIAWRONG", "secret_access_key": {"env": "AWS_SECRET"}, "assume_role": role}
    async with Program(config(aws, keys), tmp_path, environ={"AWS_SECRET": "wrong"}) as program:
        await program.logged("The STS endpoint gave no keys for the role: InvalidClientTokenId")
        _, _, status = await fetch(f"{program.admin}/status")
        assert b"InvalidClientTokenId" in status
        status_code, _, _ = await fetch(f"{program.url}/sts/")
        assert status_code in (502, 503)


async def test_a_thousand_mixed_calls_see_no_error_while_the_keys_rotate_each_second(aws, tmp_path):
    file = tmp_path / "credentials"

    def write(key: tuple[str, str]) -> None:
        fresh = tmp_path / "fresh"
        fresh.write_text(f"[default]\naws_access_key_id={key[0]}\naws_secret_access_key={key[1]}\n")
        fresh.replace(file)

    write(aws.user)
    async with Program(config(aws, {"profile": {"file": "credentials"}}), tmp_path) as program:
        over = threading.Event()

        def rotate() -> int:
            current, rotations = aws.user, 0
            while not over.wait(1.0):
                fresh = aws.new_key()
                write(fresh)
                aws.delete_key(current[0], by=fresh)
                aws.user = current = fresh
                rotations += 1
            return rotations

        rotating = asyncio.get_running_loop().run_in_executor(None, rotate)
        try:
            calls = await asyncio.to_thread(_mixed_calls, aws, program.url)
        finally:
            over.set()
        assert calls == 1000
        assert await rotating > 0


def _mixed_calls(aws: MotoServer, url: str) -> int:
    s3, sts, sqs = (aws.client(name, f"{url}/{name}") for name in ("s3", "sts", "sqs"))
    s3.create_bucket(Bucket="mixed")
    queue = sqs.create_queue(QueueName="mixed")["QueueUrl"]

    def one(number: int) -> int:
        match number % 4:
            case 0:
                s3.put_object(Bucket="mixed", Key=f"k {number}", Body=b"x" * number)
            case 1:
                s3.list_objects_v2(Bucket="mixed", MaxKeys=1)
            case 2:
                sts.get_caller_identity()
            case _:
                sqs.send_message(QueueUrl=queue, MessageBody=str(number))
        return 1

    with ThreadPoolExecutor(4) as pool:
        return sum(pool.map(one, range(1000)))
