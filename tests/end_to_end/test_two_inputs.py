"""The ride of docs/models.md: a network of two inputs, whose fields are numbers and words; and the same in tensors."""

import json
import re
import shlex
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from types import SimpleNamespace
from typing import Any

import httpx
import numpy as np
import pytest

from loadtest.workload import typical_rows
from tests.conftest import command, running
from tests.documented import documented, write

RIDE = {"start": "harbour", "end": "airport", "distance": 12.5, "hour": 8}
CODES = {"old town": 1, "harbour": 2, "airport": 5}
FORMS = ("pytorch", "onnx", "optimized", "int8")


@pytest.fixture(scope="module")
def http(tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx.Client]:
    """A service with `rides` as the page has it, and `tensors`, which is the same without fields."""
    folder, home = tmp_path_factory.mktemp("mine"), tmp_path_factory.mktemp("home")
    files = documented("rides")
    write(folder / "rides", files)
    del files["examples.json"]
    bare = 'verb="predict",\n    payload=None,\n    signature='
    files["model.py"] = re.sub(r"verb=.*?signature=", bare, files["model.py"], count=1, flags=re.S)
    write(folder / "tensors", {name: code.replace("rides", "tensors") for name, code in files.items()})
    mine: dict[str, Any] = {"EKIBEN_BENTOS": str(folder)}
    out = str(tmp_path_factory.mktemp("artifacts"))
    names = ("rides", "tensors")
    command([sys.executable, "-m", "train", *names, "--out", out, "--strict"], home, **mine)
    again = command([sys.executable, "-m", "train", *names, "--out", out, "--if-changed"], home, **mine)
    assert again.count("is up to date") == 2
    command([sys.executable, "-m", "convert", *names, "--artifacts", out, "--strict"], home, **mine)
    with running(home, 200, mine) as server, httpx.Client(base_url=server.url) as client:
        yield client


def infer(http: httpx.Client, name: str, rides: list[dict[str, Any]]) -> list[float]:
    """V2's answer to rides, with both inputs."""
    features = [[ride["distance"], ride["hour"]] for ride in rides]
    ids = [[CODES.get(ride[end], ride[end]) for end in ("start", "end")] for ride in rides]
    inputs = [
        {"name": "ids", "shape": [len(rides), 2], "datatype": "INT64", "data": ids},
        {"name": "features", "shape": [len(rides), 2], "datatype": "FP32", "data": features},
    ]
    answer = http.post(f"/v2/models/{name}/infer", json={"inputs": inputs}).json()
    data: list[float] = answer["outputs"][0]["data"]
    return data


def minutes(http: httpx.Client, payload: Any, form: str = "onnx") -> Any:
    answer = http.post("/rides/time", params={"form": form}, json=payload)
    assert answer.status_code == 200, answer.text
    found = answer.json()
    return [each["minutes"] for each in found] if isinstance(found, list) else found["minutes"]


@pytest.mark.parametrize("form", FORMS)
def test_words_and_codes_go_into_the_input_that_they_are_a_column_of(http: httpx.Client, form: str) -> None:
    by_word, by_code = minutes(http, RIDE, form), minutes(http, {**RIDE, "start": 2, "end": 5.0}, form)
    assert by_word == by_code == pytest.approx(infer(http, f"rides-{form}", [RIDE])[0], abs=0.006)
    assert by_word == pytest.approx(3 + 12.5 * 1.7 + 9, rel=0.15)
    there, back = minutes(http, [RIDE, {**RIDE, "start": "airport"}], form)
    assert there == by_word and back > there + 4


def test_what_is_no_choice_is_named_with_those_there_are(http: httpx.Client) -> None:
    for wrong, said in (("Mars", '"Mars"'), (3, "3"), (True, "true"), (None, "null"), (2.5, "2.5")):
        answer = http.post("/rides/time", json={**RIDE, "start": wrong})
        assert answer.status_code == 400
        assert answer.json()["error"] == f"start is {said}: it must be one of old town (1), harbour (2), airport (5)"


def test_random_rides_are_of_the_choices_and_are_answered_alike(http: httpx.Client) -> None:
    drawn = [http.get("/rides/random").json() for _ in range(30)]
    assert {each["payload"]["start"] for each in drawn} == {1, 2, 5}
    payloads = [each["payload"] for each in drawn]
    expected = [each["prediction"]["minutes"] for each in drawn]
    assert minutes(http, payloads) == pytest.approx(expected, abs=0.011)
    assert infer(http, "rides", payloads) == pytest.approx(expected, abs=0.011)


def test_eight_clients_get_what_one_gets(http: httpx.Client) -> None:
    rides = [{**RIDE, "start": (1, 2, 5)[n % 3], "distance": n / 2 + 1} for n in range(48)]
    alone = [minutes(http, ride) for ride in rides]
    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(lambda ride: minutes(http, ride), rides)) == pytest.approx(alone, abs=0.011)


def test_the_page_has_selects_with_labels_and_works_without_a_script(http: httpx.Client) -> None:
    page = http.get("/ui/rides").text
    assert '<label for="field-start">From</label>' in page and page.count("<select") == 2
    assert re.search(r'<option value="airport" data-code="5" selected>airport</option>', page)
    (curl,) = re.findall(r'id="curl">(.*?)</code>', page, re.S)
    shown = json.loads(shlex.split(curl.replace("\\\n", "").replace("&#34;", '"').replace("&#39;", "'"))[-1])
    assert shown["start"] == "old town" and minutes(http, shown) > 0
    answer = http.post("/ui/rides", data={name: str(value) for name, value in RIDE.items()})
    assert answer.status_code == 200
    assert f"{minutes(http, RIDE):.4g} min" in " ".join(re.sub(r"<[^>]+>", " ", answer.text).split())
    wrong = http.post("/ui/rides", data={**RIDE, "end": "Mars", "hour": "8"})  # type: ignore[dict-item]
    assert wrong.status_code == 400 and "it must be one of old town (1)" in wrong.text


def test_swagger_lists_the_choices_and_its_examples_are_true(http: httpx.Client) -> None:
    paths = http.get("/docs.json").json()["paths"]
    body = paths["/rides/time"]["post"]["requestBody"]["content"]["application/json"]
    start = body["schema"]["oneOf"][0]["properties"]["start"]
    assert start["title"] == "From" and start["example"] == "old town"
    assert [kind["enum"] for kind in start["oneOf"]] == [[*CODES], [*CODES.values()]]
    for example in body["examples"].values():
        assert minutes(http, example["value"])
    v2 = paths["/v2/models/{model}/infer"]["post"]["requestBody"]["content"]["application/json"]["examples"]["rides"]
    assert [tensor["name"] for tensor in v2["value"]["inputs"]] == ["features", "ids"]
    assert http.post("/v2/models/rides/infer", json=v2["value"]).json()["outputs"][0]["data"]


def test_drift_watches_the_fields_of_both_inputs(http: httpx.Client) -> None:
    minutes(http, [RIDE] * 20)
    http.get("/metrics")
    metrics = http.get("/metrics").text
    for quantity in ("start", "end", "distance", "hour"):
        counted = re.findall(rf'drift_observed_total{{.*quantity="input:{quantity}".*}} (\S+)', metrics)
        assert sum(map(float, counted)) >= 20, quantity


def test_without_fields_the_inputs_are_named_nested_lists(http: httpx.Client) -> None:
    asked = {"features": [12.5, 8.0], "ids": [2, 5]}
    answer = http.post("/tensors/predict", json=asked).json()
    assert answer["minutes"] == pytest.approx(infer(http, "tensors", [RIDE]), abs=1e-4)
    drawn = http.get("/tensors/random").json()
    assert set(drawn["payload"]) == {"features", "ids"}
    repeated = http.post("/tensors/predict", json=drawn["payload"]).json()
    assert repeated["minutes"] == pytest.approx(drawn["prediction"]["minutes"], abs=1e-4)
    page = http.get("/ui/tensors")
    assert page.status_code == 200 and "<textarea" in page.text
    assert 'quantity="input:ids mean"' in http.get("/metrics").text


@pytest.mark.parametrize("name", ["rides", "tensors"])
def test_load_tests_draw_rows_of_both_inputs(http: httpx.Client, name: str) -> None:
    service: Any = SimpleNamespace(json=lambda path: http.get(path).json())
    rows = list(islice(typical_rows(service, name, http.get(f"/v2/models/{name}").json()["inputs"]), 20))
    assert all(row["ids"].dtype == np.int64 and set(row["ids"].tolist()) <= {1, 2, 5} for row in rows)
    assert all(row["features"].dtype == np.float32 and row["features"].shape == (2,) for row in rows)
    assert len({row["features"].tobytes() for row in rows}) > 10 and max(row["features"].max() for row in rows) > 1


def test_both_are_ready_with_all_their_forms(http: httpx.Client) -> None:
    models = http.get("/health").json()["models"]
    for name in ("rides", "tensors"):
        assert models[name]["ready"] and set(models[name]["forms"]) == set(FORMS)
