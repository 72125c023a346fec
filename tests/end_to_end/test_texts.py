"""The bicycle of docs/models.md: a scikit-learn pipeline over numbers and texts."""

import json
import re
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import bentoml
import httpx
import numpy as np
import pytest

from tests.conftest import Server, command, running
from tests.documented import documented, write

BIKE = {"brand": "Brompton", "city": "Lyon", "age": 5.5, "gears": 6}
FORMS = ("sklearn", "onnx")
PRICE = 900 + 20 - 6 * 5.5 + 4 * 6
ODD = ("", "x" * 41, 7, None, True, ["Peugeot"])


@pytest.fixture(scope="module")
def mine(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """The setting that names the folder with the model."""
    folder = tmp_path_factory.mktemp("mine")
    write(folder / "bikes", documented("bikes"))
    return {"EKIBEN_BENTOS": str(folder)}


@pytest.fixture(scope="module")
def server(mine: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    home = tmp_path_factory.mktemp("home")
    out = str(tmp_path_factory.mktemp("artifacts"))
    command([sys.executable, "-m", "train", "bikes", "--out", out, "--strict"], home, **mine)
    again = command([sys.executable, "-m", "train", "bikes", "--out", out, "--if-changed"], home, **mine)
    assert "is up to date" in again
    command([sys.executable, "-m", "convert", "bikes", "--artifacts", out, "--strict"], home, **mine)
    with running(home, 200, mine | {"EKIBEN_MAX_REQUEST_ROWS": "2000"}) as served:
        yield served


@pytest.fixture(scope="module")
def http(server: Server) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=server.url) as client:
        yield client


def price(http: httpx.Client, payload: Any, form: str = "onnx") -> Any:
    answer = http.post("/bikes/price", params={"form": form}, json=payload)
    assert answer.status_code == 200, answer.text
    found = answer.json()
    return [each["price"] for each in found] if isinstance(found, list) else found["price"]


def infer(http: httpx.Client, name: str, bikes: list[dict[str, Any]]) -> list[float]:
    n = len(bikes)
    texts = [text for bike in bikes for text in (bike["brand"], bike["city"])]
    numbers = [number for bike in bikes for number in (bike["age"], bike["gears"])]
    inputs = [
        {"name": "numbers", "shape": [n, 2], "datatype": "FP32", "data": numbers},
        {"name": "texts", "shape": [n, 2], "datatype": "BYTES", "data": texts},
    ]
    data: list[float] = http.post(f"/v2/models/{name}/infer", json={"inputs": inputs}).json()["outputs"][0]["data"]
    return data


@pytest.mark.parametrize("form", FORMS)
def test_texts_and_numbers_are_answered_together(http: httpx.Client, form: str) -> None:
    own = price(http, BIKE, form)
    assert own == pytest.approx(PRICE, abs=5) == pytest.approx(infer(http, f"bikes-{form}", [BIKE])[0], abs=5)
    paris, unknown = price(http, [{**BIKE, "city": "Paris"}, {**BIKE, "city": "Ōsaka, 大阪"}], form)
    assert paris == pytest.approx(own + 40, abs=2) and unknown != own


@pytest.mark.parametrize("value", ODD, ids=map(str, range(len(ODD))))
def test_what_is_no_text_of_that_length_is_named(http: httpx.Client, value: Any) -> None:
    answer = http.post("/bikes/price", json={**BIKE, "brand": value})
    assert answer.status_code == 400
    words = answer.json()["error"]
    assert words.startswith("brand is ") and words.endswith(": it must be a text of 1 to 40 characters")
    assert http.post("/bikes/price", json={k: v for k, v in BIKE.items() if k != "brand"}).status_code == 400


def test_characters_are_counted_and_not_bytes(http: httpx.Client) -> None:
    assert price(http, {**BIKE, "brand": "é" * 40}) == pytest.approx(price(http, {**BIKE, "brand": "🚲" * 40}))
    assert http.post("/bikes/price", json={**BIKE, "brand": "é" * 41}).status_code == 400


def test_commas_in_texts_are_no_values(http: httpx.Client) -> None:
    bikes = [{**BIKE, "city": "," * 40} for _ in range(1000)]
    assert len(price(http, bikes)) == 1000
    many = http.post(
        "/bikes/price", content=b"[" + b"1," * 100_000 + b"1]", headers={"content-type": "application/json"}
    )
    assert many.status_code == 400 and "over 16000 values" in many.json()["error"]


def test_random_texts_are_those_of_training(http: httpx.Client) -> None:
    drawn = [http.get("/bikes/random").json() for _ in range(40)]
    payloads = [each["payload"] for each in drawn]
    assert {each["brand"] for each in payloads} == {"Peugeot", "Gitane", "Brompton"}
    assert price(http, payloads) == pytest.approx([each["prediction"]["price"] for each in drawn], abs=0.011)


def test_eight_clients_get_what_one_gets(http: httpx.Client) -> None:
    bikes = [{**BIKE, "brand": ("Gitane", "Peugeot", "?")[n % 3], "age": n / 2} for n in range(48)]
    alone = [price(http, bike) for bike in bikes]
    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(lambda bike: price(http, bike), bikes)) == pytest.approx(alone, abs=0.011)


def test_the_page_has_a_line_for_a_text_and_works_without_a_script(http: httpx.Client) -> None:
    page = http.get("/ui/bikes").text
    assert re.search(
        r'<input type="text" id="field-brand" name="brand" value="Peugeot" minlength="1" maxlength="40"', page
    )
    sent = {name: str(value) for name, value in BIKE.items()}
    answer = http.post("/ui/bikes", data=sent)
    assert answer.status_code == 200 and f"{price(http, BIKE):.4g} €" in " ".join(
        re.sub("<[^>]+>", " ", answer.text).split()
    )
    shown = http.post("/ui/bikes", data={**sent, "city": '<b>"12"</b>'})
    assert shown.status_code == 200 and "&lt;b&gt;&#34;12&#34;&lt;/b&gt;" in shown.text
    wrong = http.post("/ui/bikes", data={**sent, "city": ""})
    assert wrong.status_code == 400 and "city is &#34;&#34;: it must be a text of 1 to 40 characters" in wrong.text


def test_swagger_says_how_long_it_may_be_and_its_examples_are_true(http: httpx.Client) -> None:
    paths = http.get("/docs.json").json()["paths"]
    body = paths["/bikes/price"]["post"]["requestBody"]["content"]["application/json"]
    brand = body["schema"]["oneOf"][0]["properties"]["brand"]
    assert {key: brand[key] for key in ("type", "minLength", "maxLength", "example", "x-input")} == {
        "type": "string", "minLength": 1, "maxLength": 40, "example": "Peugeot", "x-input": "texts",
    }  # fmt: skip
    for example in body["examples"].values():
        assert price(http, example["value"])
    v2 = paths["/v2/models/{model}/infer"]["post"]["requestBody"]["content"]["application/json"]["examples"]["bikes"]
    assert http.post("/v2/models/bikes/infer", json=v2["value"]).json()["outputs"][0]["data"]


def test_bentomls_own_client_asks_it(http: httpx.Client) -> None:
    with bentoml.SyncHTTPClient(str(http.base_url)) as client:
        assert client.bikes_price(**BIKE)["price"] == price(http, BIKE)


def test_drift_counts_the_texts_of_training_and_all_others(http: httpx.Client) -> None:
    before = counted(http)
    price(http, [{**BIKE, "brand": brand} for brand in ("Brompton", "Peugeot", "Peugeot", "?", "Bike, my")])
    after = counted(http)
    assert {name: after[name] - before[name] for name in after} == {
        "c00": 1,
        "c01": 0,
        "c02": 2,
        "c03": 2,
        "missing": 0,
    }
    assert 'quantity="input:age"' in http.get("/metrics").text


def counted(http: httpx.Client) -> dict[str, float]:
    """Brands by bin, once all are counted, which takes two scrapes at most."""
    http.get("/metrics")
    pattern = r'drift_observed_total{bin="(\w+)",[^}]*quantity="input:brand"[^}]*} (\S+)'
    return {name: float(value) for name, value in re.findall(pattern, http.get("/metrics").text)}


def test_the_load_test_asks_it_every_way(server: Server, mine: dict[str, Any], tmp_path: Path) -> None:
    asked = ["--host", server.url, "--models", "bikes", "--seconds", "1", "--rate", "40", "--out", str(tmp_path)]
    command([sys.executable, "-m", "loadtest.load", *asked], tmp_path, **mine)
    rows = json.loads((tmp_path / "load.json").read_text())["rows"]
    assert {f"bikes {how}" for how in ("native", "v2", "binary")} < {row["name"] for row in rows}
    assert np.isfinite([row["requests"] for row in rows]).all()
