"""The manifests: built as kubectl builds them, held to Kubernetes' own schemas, to each other and to the service."""

import copy
import re
from functools import cache
from pathlib import Path
from typing import Any

import jsonschema
import kubernetes_validate
import pytest
import yaml

from deploy.objectives import read
from serving.settings import Settings
from tests.deploy.conftest import DEPLOY, run, tool

HERE = DEPLOY / "kubernetes"
VERSIONS = ("1.30", "1.34")  # the oldest and the newest that docs/fleet.md names
BUILDS = ("overlays/small", "overlays/production", "kserve")
OURS = yaml.safe_load((HERE / "schemas.yaml").read_text())
IMAGE = (DEPLOY / "image" / "Dockerfile.j2").read_text()
SERVING = "\n".join(file.read_text() for file in (DEPLOY.parent / "serving").rglob("*.py"))
Resource = dict[str, Any]


@cache
def built(folder: str) -> dict[str, Resource]:
    """Kind → resource, of which there is one each."""
    done = run(tool("kubectl"), "kustomize", HERE / folder)
    assert done.returncode == 0, done.stderr
    resources = list(yaml.safe_load_all(done.stdout))
    of_kind = {resource["kind"]: resource for resource in resources}
    assert len(of_kind) == len(resources)
    return of_kind


def validate(resource: Resource, version: str = VERSIONS[-1]) -> None:
    if (kind := resource["kind"]) in OURS:
        jsonschema.validate(resource, OURS[kind], jsonschema.Draft202012Validator)
    else:
        kubernetes_validate.validate(resource, version, strict=True)
    if kind == "ServingRuntime":
        spec = {key: resource["spec"][key] for key in ("containers", "volumes")}
        validate({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "pod"}, "spec": spec}, version)


def pod(folder: str) -> dict[str, Any]:
    resources = built(folder)
    if "Deployment" in resources:
        return resources["Deployment"]["spec"]["template"]["spec"]
    return resources["ServingRuntime"]["spec"]


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("folder", BUILDS)
def test_every_resource_fits_its_schema(folder: str, version: str) -> None:
    for resource in built(folder).values():
        validate(resource, version)


def resources() -> list[tuple[str, str]]:
    kinds = ["Namespace", "Service", "Deployment", "HorizontalPodAutoscaler", "PodDisruptionBudget", "NetworkPolicy"]
    monitoring = [("overlays/production", kind) for kind in (*kinds, "ServiceMonitor", "PrometheusRule")]
    return [*monitoring, ("kserve", "ServingRuntime"), ("kserve", "InferenceService")]


@pytest.mark.parametrize(("folder", "kind"), resources())
def test_a_field_that_does_not_exist_is_found(folder: str, kind: str) -> None:
    wrong = copy.deepcopy(built(folder)[kind])
    wrong["spec"] = {**wrong.get("spec", {}), "replicaz": 2}
    with pytest.raises((jsonschema.ValidationError, kubernetes_validate.ValidationError), match="replicaz"):
        validate(wrong)


@pytest.mark.parametrize("path", ["spec.containers.0.readinesProbe", "spec.volumes.0.emptydir"])
def test_a_wrong_field_of_a_serving_runtimes_pod_is_found(path: str) -> None:
    wrong = place = copy.deepcopy(built("kserve")["ServingRuntime"])
    *way, last = path.split(".")
    for step in way:
        place = place[int(step) if step.isdigit() else step]
    place[last] = {}
    with pytest.raises(kubernetes_validate.ValidationError, match=last):
        validate(wrong)


@pytest.mark.parametrize("folder", BUILDS)
def test_pods_are_what_the_restricted_standard_asks_for(folder: str) -> None:
    spec = pod(folder)
    for container in spec["containers"]:
        allowed = spec.get("securityContext", {}) | container["securityContext"]
        assert allowed["runAsNonRoot"] and allowed["runAsUser"] > 0
        assert allowed["seccompProfile"] == {"type": "RuntimeDefault"}
        assert allowed["capabilities"] == {"drop": ["ALL"]}
        assert allowed["allowPrivilegeEscalation"] is False and allowed["readOnlyRootFilesystem"] is True
        assert {mount["mountPath"] for mount in container["volumeMounts"]} == {"/tmp"}  # noqa: S108


@pytest.mark.parametrize("folder", ["overlays/small", "overlays/production"])
def test_selectors_find_the_pods(folder: str) -> None:
    resources = built(folder)
    deployment = resources["Deployment"]["spec"]
    labels = deployment["template"]["metadata"]["labels"].items()
    spread = [constraint["labelSelector"] for constraint in deployment["template"]["spec"]["topologySpreadConstraints"]]
    selectors = [deployment["selector"], resources["PodDisruptionBudget"]["spec"]["selector"], *spread]
    selectors.append(resources["NetworkPolicy"]["spec"]["podSelector"])
    for selected in (*(s["matchLabels"] for s in selectors), resources["Service"]["spec"]["selector"]):
        assert selected and selected.items() <= labels
    target = resources["HorizontalPodAutoscaler"]["spec"]["scaleTargetRef"]
    assert (target["kind"], target["name"]) == ("Deployment", resources["Deployment"]["metadata"]["name"])
    assert "replicas" not in deployment  # they are the autoscaler's


def test_ports_lead_to_the_port_of_the_image() -> None:
    resources = built("overlays/production")
    (port,) = pod("overlays/production")["containers"][0]["ports"]
    assert f"EXPOSE {port['containerPort']}\n" in IMAGE
    (service,) = resources["Service"]["spec"]["ports"]
    (ingress,) = resources["NetworkPolicy"]["spec"]["ingress"]
    (endpoint,) = resources["ServiceMonitor"]["spec"]["endpoints"]
    assert {service["targetPort"], ingress["ports"][0]["port"], endpoint["port"]} == {port["name"]} == {service["name"]}


def test_prometheus_finds_the_service_and_calls_the_job_as_the_alerts_do() -> None:
    resources = built("overlays/production")
    wanted = resources["ServiceMonitor"]["spec"]["selector"]["matchLabels"].items()
    assert wanted <= resources["Service"]["metadata"]["labels"].items()
    assert resources["Service"]["metadata"]["name"] == read().service
    assert {resources[kind]["metadata"]["namespace"] for kind in ("ServiceMonitor", "Service")} == {"ekiben"}


@pytest.mark.parametrize("folder", BUILDS)
def test_probes_ask_what_the_service_answers(folder: str) -> None:
    probes = [value for key, value in pod(folder)["containers"][0].items() if key.endswith("Probe")]
    assert len(probes) >= 2
    for probe in probes:
        assert f'"{probe["httpGet"]["path"]}"' in SERVING


@pytest.mark.parametrize("folder", ["overlays/small", "overlays/production"])
def test_a_pod_that_ends_has_the_time_for_it(folder: str) -> None:
    spec = pod(folder)
    settling = spec["containers"][0]["lifecycle"]["preStop"]["sleep"]["seconds"]
    (graceful,) = re.findall(r'"--timeout-graceful-shutdown", "(\d+)"', IMAGE)
    assert settling + int(graceful) < spec["terminationGracePeriodSeconds"]


def test_settings_are_settings_of_the_service() -> None:
    Settings.read(built("overlays/small")["ConfigMap"]["data"])
    known = {f"EKIBEN_{name.upper()}" for name in Settings.__dataclass_fields__}
    assert set(built("overlays/small")["ConfigMap"]["data"]) <= known


def test_the_rules_are_prometheus_own(tmp_path: Path) -> None:
    groups = built("overlays/production")["PrometheusRule"]["spec"]["groups"]
    files = [yaml.safe_load(file.read_text()) for file in (DEPLOY / "prometheus" / "rules").glob("*.yml")]
    assert {group["name"]: group for group in groups} == {g["name"]: g for file in files for g in file["groups"]}
    (tmp_path / "rules.yml").write_text(yaml.safe_dump({"groups": groups}))
    checked = run(tool("promtool"), "check", "rules", tmp_path / "rules.yml")
    assert checked.returncode == 0, checked.stdout + checked.stderr


ADAPTED = {
    rule["name"]["as"]: rule
    for rule in yaml.safe_load((HERE / "monitoring" / "adapter.yaml").read_text())["rules"]["custom"]
}


def test_the_autoscaler_reads_what_the_adapter_gives() -> None:
    metrics = built("overlays/production")["HorizontalPodAutoscaler"]["spec"]["metrics"]
    assert {metric["type"] for metric in metrics} == {"Resource", "Pods"}
    assert {metric["pods"]["metric"]["name"] for metric in metrics if metric["type"] == "Pods"} <= set(ADAPTED)


@pytest.mark.parametrize("name", ADAPTED)
def test_the_adapter_adds_up_what_the_service_counts(name: str, tmp_path: Path) -> None:
    """A pod whose two forms each count 4 a second has 8, and the other pod's are not among them."""
    rule = ADAPTED[name]
    series, _, matchers = rule["seriesQuery"].rstrip("}").partition("{")
    assert f'"{re.sub("_(sum|count)$", "", series)}"' in SERVING
    asked = rule["metricsQuery"].replace("<<.GroupBy>>", "pod").replace("<<.Series>>", series)
    asked = asked.replace("<<.LabelMatchers>>", f'{matchers},namespace="ekiben",pod=~"a|b"')
    (tmp_path / "rules.yml").write_text(
        yaml.safe_dump({"groups": [{"name": "adapter", "rules": [{"record": name, "expr": asked}]}]})
    )
    counted = [("a", "onnx", "0+60x40"), ("a", "int8", "0+60x40"), ("b", "onnx", "0+15x40")]
    case = {
        "interval": "15s",
        "input_series": [
            {"series": f'{series}{{namespace="ekiben",pod="{pod}",form="{form}"}}', "values": values}
            for pod, form, values in counted
        ],
        "promql_expr_test": [
            {
                "expr": name,
                "eval_time": "5m",
                "exp_samples": [
                    {"labels": f'{name}{{pod="{pod}"}}', "value": value} for pod, value in (("a", 8), ("b", 1))
                ],
            }
        ],
    }
    file = tmp_path / "test.yml"
    file.write_text(yaml.safe_dump({"rule_files": ["rules.yml"], "evaluation_interval": "30s", "tests": [case]}))
    tested = run(tool("promtool"), "test", "rules", file)
    assert tested.returncode == 0, tested.stdout + tested.stderr
