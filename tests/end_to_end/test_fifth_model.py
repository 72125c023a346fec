"""The README's how-to, done: a model is one folder, and a file without a recipe is one command."""

import json
import os
import re
import shutil
import subprocess
import sys

import httpx
import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from tests.conftest import ROOT, command, running


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    """A copy of the project with the README's kettle in it, and nothing else changed."""
    root = tmp_path_factory.mktemp("project")
    rooms = ("bentos", "serving", "train", "convert", "deploy", "loadtest")
    for room in (*rooms, "service.py", "bentofile.yaml", "pyproject.toml", "requirements.lock"):
        source = ROOT / room
        shutil.copytree(source, root / room) if source.is_dir() else shutil.copy(source, root / room)
    readme = (ROOT / "README.md").read_text()
    folder = root / "bentos" / "kettle"
    folder.mkdir()
    (folder / "__init__.py").touch()
    for name, code in re.findall(r"```python\n# bentos/kettle/(\w+\.py)\n(.*?)```", readme, re.S):
        (folder / name).write_text(code)
    (examples,) = re.findall(r"```json\n(.*?)```", readme, re.S)
    (folder / "examples.json").write_text(examples)
    return root


@pytest.fixture(scope="module")
def fifth(project, tmp_path_factory):
    home = tmp_path_factory.mktemp("home")
    for stage in ("train", "convert"):
        command([sys.executable, "-m", stage, "kettle"], home, cwd=project)
    mine = onnx_file(project / "mine.onnx")
    command([sys.executable, "-m", "convert", "import", str(mine), "--name", "mine"], home, cwd=project)
    with running(home, 200, {}, cwd=project) as server, httpx.Client(base_url=server.url) as http:
        yield http


def onnx_file(path):
    """y = 2x"""
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 3])
    y = helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", 3])
    two = helper.make_tensor("two", TensorProto.FLOAT, [1], [2.0])
    graph = helper.make_graph([helper.make_node("Mul", ["x", "two"], ["y"])], "double", [x], [y], [two])
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9), path)
    return path


def test_it_answers_natively_within_its_error(fifth):
    answer = fifth.post("/kettle/time", json={"litres": 1.0, "start": 15, "power": 2200}).json()
    assert answer["seconds"] == pytest.approx(4186 * 85 / (0.85 * 2200), rel=0.15)
    wrong = fifth.post("/kettle/time", json={"litres": 5, "start": 15, "power": 2200})
    assert wrong.status_code == 400
    assert "litres is 5: it must be a number from 0.1 to 3 l" in wrong.json()["error"]


def test_it_has_random_v2_swagger_page_health_and_metrics(fifth):
    assert fifth.get("/kettle/random").json()["prediction"]["model"] == "kettle"
    tensor = {"name": "features", "shape": [1, 3], "datatype": "FP32", "data": [1, 15, 2200]}
    assert fifth.post("/v2/models/kettle/infer", json={"inputs": [tensor]}).json()["outputs"][0]["name"] == "seconds"
    assert "/kettle/time" in fifth.get("/docs.json").json()["paths"]
    page = fifth.get("/ui/kettle")
    assert page.status_code == 200
    assert "water in the kettle" in page.text
    assert fifth.get("/health").json()["models"]["kettle"]["ready"]
    assert 'ekiben_requests_total{form="onnx",interface="native",model="kettle"' in fifth.get("/metrics").text


def test_a_file_without_a_recipe_is_served_over_v2(fifth):
    rows = np.arange(6, dtype=np.float32)
    tensor = {"name": "x", "shape": [2, 3], "datatype": "FP32", "data": rows.tolist()}
    answer = fifth.post("/v2/models/mine/infer", json={"inputs": [tensor]}).json()
    assert answer["outputs"][0]["data"] == (rows * 2).tolist()
    assert "mine" in fifth.get("/ui").text


def test_a_bento_holds_exactly_the_pinned_models(project, fifth, tmp_path):
    home = tmp_path
    shutil.copytree(ROOT / "build" / "test-home" / "models", home / "models")
    built = subprocess.run(
        [sys.executable, "-m", "bentoml", "build", ".", "--output", "tag"],
        cwd=project, env={**os.environ, "BENTOML_HOME": str(home), "EKIBEN_MODELS": "iris"},
        capture_output=True, text=True,
    )  # fmt: skip
    assert built.returncode == 0, built.stderr
    (bento,) = (home / "bentos" / "ekiben").glob("*/bento.yaml")
    tags = sorted(re.findall(r"- tag: (\S+)", bento.read_text()))
    assert [tag.split(":")[0] for tag in tags] == ["iris-onnx", "iris-sklearn"]
    sources = {path.relative_to(bento.parent / "src").parts[0] for path in (bento.parent / "src").rglob("*.py")}
    assert sources == {"service.py", "serving", "bentos"}


def test_the_load_test_asks_it(project, fifth, tmp_path):
    host = str(fifth.base_url).rstrip("/")
    asked = ["--host", host, "--seconds", "1", "--rate", "40", "--out", str(tmp_path)]
    command([sys.executable, "-m", "loadtest.load", *asked], tmp_path, cwd=project)
    rows = json.loads((tmp_path / "load.json").read_text())["rows"]
    assert {f"kettle {how}" for how in ("native", "v2", "binary")} < {row["name"] for row in rows}
