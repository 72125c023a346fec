"""Models whose tensors are of every kind, asked by eight clients at once in mixed shapes, in JSON and in binary."""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import ml_dtypes
import numpy as np
import pytest
import tritonclient.http as triton
from tritonclient.utils import InferenceServerException

from tests.conftest import ROOT, Server, running
from tests.end_to_end.any_shape import MODELS, TABLE

CLIENTS, REQUESTS = 8, 12
Arrays = dict[str, Any]
TYPES = {name: {t.name: t.datatype for t in sample.signature.inputs} for name, sample in MODELS.items()}


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    home = tmp_path_factory.mktemp("any-shape")
    environment = {**os.environ, "BENTOML_HOME": str(home)}
    subprocess.run([sys.executable, "-m", "tests.end_to_end.any_shape"], cwd=ROOT, env=environment, check=True)
    with running(home, 200, {"EKIBEN_MAX_BATCH_SIZE": "32,half=4"}) as server:
        yield server


@pytest.fixture
def client(served: Server) -> Iterator[triton.InferenceServerClient]:
    with triton.InferenceServerClient(served.url.removeprefix("http://")) as client:
        yield client


def ask(client: triton.InferenceServerClient, name: str, arrays: Arrays, binary: bool) -> Arrays:
    """The outputs by name."""
    inputs = []
    for tensor, array in arrays.items():
        given = triton.InferInput(tensor, list(array.shape), TYPES[name][tensor])
        given.set_data_from_numpy(array, binary_data=binary)
        inputs.append(given)
    wanted = [triton.InferRequestedOutput(t.name, binary_data=binary) for t in MODELS[name].signature.outputs]
    result = client.infer(name, inputs, outputs=wanted)
    return {output.name(): as_text(result.as_numpy(output.name())) for output in wanted}


def as_text(array: np.ndarray) -> np.ndarray:
    """tritonclient gives strings of JSON as they are, and those of binary data as bytes."""
    if array.dtype != object:
        return array
    return np.array([v if isinstance(v, str) else v.decode() for v in array.flat], object).reshape(array.shape)


def embed(random: np.random.Generator) -> tuple[Arrays, Arrays]:
    ids = random.integers(0, 10, (random.integers(1, 4), random.integers(1, 9)))
    mask = random.integers(0, 2, ids.shape)
    return {"ids": ids, "mask": mask}, {"scores": (TABLE[ids] * mask[..., None]).sum(1)}


def step(random: np.random.Generator) -> tuple[Arrays, Arrays]:
    n_rows, rate = random.integers(1, 4), random.integers(1, 3)
    x, state = (random.integers(-9, 9, shape).astype(np.float32) for shape in ((n_rows, 3), (2, n_rows, 3)))
    return {"x": x, "state": state, "rate": np.array(rate)}, {"y": x * rate + state.sum(0), "next": state + x}


def centre(random: np.random.Generator) -> tuple[Arrays, Arrays]:
    x = random.integers(-9, 9, 2 ** random.integers(0, 4)).astype(np.float32)
    return {"x": x}, {"y": x - x.mean(), "mean": x.mean()}


def join(random: np.random.Generator) -> tuple[Arrays, Arrays]:
    texts = ("", "é", 'a"b]', "two words: {}", "\\")
    n_rows, n_words = random.integers(1, 4, 2)
    left, right = (random.choice(texts, shape).astype(object) for shape in ((n_rows, n_words), (n_rows, 1)))
    return {"left": left, "right": right}, {"both": left + right, "first": left}


def gaps(random: np.random.Generator) -> tuple[Arrays, Arrays]:
    x = random.choice(np.array([1, 2.5, np.nan], np.float32), (random.integers(1, 50), 3))
    return {"x": x}, {"y": x + x}


def half(random: np.random.Generator) -> tuple[Arrays, Arrays]:
    x = random.standard_normal((random.integers(1, 9), 2)).astype(np.float16)
    return {"x": x}, {"y": x}


ASKED: dict[str, Callable[[np.random.Generator], tuple[Arrays, Arrays]]] = {
    "embed": embed, "step": step, "centre": centre, "join": join, "gaps": gaps, "half": half,
}  # fmt: skip


@pytest.mark.parametrize("name", ASKED)
def test_eight_clients_of_mixed_shapes_are_answered_as_if_alone(name: str, served: Server) -> None:
    def client_of(seed: int) -> int:
        random = np.random.default_rng(seed)
        with triton.InferenceServerClient(served.url.removeprefix("http://")) as client:
            for place in range(REQUESTS):
                inputs, expected = ASKED[name](random)
                # tritonclient's JSON has no FP16 and no NaN.
                binary = name in ("half", "gaps") or place % 2 == 0
                outputs = ask(client, name, inputs, binary)
                for tensor, array in expected.items():
                    np.testing.assert_array_equal(outputs[tensor], array, f"{tensor} of {inputs}")
        return REQUESTS

    with ThreadPoolExecutor(CLIENTS) as pool:
        assert sum(pool.map(client_of, range(CLIENTS))) == CLIENTS * REQUESTS


def test_bf16_is_its_sixteen_bits(client: triton.InferenceServerClient) -> None:
    x = np.array([[1.5, -2.0], [0.0, 3.140625]], ml_dtypes.bfloat16)
    assert ask(client, "brain", {"x": x}, True)["y"].tolist() == x.tolist()


def test_what_the_engine_refuses_is_the_fault_of_one_client_and_of_no_other(served: Server) -> None:
    def one(place: int) -> None:
        bad = place % 5 == 0
        with triton.InferenceServerClient(served.url.removeprefix("http://")) as client:
            inputs, expected = embed(np.random.default_rng(place))
            if not bad:
                return np.testing.assert_array_equal(ask(client, "embed", inputs, True)["scores"], expected["scores"])
            inputs["ids"][0, 0] = 99
            with pytest.raises(InferenceServerException, match=r"400.*idx=99 must be within"):
                ask(client, "embed", inputs, True)
        return None

    with ThreadPoolExecutor(CLIENTS) as pool:
        list(pool.map(one, range(80)))
    metrics = httpx.get(f"{served.url}/metrics").text
    assert 'ekiben_failures_total{form="onnx",model="embed",reason="bad_input",version="1"} 16.0' in metrics
    assert 'ekiben_failures_total{form="onnx",model="embed",reason="engine",version="1"} 0.0' in metrics


def test_the_error_names_the_two_dimensions_that_differ(client: triton.InferenceServerClient) -> None:
    ids, mask = np.zeros((1, 3), np.int64), np.zeros((1, 4), np.int64)
    with pytest.raises(InferenceServerException, match="'sequence' is 3 in input 'ids' and 4 in input 'mask'"):
        ask(client, "embed", {"ids": ids, "mask": mask}, True)


def test_an_output_that_is_nan_is_said_to_be_one(served: Server) -> None:
    tensor = {"name": "x", "datatype": "FP32", "shape": [1, 3], "data": [1, None, 3]}
    answer = httpx.post(f"{served.url}/v2/models/gaps/infer", json={"inputs": [tensor]}).json()
    assert answer["outputs"][0]["data"] == [2, None, 6] and answer["outputs"][0]["parameters"] == {"nan": 1}


def test_clients_are_told_what_may_be_joined(served: Server, client: triton.InferenceServerClient) -> None:
    config = client.get_model_config("centre")
    assert config["max_batch_size"] == 0 and "dynamic_batching" not in config
    assert config["output"][1] == {"name": "mean", "data_type": "TYPE_FP32", "dims": [1], "reshape": {"shape": []}}
    config = client.get_model_config("join")
    assert config["max_batch_size"] == 32 and config["input"][0]["dims"] == [-1]
    assert config["input"][0]["data_type"] == "TYPE_STRING"
    assert client.get_model_config("step")["max_batch_size"] == 0, "whole shapes, as the batch does not come first"
    assert client.get_model_metadata("step")["inputs"][1]["shape"] == [2, -1, 3]
    forms = {name: model["forms"]["onnx"] for name, model in httpx.get(f"{served.url}/health").json()["models"].items()}
    assert {name for name, form in forms.items() if not form["batched"]} == {"centre"}
    assert (forms["half"]["max_batch_size"], forms["step"]["max_batch_size"]) == (4, 32)


@pytest.mark.parametrize("name", MODELS)
def test_a_person_asks_by_route_page_and_by_chance(name: str, served: Server) -> None:
    with httpx.Client(base_url=served.url) as http:
        drawn = http.get(f"/{name}/random").json()
        answer = http.post(f"/{name}/predict", json=drawn["payload"])
        assert answer.status_code == 200 and answer.json() == drawn["prediction"]
        outputs = {tensor.name for tensor in MODELS[name].signature.outputs}
        assert set(drawn["prediction"]) >= outputs | {"model", "form", "version"}
        assert http.get("/ui").text.count(f'href="./ui/{name}"') >= 1
        page = http.get(f"/ui/{name}")
        assert page.status_code == 200 and "Named nested lists" in page.text
        page = http.post(f"/ui/{name}", data={"payload": json.dumps(drawn["payload"])})
        assert page.status_code == 200 and "Answer of onnx" in page.text
        page = http.post(f"/ui/{name}", data={"payload": "[]"})
        assert page.status_code == 400 and "the body must be a JSON object" in page.text
        described = http.get("/docs.json").json()["paths"][f"/{name}/predict"]["post"]
        example = described["requestBody"]["content"]["application/json"]["example"]
        assert http.post(f"/{name}/predict", json=example).status_code == 200


def test_a_row_without_its_batch_is_answered_without_one_and_with_its_label(served: Server) -> None:
    url = f"{served.url}/embed/predict"
    row = httpx.post(url, json={"ids": [0, 1, 2], "mask": [1, 1, 1]}).json()
    assert row["scores"] == {"ash": 9, "beech": 12, "cedar": 15} and row["label"] == "cedar"
    rows = httpx.post(url, json={"ids": [[0, 1], [3, 4]], "mask": [[1, 1], [1, 0]]}).json()
    assert rows["scores"] == [[3, 5, 7], [9, 10, 11]] and rows["label"] == ["cedar", "cedar"]
    refused = httpx.post(url, json={"ids": [99], "mask": [1]})
    assert refused.status_code == 400 and "idx=99 must be within" in refused.json()["error"]
