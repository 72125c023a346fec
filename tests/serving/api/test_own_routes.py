"""Routes that a model's folder hands in: another service's words, errors among them, with everybody's limits."""

import contextlib
import hashlib
import json
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import httpx
import numpy as np
import pytest

from bentos.contract import Model, PayloadError, Route, Signature, Tensor, Text, UnknownError
from serving.api import own_routes, swagger
from serving.http.keys import Keys
from serving.inference.dataplane import DataPlane
from serving.inference.repository import Repository
from serving.inference.store import RefusedForm, StoredForm
from serving.settings import Settings
from serving.telemetry.metrics import Metrics, Recorder
from tests.certificates import certificate
from tests.serving.http.uvicorn_server import gateway, serving


def read(document):
    if not isinstance(document, dict) or "say" not in document:
        raise PayloadError("say something")
    if document.get("voice"):
        raise UnknownError("there is no other voice")
    return document["say"], document.get("as")


ROUTE = Route(
    path="/v9/lengths",
    doc="How long texts are",
    example={"say": ["a"]},
    read=read,
    answer=lambda asked, inputs, outputs: {
        "as": asked, "sizes": [x.shape[1] for (x,) in inputs], "lengths": outputs["n"]
    },
    error=lambda status, words: {"fault": {"status": status, "words": words}},
)  # fmt: skip


def rows(text):
    if not text:
        raise PayloadError("the text is empty")
    return (np.frombuffer(text.encode(), np.uint8).astype(np.int64),)


MODEL = Model(
    name="lengths",
    title="Lengths",
    doc="How long a text is.",
    verb="measure",
    payload=Text(longest=1000),
    signature=Signature((Tensor("x", "INT64", ("batch", "letters")),), (Tensor("n", "FP32", ("batch",)),)),
    preprocess=rows,
    postprocess=lambda outputs: [{"n": float(n)} for n in outputs["n"]],
    routes=(ROUTE,),
)


class Runner:
    """Gives the lengths of what is queued, in the turn in which it comes."""

    overload_error = None
    delivering = None

    def enqueue(self, inputs, n_rows, waiter, client=None, now=0.0):
        waiter.set_result([np.full(n_rows, inputs[0].shape[1], np.float32)])

    def enqueue_each(self, batches, waiter, client=None):
        waiter.set_result([np.array([batch[0].shape[1] for batch in batches], np.float32)])

    def close(self):
        pass


def repository(model=MODEL):
    box = Repository(Settings(max_body_bytes=100_000, max_request_rows=4), Metrics())
    stored = StoredForm(model.name, "onnx", "1", Path(), certificate(), {})
    recorder = Recorder(box.families, (model.name, "onnx", "1"))
    form = SimpleNamespace(
        model=model, form="onnx", version="1", stored=stored, runner=Runner(), recorder=recorder,
        signature=model.signature,
    )  # fmt: skip
    box.served |= {stored.name: form, model.name: form}
    return box


@contextlib.asynccontextmanager
async def asking(box, keys=None):
    """A client of a service with the routes of a repository."""
    async with (
        serving(gateway(own_routes.routes(box, DataPlane()), keys=keys)) as port,
        httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", timeout=120) as client,
    ):
        yield client


@pytest.fixture
async def http():
    async with asking(repository()) as client:
        yield client


async def test_it_answers_in_its_own_words_rows_of_any_length(http):
    answer = await http.post("/v9/lengths", json={"say": ["ab", "a", "abc"], "as": "me"})
    assert answer.json() == {"as": "me", "sizes": [2, 1, 3], "lengths": [2.0, 1.0, 3.0]}
    assert (await http.post("/v9/lengths", content=b'{"say": ["ab"]}')).json()["lengths"] == [2.0]
    long = await http.post("/v9/lengths", json={"say": ["a" * 1000] * 4, "as": "x" * 5000})
    assert long.json()["lengths"] == [1000.0] * 4


@pytest.mark.parametrize(
    ("body", "status", "words"),
    [
        (b"", 400, "not JSON"),
        (b"[]", 400, "say something"),
        (b'{"say": []}', 400, "nothing in it"),
        (b'{"say": ["a", ""]}', 400, "[1] the text is empty"),
        (b'{"say": [""]}', 400, "the text is empty"),
        (b'{"say": ["\\ud800"]}', 400, "not JSON"),
        (b'{"say": ["\xff"]}', 400, "not JSON"),
        (b'{"say": ["a"], "voice": "deep"}', 404, "there is no other voice"),
        (b'{"say": ["a", "a", "a", "a", "a"]}', 400, "5 rows in one request, the limit is 4"),
        (json.dumps({"say": ["a" * 1001]}).encode(), 400, "1,001 characters, at most 1,000"),
        (b"[" * 100, 400, "100 deep"),
        (b"a" * 100_001, 413, "too large"),
    ],
)
async def test_errors_are_of_its_own_shape(http, body, status, words):
    answer = await http.post("/v9/lengths", content=body)
    assert answer.status_code == status
    assert answer.json()["fault"]["status"] == status and words in answer.json()["fault"]["words"]


async def test_so_are_those_that_never_reach_it(http, tmp_path):
    for answer in (
        await http.get("/v9/lengths"),
        await http.post("/v9/lengths?form=none", json={}),
        await http.post("/v9/lengths", content=b"a", headers={"content-type": "text/plain"}),
        await http.post("/v9/lengths", content=b"a", headers={"content-encoding": "gzip"}),
    ):
        assert answer.json()["fault"]["status"] == answer.status_code >= 400
    (tmp_path / "keys").write_text(f"shop predict {hashlib.sha256(b'open').hexdigest()}\n")
    async with asking(repository(), Keys(tmp_path / "keys")) as client:
        refused = await client.post("/v9/lengths", json={"say": ["a"]})
        assert refused.status_code == 401 and refused.json()["fault"]["status"] == 401
        known = await client.post("/v9/lengths", json={"say": ["a"]}, headers={"authorization": "Bearer open"})
        assert known.json()["lengths"] == [1.0]
        unknown = await client.get("/elsewhere", headers={"authorization": "Bearer open"})
        assert unknown.status_code == 404 and unknown.json()["error"]


async def test_an_authors_mistake_is_an_error_of_the_service_and_not_its_end():
    def broken(*_):
        raise KeyError("oops")

    for part in ("read", "answer", "error"):
        model = replace(MODEL, routes=(replace(ROUTE, **{part: broken}),))
        async with asking(repository(model)) as client:
            answer = await client.post("/v9/lengths", json={"say": ["a"] if part != "error" else []})
            assert answer.status_code == (400 if part == "error" else 500)
            assert "oops" not in answer.text


def test_it_is_in_swagger_with_its_example(monkeypatch):
    monkeypatch.setattr("bentos.contract.examples", lambda name: [{"text": "a"}])
    post = swagger.openapi(repository())["paths"]["/v9/lengths"]["post"]
    assert post["requestBody"]["content"]["application/json"]["example"] == ROUTE.example


async def test_a_model_that_claims_anothers_path_is_refused_and_the_other_is_served():
    box = repository()
    other = replace(MODEL, name="others", routes=(replace(ROUTE, path="/lengths/measure"),))
    third = replace(MODEL, name="thirds")
    box.served = {f"{m.name}-onnx": repository(m).served[m.name] for m in (MODEL, other, third)}
    box._refuse_shared_routes()
    assert {form.model.name for form in box.served.values()} == {"lengths"}
    reasons = [refused.refusal for refused in box.refused.values()]
    assert ["its route /lengths/measure is lengths's" in words for words in reasons] == [True, False]


async def test_the_route_of_a_model_that_is_refused_is_503_in_its_own_words(monkeypatch):
    box = Repository(Settings(), Metrics())
    box.refused["lengths-onnx"] = RefusedForm("lengths", "onnx", "1", "its certificate failed")
    monkeypatch.setattr("bentos.contract.model", lambda name: MODEL)
    async with asking(box) as client:
        answer = await client.post("/v9/lengths", json={"say": ["a"]})
    assert answer.status_code == 503 and answer.json()["fault"]["words"] == "its certificate failed"
