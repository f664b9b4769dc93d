"""The Helm chart, by Helm's own engine: the same pods as the kustomizations, and templates for charts of others."""

from __future__ import annotations

import shutil
from typing import Any

import pytest
import yaml

from proxy import __version__

pytestmark = [pytest.mark.peer("helm_python"), pytest.mark.peer("kubectl")]

SAME = {"base": "base", "single": "overlays/single", "replicas": "overlays/replicas"}


@pytest.fixture(scope="module")
def helm():
    return pytest.importorskip("helm_python")


@pytest.fixture(scope="module")
def chart(helm, repository):
    with helm.Chart.load(repository / "deploy/helm/auth-sidecar") as loaded:
        yield loaded


def objects(manifests):
    """By kind and name, of all that a chart renders."""
    texts = [text for name, text in manifests.items() if name.endswith(".yaml")]
    rendered = [one for text in texts for one in yaml.safe_load_all(text) if one]
    return {(one["kind"], one["metadata"]["name"]): one for one in rendered}


def values_of(repository, name):
    return yaml.safe_load((repository / f"deploy/helm/examples/{name}.yaml").read_text())


def plain(value):
    """Without what Helm and kustomize each add, named things in one order, and the configuration as it is read."""
    if isinstance(value, list):
        return sorted(
            (plain(one) for one in value), key=lambda one: one.get("name", "") if isinstance(one, dict) else ""
        )
    if isinstance(value, dict):
        kept = {
            key: plain(one)
            for key, one in value.items()
            if key not in {"app.kubernetes.io/instance", "app.kubernetes.io/managed-by", "helm.sh/chart"}
        }
        if isinstance(kept.get("config.yaml"), str):
            kept["config.yaml"] = yaml.safe_load(kept["config.yaml"])
        return kept
    return value


@pytest.mark.parametrize("name", SAME)
def test_it_yields_what_the_kustomization_yields(chart, repository, kustomized, name):
    made = objects(chart.render(values_of(repository, name), name="auth-sidecar", namespace="here"))
    assert plain(made) == plain(kustomized(SAME[name]))


@pytest.mark.parametrize("name", SAME)
def test_the_linter_finds_no_mistake(helm, repository, name):
    said = helm.lint(repository / "deploy/helm/auth-sidecar", values=values_of(repository, name), strict=True)
    assert said["errors"] == []
    assert [one["error"] for one in said["messages"]] == ["icon is recommended"]


@pytest.mark.parametrize(
    ("values", "told"),
    [
        ({"config": {"routes": []}, "imgae": {}}, "imgae"),
        ({"config": "routes: []"}, "/config"),
        ({"config": {"routes": []}, "state": {"enabled": True, "size": "plenty"}}, "/state/size"),
        ({}, "the sidecar's configuration, with routes and credentials, is missing"),
        (
            {"config": {"routes": []}, "state": {"enabled": True}, "workload": {"replicas": 2}},
            "config.store.type redis",
        ),
    ],
)
def test_values_that_cannot_be_meant_are_refused_with_their_place(helm, chart, values, told):
    def install():
        chart.validate_schema(values)
        chart.render(values, name="x")

    with pytest.raises(helm.HelmError) as refusal:
        install()
    assert told in str(refusal.value)


def test_probes_follow_the_health_listener_and_there_always_is_one(chart):
    for config, port in [({"routes": []}, 9902), ({"routes": [], "health": {"listen": "0.0.0.0:7777"}}, 7777)]:
        made = objects(chart.render({"config": config}, name="x"))
        container = made["Deployment", "app"]["spec"]["template"]["spec"]["initContainers"][0]
        assert container["ports"] == [{"name": "sidecar-health", "containerPort": port}]
        written = yaml.safe_load(made["ConfigMap", "x-auth-sidecar"]["data"]["config.yaml"])
        assert written["health"]["listen"] == f"0.0.0.0:{port}"


def test_what_may_be_added_is_added(chart):
    values: dict[str, Any] = {
        "config": {"routes": []},
        "image": {"repository": "mirror/auth-sidecar", "tag": "2", "pullPolicy": "Always"},
        "extraEnv": [{"name": "A", "value": "1"}],
        "extraVolumes": [{"name": "more", "emptyDir": {}}],
        "extraVolumeMounts": [{"name": "more", "mountPath": "/more"}],
        "state": {"enabled": True, "storageClassName": "fast"},
        "networkPolicy": {"enabled": False},
    }
    made = objects(chart.render(values, name="x"))
    spec = made["Deployment", "app"]["spec"]["template"]["spec"]
    container = spec["initContainers"][0]
    assert (container["image"], container["imagePullPolicy"]) == ("mirror/auth-sidecar:2", "Always")
    assert container["env"] == values["extraEnv"]
    assert container["volumeMounts"][-1] == values["extraVolumeMounts"][0]
    assert spec["volumes"][-1] == values["extraVolumes"][0]
    assert made["PersistentVolumeClaim", "x-auth-sidecar"]["spec"]["storageClassName"] == "fast"
    assert ("NetworkPolicy", "app") not in made


def test_a_chart_of_ones_own_takes_container_and_volumes_from_it(helm, repository, kustomized, tmp_path):
    own = tmp_path / "own-chart"
    shutil.copytree(repository / "deploy/helm/examples/own-chart", own)
    shutil.copytree(repository / "deploy/helm/auth-sidecar", own / "charts" / "auth-sidecar")
    with helm.Chart.load(own) as loaded:
        made = objects(loaded.render(name="reports"))
    pod = made["CronJob", "reports-report"]["spec"]["jobTemplate"]["spec"]["template"]["spec"]
    base = kustomized("base")["Deployment", "app"]["spec"]["template"]["spec"]
    assert plain(pod["initContainers"]) == plain(base["initContainers"])
    assert pod["securityContext"] == base["securityContext"]
    assert {kind for kind, _ in made} == {"CronJob", "ConfigMap"}
    mapped = next(volume["configMap"]["name"] for volume in pod["volumes"] if "configMap" in volume)
    assert plain(made["ConfigMap", mapped]["data"]) == plain(kustomized("base")["ConfigMap", "auth-sidecar"]["data"])


def test_chart_and_program_have_one_version(repository):
    metadata = yaml.safe_load((repository / "deploy/helm/auth-sidecar/Chart.yaml").read_text())
    assert (metadata["version"], metadata["appVersion"]) == (__version__, __version__)
    own = yaml.safe_load((repository / "deploy/helm/examples/own-chart/Chart.yaml").read_text())
    assert own["dependencies"][0]["version"] == __version__
