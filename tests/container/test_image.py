"""The images: small, ready soon, safe to run, and everything answers that answers outside."""

import json
import math
import re
import subprocess
import sys
from datetime import datetime
from importlib.metadata import version

import httpx
import pytest
import yaml
from cyclonedx.schema import SchemaVersion

from bentos import contract
from tests.conftest import ROOT
from tests.container.conftest import command, docker, running, wait

pytestmark = pytest.mark.container
MEGABYTE = 10**6
STRANGER = "--user=12345:0"  # a user whom the image does not know, as OpenShift picks one

INSTALLED = """
import importlib.metadata, json
print(json.dumps({d.metadata["Name"]: d.version for d in importlib.metadata.distributions(path=["%s"])}))
"""
KILL_WORKERS = """
import glob, os, signal
for path in glob.glob("/proc/[0-9]*/cmdline"):
    if b"_bentoml_impl.worker.service" in open(path, "rb").read().split(b"\\0"):
        os.kill(int(path.split("/")[2]), signal.SIGKILL)
        print("killed")
"""


@pytest.fixture(scope="module")
def box(slim):
    with running(slim, STRANGER) as container:
        yield container


@pytest.fixture(scope="module")
def http(box):
    with httpx.Client(base_url=box.url, timeout=240) as client:
        yield client


@pytest.mark.parametrize(("name", "limit"), [("slim", 450 * MEGABYTE), ("full", 1300 * MEGABYTE)])
def test_size(build, name, limit):
    assert int(docker("image", "inspect", "--format={{.Size}}", build(name))) <= limit


def test_ready_without_a_setting(slim):
    with running(slim) as container:  # which fails where it is not ready in half a minute
        print(f"ready after {container.seconds_to_ready:.1f} s")


def test_runs_as_nobody_in_particular_and_can_write_nothing_of_its_own(box, slim):
    assert box.inside("id", "-u") == "12345"
    assert docker("image", "inspect", "--format={{.Config.User}}", slim) == "1034:1034"
    writable = box.inside("find", "/app", "/home", "-writable", "-not", "-type", "l")
    assert not writable


def test_every_model_answers_by_the_native_route(http):
    for name in contract.names():
        model = contract.model(name)
        example = contract.examples(name)[0]
        if isinstance(model.payload, contract.Image):
            picture = (contract.BENTOS / name / example).read_bytes()
            answer = http.post(f"/{name}/{model.verb}", files={"image": picture})
        else:
            answer = http.post(f"/{name}/{model.verb}", json=example)
        assert answer.status_code == 200, answer.text
        assert answer.json()["model"] == name


def test_every_model_answers_by_the_open_inference_protocol(http):
    for name in contract.names():
        signature = contract.model(name).signature
        inputs = [
            tensor.as_dict() | {"shape": [1, *tensor.shape[1:]], "data": [0] * math.prod(tensor.shape[1:])}
            for tensor in signature.inputs
        ]
        answer = http.post(f"/v2/models/{name}/infer", json={"inputs": inputs})
        assert answer.status_code == 200, answer.text
        assert [output["name"] for output in answer.json()["outputs"]] == [output.name for output in signature.outputs]


def test_pages_and_their_files_are_packed(http):
    page = http.get("/ui")
    assert page.status_code == 200
    files = set(re.findall(r"/ui/static/[\w.-]+", page.text))
    assert files
    assert {http.get(file).status_code for file in files} == {200}


def test_metrics_count_what_was_answered(http):
    http.get("/iris/random")
    counted = re.findall(r'^ekiben_request_seconds_count\{.*model="iris".*\} (\S+)$', http.get("/metrics").text, re.M)
    assert sum(map(float, counted)) >= 1


def test_only_onnx_forms_are_packed(http):
    health = http.get("/health").json()
    assert health["status"] == "ok"
    forms = {form for model in health["models"].values() for form in model["forms"]}
    assert forms == {"onnx", "optimized", "int8"}


def test_nothing_that_compiles_downloads_or_trains_is_inside(box):
    tools = box.inside("sh", "-c", "for tool in gcc cc g++ make git curl uv; do command -v $tool; done; true")
    assert not tools
    modules = "torch", "sklearn", "skops", "safetensors", "scipy", "matplotlib"
    found = box.inside("python", "-c", f"from importlib.util import find_spec; print(*filter(find_spec, {modules}))")
    assert not found


def test_every_package_has_the_version_of_the_lock(box):
    locked = set(re.findall(r"^([\w.-]+)==(\S+)", (ROOT / "requirements.lock").read_text(), re.M))
    (packages,) = box.inside("sh", "-c", "ls -d /app/lib/python3*/site-packages").split()
    installed = json.loads(box.inside("python", "-c", INSTALLED % packages))
    assert "bentoml" in installed
    assert not {(re.sub(r"[-_.]+", "-", name).lower(), version) for name, version in installed.items()} - locked


def test_the_bill_of_materials_says_what_is_inside(slim, tmp_path):
    from cyclonedx.validation.json import JsonStrictValidator  # takes seconds: no other test's process waits for it

    file = tmp_path / "sbom.json"
    command([sys.executable, "-m", "deploy.sbom", slim, "--out", str(file)], 60)
    assert JsonStrictValidator(SchemaVersion.V1_6).validate_str(file.read_text()) is None
    bill = json.loads(file.read_text())
    found = {part["bom-ref"].partition("@")[0]: part for part in bill["components"]}
    assert found["pkg:pypi/bentoml"]["version"] == version("bentoml")
    assert "pkg:deb/debian/libc6" in found
    assert "pkg:pypi/torch" not in found
    assert "pkg:pypi/pip" in found  # the base image's own
    python = docker("run", "--rm", "--entrypoint=python", slim, "--version").removeprefix("Python ")
    assert found["pkg:generic/python"]["version"] == python
    models = {part["name"]: part for part in bill["components"] if part["type"] == "machine-learning-model"}
    assert models.keys() == {f"{name}-onnx" for name in contract.names()} | {"digits-optimized", "digits-int8"}
    for name, model in models.items():
        digests = {file["name"]: file["hashes"][0]["content"] for file in model["components"]}
        path = f"/home/bentoml/bento/models/{name}/{model['version']}/model.onnx"
        assert docker("run", "--rm", "--entrypoint=sha256sum", slim, path).split()[0] == digests["model.onnx"]
    command([sys.executable, "-m", "deploy.sbom", slim, "--out", str(file)], 60)
    assert json.loads(file.read_text())["serialNumber"] == bill["serialNumber"]


def test_the_image_says_what_it_is_and_of_which_commit(slim):
    labels = json.loads(docker("image", "inspect", "--format={{json .Config.Labels}}", slim))
    named = {key.removeprefix("org.opencontainers.image."): value for key, value in labels.items()}
    assert named["title"] == "ekiben" and named["licenses"] == "Apache-2.0" and named["version"] != "unknown"
    assert named["revision"] == command(["git", "rev-parse", "HEAD"], 10)
    created = docker("image", "inspect", "--format={{.Created}}", slim)
    assert datetime.fromisoformat(created).timestamp() == int(command(["git", "log", "-1", "--format=%ct"], 10))


def test_the_same_commit_gives_the_same_image(build, slim):
    assert build("slim", BUILT="again") == slim  # by a bento of its own, some seconds later


def test_a_package_whose_hash_is_not_the_locks_is_not_installed(tmp_path):
    """The first stage of the image, which installs nothing else."""

    def altered(pin):
        return re.sub(r"sha256:\w{64}", "sha256:" + "0" * 64, pin[0])

    lock, count = re.subn(r"^orjson==(?:.*\\\n)+.*", altered, (ROOT / "requirements.lock").read_text(), flags=re.M)
    assert count == 1
    for folder, name, text in (
        ("src", "requirements.lock", lock),
        ("src", "pyproject.toml", '[project]\ndependencies = ["orjson"]\n'),
        ("env/python", "requirements.txt", ""),
    ):
        (tmp_path / folder).mkdir(parents=True, exist_ok=True)
        (tmp_path / folder / name).write_text(text)
    file = ROOT / "deploy" / "image" / "Dockerfile.j2"
    words = ["docker", "build", "--target=packages", f"--file={file}", str(tmp_path)]
    done = subprocess.run(words, capture_output=True, text=True, timeout=180)
    assert done.returncode and "DO NOT MATCH THE HASHES" in done.stderr, done.stderr


def test_docker_sees_it_healthy(box):
    wait(lambda: box.health == "healthy", lambda: f"health is {box.health}", pause=0.5)


def test_a_dead_worker_is_replaced(box):
    assert box.inside("python", "-c", KILL_WORKERS) == "killed"
    wait(box.answers, lambda: "no new worker answers", pause=0.5)


def test_sigterm_ends_it(slim):
    with running(slim) as container:
        docker("stop", "--time=20", container.identity)  # then SIGKILL, which would be 137
        assert docker("inspect", "--format={{.State.ExitCode}}", container.identity) == "0"


def test_another_choice_of_models_changes_small_layers_only(build, slim):
    other = build("slim", EKIBEN_MODELS="iris")
    before, after = (
        json.loads(docker("image", "inspect", "--format={{json .RootFS.Layers}}", image)) for image in (slim, other)
    )
    changed = set(after) - set(before)
    newest_first = map(int, docker("history", "--human=false", "--format={{.Size}}", other).split())
    assert changed
    assert sum([size for size in newest_first if size][: len(changed)]) < 10 * MEGABYTE


def test_the_full_box_serves_the_forms_as_they_were_trained(build):
    with running(build("full")) as container, httpx.Client(base_url=container.url, timeout=240) as http:
        health = http.get("/health").json()
        assert health["status"] == "ok"
        for name, model in health["models"].items():
            (trained,) = {"pytorch", "sklearn"} & set(model["forms"])
            assert http.get(f"/v2/models/{name}-{trained}/ready").status_code == 200


def test_both_bentofiles_pack_the_same_files():
    full, slim = (yaml.safe_load((ROOT / name).read_text()) for name in ("bentofile.yaml", "bentofile.slim.yaml"))
    assert full["include"] == slim["include"]
    assert full["docker"] == slim["docker"]
