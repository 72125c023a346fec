"""A bento with a model of somebody's own folder in it, built as `make image` does it and served without a container."""

import json
import re
import shutil
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.conftest import ROOT, command, running
from tests.documented import write

pytestmark = pytest.mark.long

TAG = "ekiben:one-slim"

NAMES = """\
from pathlib import Path
from typing import Any

WORDS = (Path(__file__).parent / "data" / "words.txt").read_text().split()
"""
MODEL = """\
import numpy as np
from bentos.words.names import WORDS

from bentos.contract import Model, PayloadError, Signature, Tensor, Text


def preprocess(text):
    places = [WORDS.index(word) for word in text.lower().split() if word in WORDS]
    if not places:
        raise PayloadError(f"none of {', '.join(WORDS)} is in it")
    return (np.bincount(places, minlength=len(WORDS)).astype(np.float32),)


MODEL = Model(
    name="words",
    title="Words",
    doc="How pleased somebody is.",
    verb="weigh",
    payload=Text(),
    signature=Signature((Tensor("counts", "FP32", (-1, 4)),), (Tensor("pleasure", "FP32", (-1, 1)),)),
    preprocess=preprocess,
)
"""
RECIPE = """\
import numpy as np

from bentos import scores
from bentos.contract import Data, Recipe, Split, Tolerance

WEIGHTS = np.array([2, 1, -1, -2])


def load(options):
    counts = np.random.default_rng(0).integers(0, 4, (500, 4)).astype(np.float32)
    splits = (Split(counts[rows], counts[rows] @ WEIGHTS) for rows in (slice(100, None), slice(100)))
    return Data(*splits, "made up")


def fit(data, seed, progress):
    from sklearn.linear_model import LinearRegression

    return LinearRegression().fit(data.train.inputs, data.train.targets)


RECIPE = Recipe("sklearn", load, fit, {"onnx": Tolerance(difference=1e-4)}, scores.regression)
"""
WORDS = "great good bad awful"


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store with the model and a bento of it, and nothing else."""
    place, home = tmp_path_factory.mktemp("place") / "mine", tmp_path_factory.mktemp("home")
    examples = json.dumps([{"text": "a good day"}])
    write(place / "words", {"model.py": MODEL, "recipe.py": RECIPE, "names.py": NAMES, "examples.json": examples})
    (place / "words" / "data").mkdir()
    (place / "words" / "data" / "words.txt").write_text(WORDS)
    (place / "requirements.txt").write_text("orjson>=3.10 # of preprocessing\n")
    out = str(home / "artifacts")
    mine: dict[str, Any] = {"EKIBEN_BENTOS": str(place)}
    command([sys.executable, "-m", "train", "words", "--out", out], home, **mine)
    command([sys.executable, "-m", "convert", "words", "--artifacts", out, "--strict"], home, **mine)
    context = Path(tempfile.mkdtemp(prefix="context-", dir=ROOT / "build"))  # BentoML takes none from elsewhere
    named = {"BIN": Path(sys.executable).parent, "CONTEXT": context.relative_to(ROOT), "VERSION": "one"}
    variables = [f"{name}={value}" for name, value in named.items()]
    try:
        command(["make", "--old-file=models", "bento-slim", f"BENTOML_HOME={home}", *variables], home, **mine)
    finally:
        shutil.rmtree(context)
    return home


@pytest.fixture(scope="module")
def http(home: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx.Client]:
    """The bento by its tag, from an empty folder: what it needs is in it."""
    empty = tmp_path_factory.mktemp("empty")
    with running(home, 200, {"EKIBEN_BENTOS": ""}, empty, TAG) as server, httpx.Client(base_url=server.url) as client:
        yield client


def test_it_is_asked_in_its_own_words(http: httpx.Client) -> None:
    answer = http.post("/words/weigh", json="A GOOD day then bad bad awful music").json()
    assert answer["pleasure"] == pytest.approx(1 - 2 - 2, abs=0.01)
    assert (answer["model"], answer["form"]) == ("words", "onnx")
    unknown = http.post("/words/weigh", json="nothing")
    assert unknown.status_code == 400 and unknown.json()["error"] == "none of great, good, bad, awful is in it"


def test_machines_pages_and_probes_know_it_too(http: httpx.Client) -> None:
    tensor = {"name": "counts", "shape": [1, 4], "datatype": "FP32", "data": [1, 0, 0, 1]}
    answer = http.post("/v2/models/words/infer", json={"inputs": [tensor]}).json()
    assert answer["outputs"][0]["data"] == pytest.approx([0], abs=0.01)
    health = http.get("/health").json()
    assert [*health["models"]] == ["words"] and health["models"]["words"]["ready"]
    assert http.get("/ui/words").status_code == 200 and http.get("/words/random").json()["prediction"]["pleasure"]


def test_the_bento_has_its_files_its_forms_and_what_it_needs(home: Path) -> None:
    bento = home / "bentos" / "ekiben" / TAG.partition(":")[2]
    tags = re.findall(r"- tag: (\S+):", (bento / "bento.yaml").read_text())
    assert tags == ["words-onnx"]
    files = {
        file.relative_to(bento / "src/bentos/words").as_posix()
        for file in (bento / "src/bentos/words").rglob("*")
        if "__pycache__" not in file.parts  # of the service that ran from it
    }
    assert files == {"__init__.py", "model.py", "names.py", "examples.json", "data", "data/words.txt"}
    assert "orjson>=3.10" in (bento / "env/python/requirements.txt").read_text()
    (schema,) = bento.rglob("schema.json")
    assert "/words/weigh" in [route["route"] for route in json.loads(schema.read_text())["routes"]]
