"""The Helm chart: with the values of an overlay it renders what kubectl builds of that overlay, and nothing else."""

import copy
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.deploy.conftest import run, tool
from tests.deploy.test_kubernetes import HERE, VERSIONS, Resource, built, validate

CHART = HERE / "chart"
# What overlays/registry adds to production.
REGISTRY = """
image: registry.example.com/ekiben@sha256:0000000000000000000000000000000000000000000000000000000000000000
imagePullSecrets: [registry]
priorityClassName: ekiben
queue: true
keys: {secret: ekiben-keys, metricsSecret: ekiben-metrics-key}
ingress: {enabled: true}
gateway: {enabled: true}
"""


def rendered(*values: Path) -> dict[str, Resource]:
    """Kind → resource, of which there is one each."""
    options = [word for file in values for word in ("--values", str(file))]
    done = run(tool("helm"), "template", "ekiben", CHART, "--namespace", "ekiben", *options)
    assert done.returncode == 0, done.stderr
    resources = [each for each in yaml.safe_load_all(done.stdout) if each]
    of_kind = {resource["kind"]: resource for resource in resources}
    assert len(of_kind) == len(resources)
    return of_kind


def of_kubectl(overlay: str) -> dict[str, Resource]:
    """The same without what is each tool's own: the namespaces, and how a changed setting rolls out."""
    resources = copy.deepcopy(built(overlay))
    for kind in ("Namespace", "PriorityClass"):
        resources.pop(kind, None)
    for resource in resources.values():
        resource["metadata"].pop("namespace", None)
    resources["ConfigMap"]["metadata"]["name"] = "ekiben"
    (container,) = resources["Deployment"]["spec"]["template"]["spec"]["containers"]
    container["envFrom"] = [{"configMapRef": {"name": "ekiben"}}]
    return resources


def without_checksum(resources: dict[str, Resource]) -> dict[str, Resource]:
    annotations = resources["Deployment"]["spec"]["template"]["metadata"].pop("annotations")
    assert annotations.keys() == {"checksum/settings"}
    return resources


def in_order(resources: dict[str, Resource]) -> dict[str, Resource]:
    """Volumes and their mounts by name: kubectl puts those of a patch first."""
    pod: dict[str, Any] = resources["Deployment"]["spec"]["template"]["spec"]
    pod["volumes"].sort(key=lambda volume: volume["name"])
    pod["containers"][0]["volumeMounts"].sort(key=lambda mount: mount["name"])
    return resources


@pytest.mark.parametrize("overlay", ["small", "production", "registry"])
def test_the_chart_is_the_overlay(overlay: str, tmp_path: Path) -> None:
    values = [] if overlay == "small" else [CHART / "production.yaml"]
    if overlay == "registry":
        (tmp_path / "registry.yaml").write_text(REGISTRY)
        values.append(tmp_path / "registry.yaml")
    resources = rendered(*values)
    for version in VERSIONS:
        for resource in resources.values():
            validate(resource, version)
    assert in_order(without_checksum(resources)) == in_order(of_kubectl(f"overlays/{overlay}"))


def test_settings_roll_out_and_network_values_reach_the_policy(tmp_path: Path) -> None:
    (tmp_path / "values.yaml").write_text("""
settings: {EKIBEN_WORKERS: "2", EKIBEN_READY: all}
network: {ingressNamespace: front, monitoringNamespace: watch}
""")
    before, after = rendered(), rendered(tmp_path / "values.yaml")
    assert after["ConfigMap"]["data"] == {"EKIBEN_WORKERS": "2", "EKIBEN_READY": "all"}
    first, second = (each["Deployment"]["spec"]["template"]["metadata"]["annotations"] for each in (before, after))
    assert first != second
    sources = after["NetworkPolicy"]["spec"]["ingress"][0]["from"]
    names = [one["namespaceSelector"]["matchLabels"]["kubernetes.io/metadata.name"] for one in sources[1:]]
    assert names == ["front", "watch"]


def test_helm_finds_nothing_to_complain_of() -> None:
    done = run(tool("helm"), "lint", "--strict", CHART)
    assert done.returncode == 0, done.stdout + done.stderr
