"""The blocks of docs/models.md: a detector whose boxes have a threshold, which a request may set."""

import sys
from collections.abc import Iterator
from io import BytesIO
from typing import Any

import httpx
import pytest
from PIL import Image

from tests.conftest import command, running
from tests.documented import documented, write

FORMS = ("pytorch", "onnx")
NETWORK = """
import torch
from torch import nn


class Network(nn.Module):
    \"\"\"A window of 8 × 8 pixels, at every fourth, is a candidate: how much of one colour it is.\"\"\"

    def __init__(self):
        super().__init__()
        self.steepness = nn.Parameter(torch.tensor(20.0))
        rows, columns = torch.meshgrid(torch.arange(7), torch.arange(7), indexing="ij")
        centres = 4.0 * torch.stack([columns.flatten(), rows.flatten()]) + 4
        self.register_buffer("places", torch.cat([centres, torch.full((2, 49), 8.0)]))

    def forward(self, picture):
        colours = nn.functional.avg_pool2d(picture, 8, 4).flatten(2)
        own = 2 * colours - colours.sum(1, keepdim=True)
        scores = torch.sigmoid(self.steepness * (own - 0.5))
        return torch.cat([self.places.expand(picture.shape[0], 4, 49), scores], 1)
"""
RECIPE = """
import numpy as np

from bentos.contract import Data, Recipe, Split, Tolerance


def load(options):
    pictures, colours = np.zeros((60, 3, 32, 32), np.float32), np.arange(60) % 3
    for place, colour in enumerate(colours):
        pictures[place, colour, 8:16, 4:12] = 1
    return Data(Split(pictures, colours), Split(pictures[:30], colours[:30]), "one block each")


def fit(data, seed, progress):
    from bentos.blocks.network import Network

    return Network()


def score(targets, outputs):
    surest = outputs["candidates"][:, 4:].max(2).argmax(1)
    return {"right": float((surest == targets).mean())}


RECIPE = Recipe("pytorch", load, fit, {"onnx": Tolerance(difference=1e-5)}, score, floor=1.0)
"""


@pytest.fixture(scope="module")
def http(tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx.Client]:
    folder, home = tmp_path_factory.mktemp("mine"), tmp_path_factory.mktemp("home")
    files = documented("blocks") | {"network.py": NETWORK, "recipe.py": RECIPE, "examples.json": '["examples/red.png"]'}
    write(folder / "blocks", files)
    (folder / "blocks" / "examples").mkdir()
    (folder / "blocks" / "examples" / "red.png").write_bytes(picture())
    mine: dict[str, Any] = {"EKIBEN_BENTOS": str(folder)}
    out = str(tmp_path_factory.mktemp("artifacts"))
    command([sys.executable, "-m", "train", "blocks", "--out", out, "--strict"], home, **mine)
    command([sys.executable, "-m", "convert", "blocks", "--artifacts", out, "--strict"], home, **mine)
    with running(home, 200, mine) as server, httpx.Client(base_url=server.url) as client:
        yield client


def picture(*more: tuple[str, int, int]) -> bytes:
    """64 × 32, which the model sees at half its size: a red block of 16 × 16, and others of a colour at (x, y)."""
    drawn = Image.new("RGB", (64, 32))
    for colour, x, y in (("#f00", 8, 16), *more):
        drawn.paste(colour, (x, y, x + 16, y + 16))
    buffer = BytesIO()
    drawn.save(buffer, "PNG")
    return buffer.getvalue()


def find(http: httpx.Client, *pictures: bytes, **query: Any) -> Any:
    files = [("image", ("one.png", each)) for each in pictures]
    return http.post("/blocks/find", files=files, params=query)


@pytest.mark.parametrize("form", FORMS)
def test_what_is_found_has_label_score_and_box(http: httpx.Client, form: str) -> None:
    answer = find(http, picture(("#00f", 40, 0)), form=form).json()
    assert answer["form"] == form and answer["model"] == "blocks"
    red, blue = sorted(answer["found"], key=lambda found: found["label"], reverse=True)
    assert (red["label"], blue["label"]) == ("red", "blue") and min(red["score"], blue["score"]) > 0.99
    assert [64 * share for share in red["box"]] == [8, 16, 24, 32] and [64 * share for share in blue["box"]] == [
        40,
        0,
        56,
        16,
    ]


def test_a_request_sets_the_threshold(http: httpx.Client) -> None:
    dark = picture(("#00a000", 40, 0))
    known = {found["label"]: found["score"] for found in find(http, dark).json()["found"]}
    assert 0.25 < known["green"] < 0.95 < known["red"]
    assert [found["label"] for found in find(http, dark, threshold=0.98).json()["found"]] == ["red"]
    assert find(http, dark, threshold="1").json()["found"] == []
    two = find(http, dark, picture(), threshold="0.2", form="pytorch").json()
    assert [{found["label"] for found in each["found"]} for each in two] == [{"red", "green"}, {"red"}]
    assert len(find(http, dark, threshold=0).json()["found"]) > 2


@pytest.mark.parametrize("value", ["1.1", "-0.5", "", "high", "nan", "inf", "true"])
def test_what_is_no_threshold_is_named(http: httpx.Client, value: str) -> None:
    answer = find(http, picture(), threshold=value)
    assert answer.status_code == 400
    assert answer.json()["error"] == f"threshold is {value!r}: it must be a number from 0 to 1"
    other = find(http, picture(), treshold=0.5)
    assert other.json()["error"] == "query parameter 'treshold' is unknown; there is form, threshold"


def test_random_takes_it_and_swagger_shows_it(http: httpx.Client) -> None:
    drawn = http.get("/blocks/random", params={"threshold": 0.9}).json()
    assert [found["label"] for found in drawn["prediction"]["found"]] == ["red"]
    assert http.get("/blocks/random", params={"threshold": 3}).status_code == 400
    paths = http.get("/docs.json").json()["paths"]
    for path, method in (("/blocks/find", "post"), ("/blocks/random", "get")):
        (shown,) = [each for each in paths[path][method]["parameters"] if each["name"] == "threshold"]
        assert shown["in"] == "query" and not shown.get("required")
        assert shown["schema"] == {"type": "number", "minimum": 0, "maximum": 1, "example": 0.25}


def test_the_page_says_what_was_found(http: httpx.Client) -> None:
    page = http.post("/ui/blocks", files={"image": ("one.png", picture(("#00f", 40, 0)))})
    assert page.status_code == 200 and "blue 1.00, red 1.00" in page.text
    assert http.post("/ui/blocks", files={"image": ("one.png", b"no picture")}).status_code == 400


def test_machines_get_the_candidates(http: httpx.Client) -> None:
    tensor = {"name": "picture", "shape": [1, 3, 32, 32], "datatype": "FP32", "data": [0.0] * 3 * 32 * 32}
    answer = http.post("/v2/models/blocks/infer", json={"inputs": [tensor]}).json()
    assert answer["outputs"][0]["shape"] == [1, 7, 49]
