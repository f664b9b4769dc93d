"""The alerts, evaluated by promtool over series that this program has shown."""

from __future__ import annotations

import re
import subprocess

import pytest
import yaml
from prometheus_client.parser import text_string_to_metric_families
from support.running import Running
from support.settings import client_credentials, one_route
from support.tools import tool

from proxy.sandbox.sandbox_server import Sandbox, SandboxOptions

pytestmark = pytest.mark.peer("promtool")

MINUTES = 40


@pytest.fixture
def rules(repository):
    return repository / "deploy/prometheus/rules.yaml"


async def scraped(running):
    """Every series and its value, as Prometheus names them."""
    _, _, text = await running.ask(running.admin + "/metrics")
    families = text_string_to_metric_families(text.decode())
    return {series(sample): sample.value for family in families for sample in family.samples}


def series(sample):
    labels = {**sample.labels, "instance": "pod", "job": "app"}
    return sample.name + "{" + ",".join(f'{name}="{value}"' for name, value in sorted(labels.items())) + "}"


def fired(rules, tmp_path, before, after):
    """The alerts that fire when `before` was scraped for half of the time and `after` for the rest."""
    half = MINUTES // 2
    inputs = []
    for name, value in after.items():
        first = before.get(name)
        early = f"{first:g}x{half - 1}" if first is not None else f"_x{half}"
        inputs.append({"series": name, "values": f"{early} {value:g}x{half}"})
    names = [rule["alert"] for rule in yaml.safe_load(rules.read_text())["groups"][0]["rules"]]
    asked = [{"eval_time": f"{half + 8}m", "alertname": name, "exp_alerts": []} for name in names]
    test = {"interval": "1m", "input_series": inputs, "alert_rule_test": asked}
    file = tmp_path / "test.yaml"
    file.write_text(yaml.safe_dump({"rule_files": [str(rules)], "evaluation_interval": "1m", "tests": [test]}))
    command = [tool("promtool"), "test", "rules", str(file)]
    said = subprocess.run(command, capture_output=True, text=True, check=False)
    found = set(re.findall(r"alertname: (\w+)", said.stderr))  # none is expected, so it tells of each that fired
    assert found or "SUCCESS" in said.stdout, said
    return found


def test_the_rules_are_understood(rules):
    said = subprocess.run([tool("promtool"), "check", "rules", str(rules)], capture_output=True, text=True, check=False)
    assert said.returncode == 0, said


@pytest.fixture
async def running(tmp_path):
    async with Sandbox(SandboxOptions(port=0)) as sandbox:
        good = client_credentials(sandbox.token_endpoint)
        config = {**one_route(sandbox.url + "/api", good), "store": {"type": "file", "path": "state"}}
        config["credentials"]["refused"] = {**good, "client_secret": {"value": "wrong"}}
        config["credentials"]["away"] = {**good, "token_endpoint": "http://127.0.0.1:9/token"}
        async with Running(config, tmp_path) as program:
            await program.until_ready()
            yield program


async def test_what_goes_wrong_is_alerted_of_and_nothing_else_is(running, rules, tmp_path):
    healthy = {
        name: value for name, value in (await scraped(running)).items() if '"main"' in name or "credential" not in name
    }
    assert fired(rules, tmp_path, healthy, healthy) == set()

    seen = await scraped(running)
    refused = {name: value for name, value in seen.items() if '"away"' not in name}
    before = {name: (0 if '"refused"' in name else value) for name, value in refused.items()}
    assert fired(rules, tmp_path, before, refused) == {"AuthSidecarCredentialRefused"}

    away = {name: value * 4 if '"away"' in name else value for name, value in seen.items() if '"refused"' not in name}
    before = {name: (0 if '"away"' in name else value) for name, value in away.items()}
    assert fired(rules, tmp_path, before, away) == {"AuthSidecarRenewalsFail"}


async def test_tokens_that_end_stores_that_fail_and_reloads_that_fail_are_alerted_of(running, rules, tmp_path):
    seen = await scraped(running)
    healthy = {name: value for name, value in seen.items() if '"main"' in name or "credential" not in name}

    def changed(word, value):
        assert any(name.startswith(word) for name in healthy), word
        return {name: value if name.startswith(word) else old for name, old in healthy.items()}

    expired = changed("auth_sidecar_token_expiry_timestamp_seconds", 60)
    assert fired(rules, tmp_path, healthy, expired) == {"AuthSidecarTokenExpired"}
    failing = "auth_sidecar_token_refreshes_total{" + 'credential="main",instance="pod",job="app",result="unavailable"}'
    assert failing in healthy
    ending = {**changed("auth_sidecar_token_expiry_timestamp_seconds", (MINUTES // 2 + 8) * 60 + 200), failing: 2}
    assert fired(rules, tmp_path, {**healthy, failing: 0}, ending) == {"AuthSidecarTokenExpiresUnrenewed"}
    assert fired(rules, tmp_path, healthy, changed("auth_sidecar_config_last_reload_successful", 0)) == {
        "AuthSidecarReloadFailed"
    }
    assert fired(rules, tmp_path, healthy, changed("auth_sidecar_store_errors_total", 2)) == {"AuthSidecarStoreFails"}
    crowded = changed("auth_sidecar_http_requests_in_flight", 450)
    assert fired(rules, tmp_path, healthy, crowded) == {"AuthSidecarNearItsLimit"}


async def test_no_rule_and_no_panel_asks_for_a_series_or_a_result_that_is_never_shown(running, repository, rules):
    shown = await scraped(running)
    _, _, text = await running.ask(running.admin + "/metrics")
    kinds = {"counter": ("_total",), "gauge": ("",), "histogram": ("_bucket", "_sum", "_count")}
    families = list(text_string_to_metric_families(text.decode()))
    names = {family.name + ending for family in families for ending in kinds[family.type]}
    texts = [rules.read_text(), (repository / "deploy/prometheus/dashboard.json").read_text()]
    asked = {name for text in texts for name in re.findall(r"auth_sidecar_\w+", text)}
    assert asked
    assert asked <= names
    results = set(re.findall(r'result="(\w+)"', " ".join(shown)))
    assert {one for text in texts for one in re.findall(r'result!?=\\?"(\w+)\\?"', text)} <= results
