"""The unit, run by a real systemd as its own machine would: with its credentials, its sandbox and its notifications."""

from __future__ import annotations

import os
import sys

import pytest
import yaml
from support.booted_systemd import boot
from support.process import free_port

pytestmark = [
    pytest.mark.peer("systemd-analyze"),
    pytest.mark.skipif(os.geteuid() != 0 or sys.platform != "linux", reason="only root on Linux boots a system"),
]

TRIAL = """
systemctl start auth-sidecar; code=$?; test $code = 0 || systemctl status --no-pager auth-sidecar; echo "start $code"
systemctl show auth-sidecar -p ActiveState,StatusText,WatchdogUSec
/opt/auth-sidecar/bin/auth-sidecar -c /etc/auth-sidecar/asked.yaml healthcheck; echo "health $?"
echo '{"access_token": "t", "expires_in": 600}' |
    /opt/auth-sidecar/bin/auth-sidecar -c /etc/auth-sidecar/asked.yaml token push pushed \\
    --guard-file /etc/auth-sidecar/secrets/crm-client-secret > /dev/null; echo "pushed $?"
stat -L -c '%a' /var/lib/auth-sidecar /var/lib/auth-sidecar/tokens /var/lib/auth-sidecar/tokens/pushed.json
systemctl reload auth-sidecar; echo "reload $?"
echo 'nonsense: 1' >> /etc/auth-sidecar/config.yaml
systemctl reload auth-sidecar 2>/dev/null; test $? -ne 0 && echo "refused"
systemctl show auth-sidecar -p ActiveState,StatusText
systemctl stop auth-sidecar; echo "stop $?"
systemctl show auth-sidecar -p ActiveState,Result
cat /said-by-program >&2
"""


def test_the_unit_starts_reloads_and_stops_as_it_is_shipped(repository):
    credential = {"file": "${CREDENTIALS_DIRECTORY}/crm-client-secret"}
    config = {
        "listen": f"127.0.0.1:{free_port()}",
        "admin": {"listen": f"127.0.0.1:{free_port()}"},
        "store": {"type": "file", "path": "/var/lib/auth-sidecar/tokens"},
        "routes": [{"match": "/x", "upstream": "http://127.0.0.1:9", "credential": "key"}],
        "credentials": {
            "key": {"type": "header", "name": "X-Key", "value": credential},
            "pushed": {"type": "external", "update": {"secret": credential}},
        },
    }
    asked = {**config, "credentials": {}, "routes": [{"match": "/x", "upstream": "http://127.0.0.1:9"}]}
    interpreter = os.path.realpath(sys.executable)
    program = f'#!/bin/sh\nPYTHONPATH={":".join(filter(None, sys.path))} exec {interpreter} -m proxy "$@"\n'
    here = "[Service]\nProtectHome=no\nStandardOutput=append:/said-by-program\nStandardError=append:/said-by-program\n"
    said = boot(
        {
            "etc/systemd/system/auth-sidecar.service": (repository / "deploy/systemd/auth-sidecar.service").read_text(),
            "etc/systemd/system/auth-sidecar.service.d/here.conf": here,
            "opt/auth-sidecar/bin/auth-sidecar": program,
            "etc/auth-sidecar/config.yaml": yaml.safe_dump(config),
            "etc/auth-sidecar/asked.yaml": yaml.safe_dump(asked),
            "etc/auth-sidecar/secrets/crm-client-secret": "s3cret",
        },
        TRIAL,
        needed=[interpreter, *filter(None, sys.path)],
    )
    told = said.partition('{"time"')[0].splitlines()
    assert told[:5] == ["start 0", "WatchdogUSec=30s", "StatusText=serving", "ActiveState=active", "health 0"], said
    assert told[5:] == [
        "pushed 0",
        "700",
        "700",
        "600",
        "reload 0",
        "refused",
        "StatusText=serving; the last reload was refused, and the log says why",
        "ActiveState=active",
        "stop 0",
        "Result=success",
        "ActiveState=inactive",
    ], said
    assert "s3cret" not in said
