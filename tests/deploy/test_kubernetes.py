"""The manifests: built as kubectl builds them, held to Kubernetes' own schemas, to each other and to the service."""

import copy
import re
import shutil
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml

from deploy.objectives import read
from serving.settings import Settings
from tests.deploy.conftest import DEPLOY, run, tool

HERE = DEPLOY / "kubernetes"
VERSIONS = ("1.30", "1.34")  # the oldest and the newest that docs/fleet.md names
OVERLAYS = ("overlays/small", "overlays/production", "overlays/registry")
KSERVE = ("kserve", "kserve-grpc")
BUILDS = (*OVERLAYS, *KSERVE)
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
    import jsonschema  # takes seconds: no other test's process waits for it
    import kubernetes_validate

    if (kind := resource["kind"]) in OURS:
        jsonschema.validate(resource, OURS[kind], jsonschema.Draft202012Validator)
    else:
        kubernetes_validate.validate(resource, version, strict=True)
    if kind == "ServingRuntime":
        spec = {key: resource["spec"][key] for key in ("containers", "volumes")}
    elif kind == "InferenceService":
        own = ("automountServiceAccountToken", "topologySpreadConstraints")
        spec = {key: resource["spec"]["predictor"][key] for key in own} | {
            "containers": [{"name": "pod", "image": "pod"}]
        }
    else:
        return
    if spec:
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
    ways_in = [("overlays/registry", kind) for kind in ("HTTPRoute", "GRPCRoute", "Ingress")]
    return [*monitoring, *ways_in, ("kserve", "ServingRuntime"), ("kserve", "InferenceService")]


@pytest.mark.parametrize(("folder", "kind"), resources())
def test_a_field_that_does_not_exist_is_found(folder: str, kind: str) -> None:
    import jsonschema
    import kubernetes_validate

    wrong = copy.deepcopy(built(folder)[kind])
    wrong["spec"] = {**wrong.get("spec", {}), "replicaz": 2}
    with pytest.raises((jsonschema.ValidationError, kubernetes_validate.ValidationError), match="replicaz"):
        validate(wrong)


@pytest.mark.parametrize("path", ["spec.containers.0.readinesProbe", "spec.volumes.0.emptydir"])
def test_a_wrong_field_of_a_serving_runtimes_pod_is_found(path: str) -> None:
    import kubernetes_validate

    wrong = copy.deepcopy(built("kserve")["ServingRuntime"])
    place: Any = wrong
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
        written = [mount["mountPath"] for mount in container["volumeMounts"] if not mount.get("readOnly")]
        assert written == ["/tmp"]  # noqa: S108
        (memory,) = [volume["emptyDir"] for volume in spec["volumes"] if "emptyDir" in volume]
        assert memory == {"medium": "Memory", "sizeLimit": "128Mi"}


@pytest.mark.parametrize("folder", OVERLAYS)
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
    port, grpc = pod("overlays/production")["containers"][0]["ports"]
    assert f"EXPOSE {port['containerPort']} {grpc['containerPort']}\n" in IMAGE
    service, grpc_service = resources["Service"]["spec"]["ports"]
    assert grpc_service["targetPort"] == grpc["name"] and grpc_service["appProtocol"] == "kubernetes.io/h2c"
    (ingress,) = resources["NetworkPolicy"]["spec"]["ingress"]
    (endpoint,) = resources["ServiceMonitor"]["spec"]["endpoints"]
    assert {service["targetPort"], ingress["ports"][0]["port"], endpoint["port"]} == {port["name"]} == {service["name"]}
    assert ingress["ports"][1]["port"] == grpc["name"]


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
        if "grpc" in probe:  # of the whole server: `service` is not said
            assert probe["grpc"] == {"port": pod(folder)["containers"][0]["ports"][0]["containerPort"]}
        else:
            assert f'"{probe["httpGet"]["path"]}"' in SERVING or probe["httpGet"]["path"].startswith("/v2/health/")


def test_where_requests_come_by_grpc_alone_readiness_is_asked_by_grpc() -> None:
    container = pod("kserve-grpc")["containers"][0]
    assert "grpc" in container["readinessProbe"] and "httpGet" not in container["readinessProbe"]


@pytest.mark.parametrize("folder", OVERLAYS)
def test_a_start_is_over_once_the_service_lives(folder: str) -> None:
    """A model that never gets ready is no reason to start again and again."""
    container = pod(folder)["containers"][0]
    assert container["startupProbe"]["httpGet"]["path"] == container["livenessProbe"]["httpGet"]["path"] == "/livez"
    assert container["readinessProbe"]["httpGet"]["path"] == "/readyz"


@pytest.mark.parametrize("folder", BUILDS)
def test_pods_spread_over_nodes_and_zones_and_none_is_left_pending(folder: str) -> None:
    resources = built(folder)
    spec = resources["InferenceService"]["spec"]["predictor"] if folder in KSERVE else pod(folder)
    spread = spec["topologySpreadConstraints"]
    assert [each["topologyKey"] for each in spread] == ["kubernetes.io/hostname", "topology.kubernetes.io/zone"]
    assert {each["whenUnsatisfiable"] for each in spread} == {"ScheduleAnyway"}
    assert spec["automountServiceAccountToken"] is False


@pytest.mark.parametrize("folder", KSERVE)
def test_kserves_pods_are_found_by_its_own_label_and_scraped(folder: str) -> None:
    resources = built(folder)
    service = resources["InferenceService"]
    labels = {"serving.kserve.io/inferenceservice": service["metadata"]["name"]}
    selectors = [resources["PodDisruptionBudget"]["spec"]["selector"]]
    selectors += [each["labelSelector"] for each in service["spec"]["predictor"]["topologySpreadConstraints"]]
    assert all(selector == {"matchLabels": labels} for selector in selectors)
    assert service["metadata"]["annotations"]["serving.kserve.io/enable-prometheus-scraping"] == "true"
    (port,) = pod("kserve")["containers"][0]["ports"]
    assert resources["ServingRuntime"]["spec"]["annotations"]["prometheus.kserve.io/port"] == str(port["containerPort"])


@pytest.mark.parametrize(("folder", "protocol", "name"), [("kserve", "v2", "http1"), ("kserve-grpc", "grpc-v2", "h2c")])
def test_kserve_has_a_runtime_for_each_protocol_with_that_ones_port(folder: str, protocol: str, name: str) -> None:
    resources = built(folder)
    model = resources["InferenceService"]["spec"]["predictor"]["model"]
    runtime = resources["ServingRuntime"]
    assert model["runtime"] == runtime["metadata"]["name"]
    assert [model["protocolVersion"]] == runtime["spec"]["protocolVersions"] == [protocol]
    assert model["modelFormat"] in runtime["spec"]["supportedModelFormats"]
    (port,) = pod(folder)["containers"][0]["ports"]  # of several the first alone is behind the host name
    assert port["name"] == name
    (exposed,) = re.findall(r"^EXPOSE (\d+) (\d+)$", IMAGE, re.MULTILINE)
    assert str(port["containerPort"]) == exposed[KSERVE.index(folder)]


def test_kserves_two_runtimes_may_stand_side_by_side() -> None:
    one, other = (set(map(_identity, built(folder).values())) for folder in KSERVE)
    assert not one & other


def _identity(resource: Resource) -> tuple[str, str]:
    return resource["kind"], resource["metadata"]["name"]


def test_namespaces_are_settings_of_the_network_policy(tmp_path: Path) -> None:
    shutil.copytree(HERE / "base", tmp_path / "base")
    (tmp_path / "base" / "network.env").write_text("INGRESS_NAMESPACE=edge\nMONITORING_NAMESPACE=watching\n")
    done = run(tool("kubectl"), "kustomize", tmp_path / "base")
    (policy,) = [each for each in yaml.safe_load_all(done.stdout) if each["kind"] == "NetworkPolicy"]
    (ingress,) = policy["spec"]["ingress"]
    names = [each["namespaceSelector"]["matchLabels"] for each in ingress["from"] if "namespaceSelector" in each]
    assert names == [{"kubernetes.io/metadata.name": "edge"}, {"kubernetes.io/metadata.name": "watching"}]
    assert "ekiben-network" not in done.stdout  # it is no resource of the cluster
    (egress,) = policy["spec"]["egress"]
    assert "to" not in egress and {port["port"] for port in egress["ports"]} == {53, 5353}


def test_keys_come_from_a_secret_and_prometheus_has_its_own() -> None:
    resources, spec = built("overlays/registry"), pod("overlays/registry")
    (container,) = spec["containers"]
    (variable,) = container["env"]
    (volume,) = [each for each in spec["volumes"] if "secret" in each]
    (mount,) = [each for each in container["volumeMounts"] if each["name"] == volume["name"]]
    assert variable["name"] in {f"EKIBEN_{name.upper()}" for name in Settings.__dataclass_fields__}
    assert Path(variable["value"]).parent == Path(mount["mountPath"]) and mount["readOnly"] and "subPath" not in mount
    assert volume["secret"]["defaultMode"] == 0o440 and spec["securityContext"]["fsGroup"] == 1034
    (endpoint,) = resources["ServiceMonitor"]["spec"]["endpoints"]
    secret = endpoint["authorization"]["credentials"]["name"]
    assert secret != volume["secret"]["secretName"]  # what opens the metrics opens nothing else
    assert "authorization" not in built("overlays/production")["ServiceMonitor"]["spec"]["endpoints"][0]


def test_the_image_is_named_to_the_byte_and_its_registry_may_ask_for_a_password() -> None:
    resources, spec = built("overlays/registry"), pod("overlays/registry")
    assert re.fullmatch(r"registry\.example\.com/ekiben@sha256:[0-9a-f]{64}", spec["containers"][0]["image"])
    assert spec["imagePullSecrets"] and spec["priorityClassName"] == resources["PriorityClass"]["metadata"]["name"]


def test_all_ways_in_lead_to_the_service() -> None:
    resources = built("overlays/registry")
    port, grpc = resources["Service"]["spec"]["ports"]
    (rule,) = resources["GRPCRoute"]["spec"]["rules"]
    assert rule["backendRefs"] == [{"name": resources["Service"]["metadata"]["name"], "port": grpc["port"]}]
    hosts = [resources[kind]["spec"]["hostnames"] for kind in ("HTTPRoute", "GRPCRoute")]
    assert not set(hosts[0]) & set(hosts[1])
    (rule,) = resources["HTTPRoute"]["spec"]["rules"]
    (backend,) = rule["backendRefs"]
    assert backend == {"name": resources["Service"]["metadata"]["name"], "port": port["port"]}
    (host,) = resources["Ingress"]["spec"]["rules"]
    (path,) = host["http"]["paths"]
    assert path["backend"]["service"] == {"name": backend["name"], "port": {"name": port["name"]}}
    (certificate,) = resources["Ingress"]["spec"]["tls"]
    assert certificate["hosts"] == [host["host"]]


@pytest.mark.parametrize("folder", OVERLAYS)
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
    for rule in yaml.safe_load((HERE / "queue" / "adapter.yaml").read_text())["rules"]["custom"]
}


def test_the_autoscaler_reads_what_the_adapter_gives() -> None:
    plain = built("overlays/production")["HorizontalPodAutoscaler"]["spec"]["metrics"]
    assert [metric["type"] for metric in plain] == ["Resource"]  # without an adapter there would be no answer
    metrics = built("overlays/registry")["HorizontalPodAutoscaler"]["spec"]["metrics"]
    assert {metric["type"] for metric in metrics} == {"Resource", "Pods"}
    assert {metric["pods"]["metric"]["name"] for metric in metrics if metric["type"] == "Pods"} <= set(ADAPTED)


@pytest.mark.parametrize("name", ADAPTED)
def test_the_adapter_adds_up_what_the_service_counts(name: str, tmp_path: Path) -> None:
    """A pod whose two forms each count 4 a second has 8, and the other pod's are not among them."""
    rule = ADAPTED[name]
    series, _, matchers = rule["seriesQuery"].rstrip("}").partition("{")
    assert f'"{re.sub("_(sum|count)$", "", series)}"' in SERVING
    query = rule["metricsQuery"].replace("<<.GroupBy>>", "pod").replace("<<.Series>>", series)
    query = query.replace("<<.LabelMatchers>>", f'{matchers},namespace="ekiben",pod=~"a|b"')
    (tmp_path / "rules.yml").write_text(
        yaml.safe_dump({"groups": [{"name": "adapter", "rules": [{"record": name, "expr": query}]}]})
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
