"""The pages as they leave the service, over models and engines made for the purpose."""

import contextlib
import json
import re
import shlex
import subprocess
from dataclasses import replace
from io import BytesIO
from pathlib import Path
from types import SimpleNamespace

import httpx
import numpy as np
import pytest
from PIL import Image as Picture

from bentos import contract
from bentos.certificate import Comparison, Dataset, Difference, Golden, Histogram, Interval
from bentos.contract import Field, Fields, Image, Model, PayloadError, Signature, Tensor
from serving.api import pages
from serving.api.pages import assets, v2_curl
from serving.api.pages.answers import figure, picture
from serving.api.pages.controls import Control, complaints_by_field, submitted
from serving.api.payloads import adapter
from serving.errors import BadInput, Overloaded
from serving.inference.dataplane import DataPlane
from serving.inference.repository import Repository
from serving.inference.store import RefusedForm, StoredForm
from serving.settings import Settings
from serving.telemetry.metrics import Metrics
from tests.certificates import certificate
from tests.serving.http.uvicorn_server import gateway, serving

FLAT = Model(
    name="flat",
    title="Flat <b>price</b>",
    doc="What a flat costs.",
    verb="price",
    payload=Fields(
        (
            Field("floor", "where it is", 1, 100, 5, type=int),
            Field("area", "how big it is", 8, 1000, 54.5, "m²"),
            Field("kitchen_area", "of the kitchen", 1, 200, 9, "m²", nullable=True),
            Field("lift", "whether it has one", 0, 1, 1, type=bool),
            Field("number", "of the building", 0, 10_000_000, 1, type=int),
        ),
        at_most=(("kitchen_area", "area"),),
    ),
    signature=Signature((Tensor("features", "FP32", (-1, 5)),), (Tensor("price", "FP32", (-1, 1)),)),
    unit="roubles",
    synthetic="Made up.",
    finite=False,
)


def grey(data):
    try:
        return (np.asarray(Picture.open(BytesIO(data)).convert("L").resize((4, 4)), np.float32)[None] / 255,)
    except OSError:
        raise PayloadError("image is no picture") from None


SHADE = Model(
    name="shade",
    title="Shade",
    doc="Dark or light.",
    verb="classify",
    payload=Image(),
    signature=Signature((Tensor("image", "FP32", (-1, 1, 4, 4)),), (Tensor("logits", "FP32", (-1, 2)),)),
    labels=("dark", "light"),
    preprocess=grey,
)
OWN = Model(
    name="own",
    title="Own",
    doc="An ONNX model without a recipe.",
    verb="",
    payload=None,
    signature=Signature((Tensor("x", "INT64", (-1, 2)),), (Tensor("y", "FP32", (-1, 1)),)),
)
EXAMPLE = {"floor": 7, "area": 61.25, "kitchen_area": None, "lift": False, "number": 12}
GOOD = {"floor": "3", "area": "40", "kitchen_area": "8.5", "lift": "true", "number": "1"}


class Engine:
    """A runner that remembers its rows and gives one answer; or throws."""

    def __init__(self, answer, error=None):
        self.answer, self.error, self.rows = np.array([answer], np.float32), error, []

    async def submit(self, inputs, rows, gone=None):
        if self.error:
            raise self.error
        self.rows.append(inputs[0][0])
        return [self.answer]


CERTIFICATE = certificate(
    dataset=Dataset("listings of 2026", "d" * 64, rows=20000, held_out_rows=4000),
    difference=Difference(against="sklearn", rows=4000, max=2.27e-06, tolerance=1e-4, relative=True),
    comparison=Comparison("values", rows=4000, changed=0, below=0.0007),
    metrics={"r2": 0.9035, "mae": 1403544.6, "mape": 0.1129},
    intervals={"r2": Interval(4000, 0.89, 0.91)},
    issued="2026-11-21T02:06:19+00:00",
    reference={"input:floor": Histogram((0.25,) * 4, edges=(2.0, 5.0, 17.0))},
    golden=Golden("golden.npz", "a" * 64, rows=32, tolerance=1e-4, relative=True),
)


def box(*served, refused=()):
    """A repository of (model, form, engine), the first of a model its default."""
    repository = Repository(Settings(max_body_bytes=20_000), Metrics())
    for model, form, engine in served:
        stored = StoredForm(model.name, form, "1a2b3c", Path(), CERTIFICATE, {})
        found = SimpleNamespace(
            model=model, form=form, version="1a2b3c", stored=stored, runner=engine, signature=model.signature
        )
        repository.served[stored.name] = found
        repository.served.setdefault(model.name, found)
    repository.refused = {form.name: form for form in refused}
    return repository


@contextlib.asynccontextmanager
async def client(repository):
    async with (
        serving(gateway(pages.routes(repository, DataPlane()))) as port,
        httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", headers={"host": "ekiben.test"}) as http,
    ):
        yield http


@pytest.fixture(autouse=True)
def folders(tmp_path, monkeypatch):
    monkeypatch.setattr(contract, "BENTOS", tmp_path)
    (tmp_path / "flat").mkdir()
    (tmp_path / "flat" / "examples.json").write_text(json.dumps([EXAMPLE]))
    (tmp_path / "shade").mkdir()
    (tmp_path / "shade" / "examples.json").write_text('["night.png"]')
    (tmp_path / "shade" / "night.png").write_bytes(png(20))


def png(value, size=8):
    file = BytesIO()
    Picture.new("L", (size, size), value).save(file, "PNG")
    return file.getvalue()


def flats(error=None):
    return box((FLAT, "onnx", Engine([12345678.0], error)), (FLAT, "sklearn", Engine([12345678.0])))


def text_of(html):
    return " ".join(re.sub(r"<[^>]+>", " ", html).split())


async def test_the_index_shows_forms_figures_certificates_and_what_is_refused():
    broken = RefusedForm("flat", "int8", "1a2b3c", "flat-int8: the seal does not match <its> contents")
    repository = box((FLAT, "onnx", Engine([1.0])), (OWN, "onnx", Engine([1.0])), refused=[broken])
    async with client(repository) as http:
        html = (await http.get("/ui")).text
    shown = text_of(html)
    assert "Flat &lt;b&gt;price&lt;/b&gt;" in html
    assert "the seal does not match &lt;its&gt; contents" in html
    for words in (
        f"onnx default 0.9035 n = 4,000 95 %: 0.89–0.91 1,403,545 {FLAT.unit} 11.3 % 2.3e-06",
        "max diff.: how far price lies at most from what sklearn gives, on 4,000 held-out rows, as a share of it.",
        "Made up.", "Version 1a2b3c", "listings of 2026", "f" * 64,
        "2.3e-06 from sklearn on 4,000 rows, tolerance 0.0001", "onnxruntime 1.31.1", "2026-11-21T02:06:19",
        "int8 is refused.", "0 of 4,000 values differ by more than the tolerance; 95 %: fewer than 0.07 %",
        "0.9035, at 95 % from 0.89 to 0.91, 4,000 rows",
        "32, run at this start within 0.0001 of each value",
        "x INT64 [-1, 2]", "http://ekiben.test/v2/models/own/infer",
    ):  # fmt: skip
        assert words in shown, words
    assert 'href="./ui/flat"' in html
    assert 'href="./ui/own"' in html


async def test_an_empty_box_says_how_to_fill_it():
    async with client(box()) as http:
        assert "make models" in (await http.get("/ui")).text


async def test_a_model_whose_forms_are_all_refused_is_listed_without_a_page():
    broken = RefusedForm("flat", "onnx", "1a2b3c", "flat-onnx: it has no certificate")
    async with client(box(refused=[broken])) as http:
        html = (await http.get("/ui")).text
        assert "it has no certificate" in html
        assert "ui/flat" not in html
        assert (await http.get("/ui/flat")).status_code == 404


async def test_pages_let_nothing_in_from_elsewhere_and_nothing_run_inline():
    async with client(box((FLAT, "onnx", Engine([1.0])), (SHADE, "onnx", Engine([0.0, 2.0])))) as http:
        for path in ("/ui", "/ui/flat", "/ui/shade"):
            answer = await http.get(path)
            assert answer.status_code == 200
            policy = answer.headers["content-security-policy"]
            assert "default-src 'self'" in policy
            assert "frame-ancestors 'none'" in policy
            assert "unsafe" not in policy
            assert answer.headers["x-content-type-options"] == "nosniff"
            assert answer.headers["referrer-policy"] == "same-origin"
            assert not re.search(r"<style|\sstyle=|\son\w+=|<script(?! type=\"module\" src=)|javascript:", answer.text)
            assert not re.search(r"(?:src|href)=\"(?:https?:)?//", answer.text)
    for file in assets.STATIC.iterdir():
        assert not re.search(r"https?://(?!www\.w3\.org/2000/svg)|@import", file.read_text()), file


async def test_static_files_have_types_and_tags_and_exact_paths():
    async with client(box()) as http:
        first = await http.get("/ui/static/page.js")
        assert first.headers["content-type"].startswith("text/javascript")
        assert first.headers["x-content-type-options"] == "nosniff"
        again = await http.get("/ui/static/page.js", headers={"if-none-match": first.headers["etag"]})
        assert (again.status_code, again.content) == (304, b"")
        assert (await http.get("/ui/static/page.css")).headers["content-type"].startswith("text/css")
        assert (await http.get("/ui/static/..%2F__init__.py")).status_code == 404


@pytest.mark.parametrize(("path", "root"), [("/ui/flat", "../"), ("/ui/flat/", "../../"), ("/ui", "./")])
async def test_links_lead_home_from_any_depth(path, root):
    async with client(flats()) as http:
        assert f'href="{root}ui/static/page.css"' in (await http.get(path)).text


async def test_a_form_of_fields_has_labels_defaults_bounds_and_where_training_was():
    async with client(flats()) as http:
        html = (await http.get("/ui/flat")).text
    for name in ("floor", "area", "kitchen_area", "lift", "number"):
        assert f'<label for="field-{name}">' in html
    assert re.search(r'name="area" value="54.5" min="8" max="1000"', html)
    assert 'data-usual="2 17"' in html.replace(".0", "")
    assert "1 – 100, mostly 2 – 17" in html
    assert html.count('type="range"') == 3  # the building's number is typed
    assert "http://ekiben.test/flat/price" in html


async def test_an_example_or_something_random_opens_in_the_form():
    async with client(flats()) as http:
        html = (await http.get("/ui/flat?example=0")).text
        assert 'name="area" value="61.25"' in html
        assert re.search(r'name="kitchen_area.unknown"[^>]* checked', html)
        assert not re.search(r'name="lift"[^>]* checked', html)
        assert (await http.get("/ui/flat?example=99")).status_code == 200
        assert (await http.get("/ui/flat?example=²")).status_code == 200
        assert (await http.get(f"/ui/flat?example={'9' * 5000}")).status_code == 200
        assert re.search(r'name="floor" value="(\d+)"', (await http.get("/ui/flat?random")).text)


async def test_a_plain_post_is_answered_by_every_form():
    repository = flats()
    async with client(repository) as http:
        answer = await http.post("/ui/flat", data=GOOD)
    assert answer.status_code == 200
    shown = text_of(answer.text)
    assert "12,345,678 roubles says onnx" in shown
    assert "onnx default" in shown
    assert re.search(r"sklearn \d+\.\d ms 12,345,678", shown)
    row = repository.get("flat").runner.rows[0]
    assert row.tolist() == [3, 40, 8.5, 1, 1]


async def test_a_plain_post_with_mistakes_keeps_the_values_and_says_what_is_wrong():
    async with client(flats()) as http:
        form = GOOD | {"floor": "200", "area": '"><script>', "number": ""}
        answer = await http.post("/ui/flat", data=form)
    assert answer.status_code == 400
    assert "floor is 200: it must be a whole number from 1 to 100" in answer.text
    assert "number is missing" in answer.text
    assert 'name="floor" value="200"' in answer.text
    assert 'value="8.5"' in answer.text
    assert "<script>" not in answer.text
    assert 'aria-invalid="true"' in answer.text


async def test_what_cannot_be_together_is_said_at_the_field():
    async with client(flats()) as http:
        answer = await http.post("/ui/flat", data=GOOD | {"kitchen_area": "80"})
    assert 'id="field-kitchen_area-error">kitchen_area is 80, which is above area, 40<' in answer.text


@pytest.mark.parametrize("form", [{"kitchen_area.unknown": "true"}, {"kitchen_area": ""}])
async def test_unknown_is_nan_to_the_model(form):
    repository = flats()
    async with client(repository) as http:
        assert (await http.post("/ui/flat", data=GOOD | form)).status_code == 200
    assert np.isnan(repository.get("flat").runner.rows[0][2])


WALLS = Field("walls", "", choices={1: "brick & mortar", 4: "wood"}, default=4, label="Made of", nullable=True)


async def test_a_field_with_choices_is_a_select_with_its_label():
    assert isinstance(FLAT.payload, Fields)
    fields = (*FLAT.payload.fields[:4], WALLS)
    repository = box((replace(FLAT, payload=Fields(fields)), "onnx", Engine([1.0])))
    async with client(repository) as http:
        html = (await http.get("/ui/flat")).text
        assert '<label for="field-walls">Made of</label>' in html
        assert '<option value="wood" data-code="4" selected>wood</option>' in html
        assert '<option value="brick &amp; mortar" data-code="1">brick &amp; mortar</option>' in html
        form = {name: text for name, text in GOOD.items() if name != "number"}
        for text, code in (("brick & mortar", 1), ("4", 4), ("", np.nan)):
            answer = await http.post("/ui/flat", data=form | {"walls": text})
            assert answer.status_code == 200
            assert np.array_equal(repository.get("flat").runner.rows[-1][4], code, equal_nan=True)
        assert '<option value="" selected></option>' in answer.text
        wrong = await http.post("/ui/flat", data=form | {"walls": "clay"})
        assert wrong.status_code == 400 and "it must be one of brick &amp; mortar (1), wood (4), or null" in wrong.text


async def test_an_answer_of_another_shape_is_shown_as_well_as_can_be():
    def guesses(outputs):
        return [{"label": "dusk", "probabilities": {"dark": 0.4, "light": 0.6}} for _ in outputs["logits"]]

    odd = replace(SHADE, postprocess=guesses)
    async with client(box((odd, "onnx", Engine([0.0, 2.0])))) as http:
        answer = await http.post("/ui/shade", files={"image": png(200)})
        assert "dusk says onnx" in text_of(answer.text)


async def test_other_errors_are_pages_too():
    async with client(flats(Overloaded("the queue is full"))) as http:
        busy = await http.post("/ui/flat", data=GOOD)
        assert (busy.status_code, "the queue is full" in busy.text) == (429, True)
        strange = await http.post("/ui/flat", json=EXAMPLE)
        assert (strange.status_code, "JSON goes to /flat/price" in strange.text) == (400, True)
        large = await http.post("/ui/flat", data={"floor": "1" * 30_000})
        assert (large.status_code, "; at most " in large.text) == (413, True)
        assert (await http.post("/ui/flat", data=GOOD | {"extra": "1"})).status_code == 400


async def test_a_picture_is_posted_answered_and_seen():
    async with client(box((SHADE, "onnx", Engine([0.0, 2.0])))) as http:
        page = (await http.get("/ui/shade")).text
        assert "image=@picture.png" in page
        assert (await http.get("/ui/shade/examples/0")).content == png(20)
        answer = await http.post("/ui/shade", files={"image": png(200)})
        assert answer.status_code == 200
        assert "light 88.1 % sure, says onnx" in text_of(answer.text)
        assert "data:image/png;base64," in answer.text
        seen = await http.post("/ui/shade/seen", files={"image": png(200)})
        assert seen.headers["content-type"] == "image/png"
        assert np.asarray(Picture.open(BytesIO(seen.content))).tolist() == [[200] * 4] * 4
        bad = await http.post("/ui/shade/seen", files={"image": b"no picture"})
        assert (bad.status_code, bad.json()["error"]) == (400, "image is no picture")
        assert "image is no picture" in (await http.post("/ui/shade", files={"image": b"no picture"})).text


@pytest.mark.parametrize(
    ("row", "mode", "size"),
    [
        (np.zeros((1, 3, 5)), "L", (5, 3)), (np.zeros((3, 3, 5)), "RGB", (5, 3)), (np.zeros((3, 5)), "L", (5, 3)),
        (np.zeros((7, 3, 5)), "L", (5, 3)), (np.array([[[-2.0, 3.0]]]), "L", (2, 1)),
    ],
)  # fmt: skip
def test_a_tensor_is_shown_as_a_picture(row, mode, size):
    shown = Picture.open(BytesIO(picture(row)))
    assert (shown.mode, shown.size) == (mode, size)


def test_a_tensor_that_is_no_picture_is_said_to_be_none():
    with pytest.raises(BadInput, match=r"shape \[4\]"):
        picture(np.zeros(4))


@pytest.mark.parametrize(
    ("field", "usual", "step", "ends", "slides"),
    [
        (Field("a", "", 0.1, 15, 5.8), (5.0, 7.0), 0.01, (2, 10), True),
        (Field("a", "", 55, 56.5, 55.7), None, 0.01, (55, 56.5), True),
        (Field("a", "", 8, 1000, 54), (33.4, 93.7), 1, (8, 185), True),
        (Field("a", "", 1, 100, 5, type=int), (2, 17), 1, (1, 40), True),
        (Field("a", "", 0, 10_000_000, 1, type=int), (5517, 53853), 1, (0, 126_360), False),
        (Field("a", "", 0, 1, 1, type=bool), None, 0.01, (0, 1), False),
    ],
)  # fmt: skip
def test_sliders_are_where_they_help_and_step_roundly(field, usual, step, ends, slides):
    control = Control(field, usual=usual)
    assert (control.step, control.ends, control.slides) == (step, ends, slides)


def test_a_forms_texts_become_a_payload():
    form = {"floor": "5", "area": " 60.5 ", "kitchen_area": "x", "number": "1e400", "other": "1"}
    found = submitted(form, FLAT.payload)
    assert found == {"floor": 5, "area": 60.5, "kitchen_area": "x", "lift": False, "number": float("inf"), "other": "1"}


def test_complaints_go_to_their_fields():
    found = complaints_by_field(["floor is 0: no", "'x' is unknown", "floor is 0, too"], FLAT.payload)
    assert found == {"floor": "floor is 0: no; floor is 0, too", "": "'x' is unknown"}


@pytest.mark.parametrize(
    ("value", "words"), [(0.90351, "0.9035"), (1403544.6, "1,403,545"), ("a", "a"), (True, "True")]
)
def test_figures_are_short(value, words):
    assert figure(value) == words


def test_curls_survive_a_shell():
    words = shlex.split(adapter(FLAT, Settings()).curl("http://x", {"it's": 1}).replace("\\\n", ""))
    assert words == ["curl", "http://x/flat/price", "-H", "Content-Type: application/json", "-d", '{"it\'s": 1}']
    picture_curl = adapter(SHADE, Settings()).curl("http://x", "my 3.png")
    assert shlex.split(picture_curl.replace("\\\n", ""))[-1] == "image=@my 3.png"
    inline = shlex.split(v2_curl("own", OWN.signature.inputs, "http://x").replace("\\\n", ""))
    assert json.loads(inline[-1])["inputs"] == [{"name": "x", "shape": [1, 2], "datatype": "INT64", "data": [0, 0]}]


def test_a_large_tensor_is_sent_in_binary():
    (tensor,) = Signature.from_dict(
        {"inputs": [{"name": "x", "datatype": "FP32", "shape": [-1, 9, 9]}], "outputs": []}
    ).inputs
    producer, _, command = v2_curl("own", (tensor,), "http://x").partition("|")
    sent = subprocess.run(["sh", "-c", producer], capture_output=True, check=True).stdout
    length = int(re.search(r"Inference-Header-Content-Length: (\d+)", command)[1])
    assert json.loads(sent[:length])["inputs"][0]["parameters"]["binary_data_size"] == len(sent) - length == 324
