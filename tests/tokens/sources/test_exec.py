"""Real commands; the time of expiry against a fake clock."""

from __future__ import annotations

import datetime as dt
import json
import sys

import pytest
from support.clock import FakeClock

from proxy.errors import CredentialRefused, CredentialUnavailable
from proxy.model import Token
from proxy.tokens.sources.exec import ExecSource
from proxy.tokens.token_response import NOTHING, TokenPair


def stamp(clock: FakeClock, seconds: float) -> str:
    return dt.datetime.fromtimestamp(clock.wall() + seconds, dt.UTC).isoformat().replace("+00:00", "Z")


def credential(version: str = "v1", **status: object) -> str:
    return json.dumps(
        {"kind": "ExecCredential", "apiVersion": f"client.authentication.k8s.io/{version}", "status": status}
    )


def printing(text: str) -> list[str]:
    return [sys.executable, "-c", "import sys; sys.stdout.write(sys.argv[1])", text]


@pytest.mark.parametrize("version", ["v1", "v1beta1"])
async def test_a_token_lives_as_long_as_its_exec_credential_says(version):
    clock = FakeClock()
    text = credential(version, token="t-1", expirationTimestamp=stamp(clock, 900))
    token = (await ExecSource(printing(text), clock).fetch(NOTHING)).token
    assert (token.access_token, token.lifetime) == ("t-1", 900)
    assert (token.expires_wall, token.expires_elapsed) == (clock.wall() + 900, clock.elapsed() + 900)


async def test_a_token_without_a_time_stays_usable_and_is_renewed_as_configured():
    source = ExecSource(printing(credential(token="t-1")), FakeClock(), assumed=120)
    token = (await source.fetch(NOTHING)).token
    assert (token.expires_wall, token.lifetime) == (None, 120)
    previous = Token(access_token="t-0", lifetime=900.0, expires_wall=1.0)
    assert (await source.fetch(TokenPair(previous))).token.lifetime == 900


async def test_a_byte_order_mark_before_the_json_is_forgiven():
    token = (await ExecSource(printing("\ufeff" + credential(token="t-1")), FakeClock()).fetch(NOTHING)).token
    assert token.access_token == "t-1"


async def test_the_command_runs_anew_for_each_token(tmp_path):
    code = (
        "import json, os, pathlib, sys\n"
        "runs = pathlib.Path(sys.argv[1])\n"
        "runs.write_text(runs.read_text() + 'x' if runs.exists() else 'x')\n"
        "info = json.loads(os.environ['KUBERNETES_EXEC_INFO'])\n"
        "token = os.environ['PREFIX'] + str(len(runs.read_text()))\n"
        "print(json.dumps(info | {'status': {'token': token}}))\n"
    )
    source = ExecSource([sys.executable, "-c", code, str(tmp_path / "runs")], FakeClock(), env={"PREFIX": "t-"})
    first = (await source.fetch(NOTHING)).token
    assert [first.access_token, (await source.fetch(TokenPair(first))).token.access_token] == ["t-1", "t-2"]


async def test_an_environment_that_says_which_version_it_reads_is_not_overruled(monkeypatch):
    monkeypatch.setenv("KUBERNETES_EXEC_INFO", "theirs")
    text = credential(token="TOKEN")
    code = f"import os; print({text!r}.replace('TOKEN', os.environ['KUBERNETES_EXEC_INFO']))"
    assert (await ExecSource([sys.executable, "-c", code], FakeClock()).fetch(NOTHING)).token.access_token == "theirs"


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "did not print JSON"),
        ("s3cret", "did not print JSON"),
        ('{"access_token": "s3cret"}', "did not print an ExecCredential"),
        ('["s3cret"]', "did not print an ExecCredential"),
        (credential("v1alpha1", token="s3cret"), "neither"),
        (json.dumps({"kind": "ExecCredential", "apiVersion": "client.authentication.k8s.io/v1"}), "holds no token"),
        (credential(clientCertificateData="s3cret"), "holds no token"),
        (credential(token=""), "holds no token"),
    ],
)
async def test_anything_else_is_refused_and_never_quoted(text, reason):
    with pytest.raises(CredentialRefused, match=reason) as caught:
        await ExecSource(printing(text), FakeClock()).fetch(NOTHING)
    assert "s3cret" not in str(caught.value)


@pytest.mark.parametrize("token", ["s3cret\r\nX: y", "s3 cret", {"s3cret": 1}])
async def test_a_token_that_no_header_can_carry_is_never_sent(token):
    with pytest.raises(CredentialUnavailable) as caught:
        await ExecSource(printing(credential(token=token)), FakeClock()).fetch(NOTHING)
    assert "s3cret" not in str(caught.value)


async def test_a_token_that_has_expired_already_is_a_failure():
    clock = FakeClock()
    text = credential(token="t-1", expirationTimestamp=stamp(clock, -1))
    with pytest.raises(CredentialUnavailable, match="command's token has expired already"):
        await ExecSource(printing(text), clock).fetch(NOTHING)


async def test_a_command_that_hangs_is_given_up():
    with pytest.raises(CredentialUnavailable, match=r"within 0\.2 s"):
        await ExecSource([sys.executable, "-c", "import time; time.sleep(60)"], FakeClock(), within=0.2).fetch(NOTHING)
