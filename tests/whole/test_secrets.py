"""Nothing that the program says, in a log or an answer, holds a secret; whatever goes wrong."""

from __future__ import annotations

import asyncio
import json
import signal

from support.process import Program
from support.settings import client_credentials

SECRET = "client-secret-7c0ffee7"
QUERY = "query-secret-7c0ffee7"
APP = "app-secret-7c0ffee7"
STATIC = "static-secret-7c0ffee7"


async def test_no_secret_is_in_any_log_answer_metric_or_status(sandbox, upstream, tmp_path, fetch):
    """Row 53."""
    good = client_credentials(sandbox.token_endpoint)
    wrong = client_credentials(sandbox.token_endpoint, secret=SECRET)
    dead = client_credentials("http://127.0.0.1:9/token", secret=SECRET)
    config = {
        "log": {"level": "debug", "access": "all"},
        "routes": [
            {"match": "/good", "upstream": sandbox.url + "/api", "credential": "good"},
            {"match": "/wrong", "upstream": sandbox.url + "/api", "credential": "wrong"},
            {"match": "/dead", "upstream": sandbox.url + "/api", "credential": "dead"},
            {"match": "/static", "upstream": upstream.url, "credential": "static"},
            {"match": "/down", "upstream": "http://127.0.0.1:9", "credential": "static"},
        ],
        "credentials": {
            "good": good,
            "wrong": wrong,
            "dead": dead,
            "static": {"type": "bearer", "token": {"value": STATIC}},
        },
    }
    said: list[str] = []
    upstream.script(b"HTTP/1.1 401 No\r\nContent-Length: 0\r\n\r\n")
    upstream.script(b"nonsense " + STATIC.encode() + b"\r\n\r\n")
    sandbox.script.change(token_faults=[{"kind": "garbage"}, {"kind": "error_in_200", "error": QUERY}])
    async with Program(config, tmp_path, ready="/healthz") as program:
        headers = {"Authorization": f"Bearer {APP}", "Cookie": APP, "X-Key": APP}
        paths = ["good", "good", "wrong", "dead", "static", "static", "static", "down", "none"]
        for path in paths:
            status, fields, body = await fetch(f"{program.url}/{path}/x?key={QUERY}", "POST", headers=headers, data=APP)
            if status >= 400:
                said.append(f"{list(fields.items())} {body!r}")
        async with asyncio.timeout(60):
            while (await fetch(program.url + "/good/x"))[0] != 200:
                await asyncio.sleep(0.1)
        for page in ("/status", "/metrics", "/config", "/", "/readyz"):
            _, fields, body = await fetch(program.admin + page)
            said.append(f"{list(fields.items())} {body.decode()}")
        program.file.write_text(program.file.read_text().replace("client_secret:", "client_secrt:"))
        _, _, body = await fetch(program.admin + "/reload", "POST")
        said.append(body.decode())
        program.signal(signal.SIGHUP)
        await program.logged("client_secrt", times=2)
    said.append(program.log)
    tokens = [field.decode() for request in upstream.requests for field in request.all(b"authorization")]
    issued = list(sandbox.ledger._access)
    assert issued
    assert tokens
    secrets = {SECRET, QUERY, APP, STATIC, "sandbox-secret", *issued}
    whole = "\n".join(said)
    assert json.dumps("/wrong/x") in whole
    leaked = {secret[:12] for secret in secrets if secret in whole}
    assert not leaked
