"""The compose file, read by Docker's own program, and what it makes the two containers be to each other."""

from __future__ import annotations

import json
import subprocess

import aiohttp
import pytest
import yaml
from support.process import Program
from support.recording_upstream import RecordingUpstream
from support.tools import tool

from proxy import __version__

pytestmark = pytest.mark.peer("docker-compose")

VARIANTS = ["shared", "by-name"]


@pytest.fixture(scope="module")
def composed(repository):
    """The services of one profile, as compose resolves them."""

    def services(profile):
        file = repository / "deploy/compose.yaml"
        words = [tool("docker-compose"), "-f", file, "--profile", profile, "config", "--format", "json"]
        said = subprocess.run(words, check=True, capture_output=True, text=True)
        assert said.stderr == ""
        return json.loads(said.stdout)["services"]

    return services


def sidecar_and_app(services):
    (sidecar,) = [one for one in services.values() if one["image"].startswith("auth-sidecar:")]
    (app,) = [one for one in services.values() if one is not sidecar]
    return sidecar, app


@pytest.mark.parametrize("profile", VARIANTS)
def test_the_sidecar_is_this_version_on_a_read_only_root_and_the_app_waits_for_it(composed, profile):
    sidecar, app = sidecar_and_app(composed(profile))
    assert sidecar["image"] == f"auth-sidecar:{__version__}"
    assert sidecar["read_only"] is True
    assert sidecar["cap_drop"] == ["ALL"]
    assert sidecar["security_opt"] == ["no-new-privileges:true"]
    (waits,) = app["depends_on"].values()
    assert waits["condition"] == "service_healthy"
    assert "ports" not in sidecar or profile == "shared"
    assert all(port["target"] != 8080 for one in (sidecar, app) for port in one.get("ports", []))


@pytest.mark.parametrize("profile", VARIANTS)
def test_the_configuration_has_no_mistake_and_no_warning(repository, composed, strictly_checked, profile):
    text = (repository / "deploy/compose" / profile / "config.yaml").read_text()
    code, said = strictly_checked(text, "/run/secrets")
    assert code == 0, said
    sidecar, _ = sidecar_and_app(composed(profile))
    config = yaml.safe_load(text)
    used = {line.rpartition("/run/secrets/")[2].split("}")[0] for line in text.splitlines() if "/run/secrets/" in line}
    assert {secret["source"] for secret in sidecar["secrets"]} == used
    mounted = {volume["target"]: volume for volume in sidecar["volumes"]}
    assert mounted["/etc/auth-sidecar"]["source"] == str(repository / "deploy/compose" / profile)
    assert config["store"]["path"].startswith("/var/lib/auth-sidecar/")
    assert mounted["/var/lib/auth-sidecar"]["type"] == "volume"


def test_in_one_namespace_the_proxy_listens_on_loopback(repository, composed):
    services = composed("shared")
    _, app = sidecar_and_app(services)
    assert app["network_mode"] == "service:auth-sidecar"
    assert app["environment"]["CRM_BASE_URL"] == "http://127.0.0.1:8080/crm"
    config = yaml.safe_load((repository / "deploy/compose/shared/config.yaml").read_text())
    assert "listen" not in config, "127.0.0.1:8080 is the default"


async def test_by_name_only_who_shows_the_bearer_is_served_under_that_name(repository, composed, tmp_path):
    _, app = sidecar_and_app(composed("by-name"))
    assert app["environment"]["CRM_BASE_URL"] == "http://auth-sidecar:8080/crm"
    for name in ("app-token", "crm-client-secret"):
        (tmp_path / name).write_text(name)
    text = (repository / "deploy/compose/by-name/config.yaml").read_text()
    config = yaml.safe_load(text.replace("/run/secrets", str(tmp_path)).replace("/var/lib/auth-sidecar", str(tmp_path)))
    assert config.pop("listen") == "0.0.0.0:8080"
    async with RecordingUpstream() as upstream:
        config["routes"][0]["upstream"] = upstream.url
        config["credentials"]["crm"] = {"type": "bearer", "token": {"file": str(tmp_path / "crm-client-secret")}}
        async with Program(config, tmp_path) as program, aiohttp.ClientSession() as http:
            for token, host, status in [
                ("app-token", "auth-sidecar:8080", 200),
                ("another", "auth-sidecar:8080", 401),
                ("app-token", "evil.example", 403),
            ]:
                headers = {"Authorization": f"Bearer {token}", "Host": host}
                async with http.get(program.url + "/crm/accounts", headers=headers) as answer:
                    assert answer.status == status
        assert (await upstream.received(1)).field(b"authorization") == b"Bearer crm-client-secret"
