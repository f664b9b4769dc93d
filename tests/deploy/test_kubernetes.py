"""The manifests: rendered by kubectl, valid by Kubernetes' own schemas, and as careful as the documentation says."""

from __future__ import annotations

import asyncio
import re

import kubernetes_validate  # type: ignore[import-untyped]
import pytest
import yaml
from support.process import Program, free_port
from support.recording_upstream import RecordingUpstream
from support.settings import one_route
from support.tools import tool

from proxy import __version__

pytestmark = pytest.mark.peer("kubectl")

ALL = ["base", "overlays/single", "overlays/replicas", "jobs"]
LEFT_FOR_THE_APP = 30
"""Seconds that terminationGracePeriodSeconds leaves for the app's own end."""


def pods(objects):
    """Every pod template, by the name of what makes its pods."""
    return {name: one["spec"]["template"] for (kind, name), one in objects.items() if kind in {"Deployment", "Job"}}


def containers(pod):
    return [*pod["spec"].get("initContainers", []), *pod["spec"]["containers"]]


def sidecar(pod):
    (found,) = [one for one in containers(pod) if one["name"] == "auth-sidecar"]
    return found


def configuration(objects):
    return objects["ConfigMap", "auth-sidecar"]["data"]["config.yaml"]


@pytest.mark.parametrize("path", ALL)
@pytest.mark.parametrize("version", ["1.30", kubernetes_validate.latest_version()])
def test_every_object_is_valid_by_the_oldest_and_the_newest_schema(kustomized, path, version):
    for one in kustomized(path).values():
        kubernetes_validate.validate(one, version, strict=True)


@pytest.mark.parametrize("path", ALL)
def test_the_configuration_has_no_mistake_and_no_warning(kustomized, strictly_checked, path):
    code, said = strictly_checked(configuration(kustomized(path)))
    assert code == 0, said


@pytest.mark.parametrize("path", ALL)
def test_pods_meet_the_restricted_pod_security_standard_with_a_read_only_root(kustomized, path):
    for pod in pods(kustomized(path)).values():
        spec = pod["spec"]
        assert spec["securityContext"]["runAsNonRoot"] is True
        assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        assert spec["automountServiceAccountToken"] is False
        assert not {"hostNetwork", "hostPID", "hostIPC"} & set(spec)
        assert {kind for volume in spec["volumes"] for kind in volume} - {"name"} <= {
            "configMap", "projected", "emptyDir", "persistentVolumeClaim", "secret", "ephemeral"}  # fmt: skip
        for one in containers(pod):
            context = one["securityContext"]
            assert context["allowPrivilegeEscalation"] is False
            assert context["capabilities"] == {"drop": ["ALL"]}
            assert context["readOnlyRootFilesystem"] is True
            assert set(one["resources"]["requests"]) == {"cpu", "memory"}
        assert sidecar(pod)["securityContext"]["runAsUser"] == 10001 == spec["securityContext"]["fsGroup"]


@pytest.mark.parametrize("path", ALL)
def test_probes_ask_the_health_listener_and_the_app_has_no_part_in_secrets_and_state(kustomized, path):
    objects = kustomized(path)
    config = yaml.safe_load(configuration(objects))
    assert config["listen"].startswith("127.0.0.1:")
    for pod in pods(objects).values():
        one = sidecar(pod)
        port = int(config["health"]["listen"].rpartition(":")[2])
        assert one["ports"] == [{"name": "sidecar-health", "containerPort": port}]
        asked = {kind: one[kind]["httpGet"] for kind in one if kind.endswith("Probe")}
        assert {probe["port"] for probe in asked.values()} == {"sidecar-health"}
        assert asked["startupProbe"]["path"] == "/healthz"
        others = [mount["name"] for other in pod["spec"]["containers"] if other is not one
                  for mount in other.get("volumeMounts", [])]  # fmt: skip
        assert not [name for name in others if name.startswith("auth-sidecar")]
        mounted = {mount["mountPath"]: mount for mount in one["volumeMounts"]}
        assert mounted["/etc/auth-sidecar"].get("subPath") is None
        named = re.findall(r"(?:file|path): (/[^\s}]+)", configuration(objects))
        assert all(any(name.startswith(place + "/") for place in mounted) for name in named), named


@pytest.mark.parametrize("path", ALL[:3])
def test_the_sidecar_starts_first_and_ends_last_within_the_grace_period(kustomized, path):
    objects = kustomized(path)
    spec = pods(objects)["app"]["spec"]
    one = spec["initContainers"][0]
    assert (one["name"], one["restartPolicy"]) == ("auth-sidecar", "Always")
    assert (one["livenessProbe"]["httpGet"]["path"], one["readinessProbe"]["httpGet"]["path"]) == (
        "/healthz",
        "/readyz",
    )
    assert "lifecycle" not in one, "a preStop hook of a sidecar runs while the app still needs it"
    shutdown = yaml.safe_load(configuration(objects))["shutdown"]
    pause = spec["containers"][0]["lifecycle"]["preStop"]["sleep"]["seconds"]
    needed = pause + LEFT_FOR_THE_APP + int(shutdown["drain"].removesuffix("s")) + 5
    assert spec["terminationGracePeriodSeconds"] >= needed


@pytest.mark.parametrize("path", ALL)
def test_what_selects_pods_selects_ours_and_no_others(kustomized, path):
    objects = kustomized(path)
    for (kind, name), one in objects.items():
        spec = one.get("spec", {})
        chosen = {
            "Service": lambda spec: spec["selector"],
            "NetworkPolicy": lambda spec: spec["podSelector"]["matchLabels"],
            "PodDisruptionBudget": lambda spec: spec["selector"]["matchLabels"],
            "Deployment": lambda spec: spec["selector"]["matchLabels"],
        }.get(kind, lambda _: {"x": "y"})(spec)
        assert chosen, (kind, name)
        if kind != "Job" and chosen != {"x": "y"}:
            assert chosen.items() <= objects["Deployment", "app"]["spec"]["template"]["metadata"]["labels"].items()


def test_one_pod_has_a_volume_of_its_own_and_several_share_redis(kustomized):
    single, replicas = kustomized("overlays/single"), kustomized("overlays/replicas")
    assert single["Deployment", "app"]["spec"]["replicas"] == 1
    assert single["Deployment", "app"]["spec"]["strategy"] == {"type": "Recreate"}
    store = yaml.safe_load(configuration(single))["store"]
    (mount,) = [one for one in sidecar(pods(single)["app"])["volumeMounts"] if one["name"] == "auth-sidecar-state"]
    assert store["path"].startswith(mount["mountPath"] + "/"), "in the volume, not the volume itself"
    assert pods(single)["app"]["spec"]["securityContext"]["fsGroupChangePolicy"] == "OnRootMismatch"
    assert replicas["Deployment", "app"]["spec"]["replicas"] == 3
    assert yaml.safe_load(configuration(replicas))["store"]["type"] == "redis"
    ports = [port["port"] for rule in replicas["NetworkPolicy", "app"]["spec"]["egress"] for port in rule["ports"]]
    assert 6379 in ports
    assert replicas["PodDisruptionBudget", "app"]["spec"]["maxUnavailable"] == 1


@pytest.mark.parametrize("path", ALL)
def test_the_image_is_this_version(kustomized, path):
    for pod in pods(kustomized(path)).values():
        assert sidecar(pod)["image"] == f"auth-sidecar:{__version__}"


def test_a_job_on_a_cluster_without_sidecars_ends_the_ordinary_container(kustomized):
    new, old = (pods(kustomized("jobs"))[name] for name in ("job", "job-quit"))
    assert sidecar(new)["restartPolicy"] == "Always"
    assert sidecar(old) in old["spec"]["containers"]
    assert "restartPolicy" not in sidecar(old)


@pytest.mark.peer("curl")
async def test_the_jobs_own_script_waits_for_the_sidecar_uses_it_and_ends_it(kustomized, tmp_path):
    job = next(one for one in containers(pods(kustomized("jobs"))["job-quit"]) if one["name"] == "job")
    async with RecordingUpstream() as upstream:
        config = one_route(upstream.url, {"type": "bearer", "token": {"env": "HOME"}}, match="/crm")
        config["admin"] = {"listen": f"127.0.0.1:{free_port()}"}
        program = Program(config, tmp_path)
        script = job["args"][0].replace("127.0.0.1:9901", config["admin"]["listen"])
        environ = {"CRM_BASE_URL": program.url + "/crm", "PATH": tool("curl").rpartition("/")[0] + ":/usr/bin:/bin"}
        running = await asyncio.create_subprocess_exec(*job["command"], script, env=environ)
        program.admin = "http://" + config["admin"]["listen"]
        async with program:
            assert await running.wait() == 0
            assert await program.wait() == 0
        assert (await upstream.received(1)).target == b"/accounts"
