"""What is read in a thread waits for memory first, over every route, as long as its model may take."""

import asyncio
import gzip
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np
import orjson
import pytest

from bentos.contract import BATCH, Model, Signature, Tensor
from serving.api.native import PredictHandler
from serving.api.payloads.tensors import predict
from serving.api.predict import TensorHandler
from serving.api.v2.infer import InferHandler
from serving.errors import DeadlineExceeded
from serving.http.messages import Request, Response
from serving.inference.dataplane import DataPlane, LoadedForm
from serving.memory import MemoryBudget
from serving.settings import Settings
from serving.telemetry.metrics import Metrics, Recorder

SIGNATURE = Signature((Tensor("x", "FP32", (BATCH, "n")),), (Tensor("y", "FP32", (BATCH,)),))
SETTINGS = Settings(limits={"max_latency_ms": {"m": 20}})
VALUES = [float(n) for n in range(100_000)]
V2 = {"inputs": [{"name": "x", "datatype": "FP32", "shape": [1, len(VALUES)], "data": VALUES}]}


class Sum:
    """A runner that is done at once, and remembers what was queued and what memory was taken then."""

    overload_error = delivering = None

    def __init__(self) -> None:
        self.queued: list[list[tuple[int, ...]]] = []

    def enqueue(self, inputs: Any, rows: int, waiter: Any, client: Any = None, now: float = 0.0) -> None:
        self.queued.append([array.shape for array in inputs])
        waiter.set_result([inputs[0].sum(1)])

    def enqueue_each(self, batches: Any, waiter: Any, client: Any = None) -> None:
        self.queued += [[array.shape for array in batch] for batch in batches]
        waiter.set_result([np.concatenate([batch[0].sum(1) for batch in batches])])

    def submit(self, inputs: Any, rows: int, client: Any = None) -> Any:
        future = asyncio.get_running_loop().create_future()
        self.enqueue(inputs, rows, future, client)
        return future


class Connection:
    """Keeps the response."""

    lost, scheme, server = False, "http", ("", 0)

    def __init__(self) -> None:
        self.response: asyncio.Future[Response] = asyncio.get_running_loop().create_future()

    def send(self, request: Request, response: Response) -> None:
        self.response.set_result(response)


def form(model: Model | None = None) -> LoadedForm:
    model = model or Model("m", "M", "", "predict", None, SIGNATURE)
    stored: Any = SimpleNamespace(form="onnx", version="1", name="m-onnx")
    return LoadedForm(model, stored, Sum(), Recorder(Metrics(), ("m", "onnx", "1")), lambda: None, lambda: None)  # type: ignore[arg-type]


async def answer(handler: Any, body: bytes, coding: bytes | None) -> Response:
    headers = {} if coding is None else {b"content-encoding": coding}
    request = Request(connection := Connection(), "POST", headers, 0.0)
    request.body = body
    handler.handle(request)
    return await asyncio.wait_for(connection.response, 120)


def v2(served: LoadedForm, plane: DataPlane) -> Any:
    repository: Any = SimpleNamespace(settings=SETTINGS)
    return InferHandler("m", served, repository, plane)


def tensors(served: LoadedForm, plane: DataPlane) -> Any:
    repository: Any = SimpleNamespace(settings=SETTINGS, get=lambda name: served)
    return TensorHandler("m", repository, plane)


@pytest.mark.parametrize("coding", [None, b"gzip"])
@pytest.mark.parametrize(("made", "sent"), [(v2, V2), (tensors, {"x": [VALUES]})])
async def test_a_large_body_is_read_once_there_is_memory(made: Callable[..., Any], sent: Any, coding: Any) -> None:
    budget, served = MemoryBudget(2 * 10**8), form()
    handler, body = made(served, DataPlane(memory=budget)), orjson.dumps(sent)
    body = body if coding is None else gzip.compress(body, 1)
    assert (await answer(handler, body, coding)).status == 200
    assert budget.taken == 0
    assert budget.take(2 * 10**8)
    refused = await answer(handler, body, coding)  # after the 20 ms that this model has
    assert refused.status == DeadlineExceeded.status and b"waited too long for memory" in refused.body
    assert budget.taken == 2 * 10**8


async def test_a_page_reads_large_payloads_alike() -> None:
    budget, served, body = MemoryBudget(2 * 10**8), form(), orjson.dumps({"x": [VALUES]})
    assert orjson.loads(await predict(served, body, SETTINGS, DataPlane(memory=budget)))["y"] == pytest.approx(
        [sum(VALUES)]
    )
    assert budget.taken == 0 and budget.take(2 * 10**8)
    with pytest.raises(DeadlineExceeded):
        await predict(served, body, SETTINGS, DataPlane(memory=budget))


async def test_payloads_that_differ_in_shape_are_rows_of_their_own_also_where_they_are_decoded_in_a_thread() -> None:
    def preprocess(payload: bytes) -> dict[str, np.ndarray]:
        return {"x": np.frombuffer(payload, np.uint8).astype(np.float32)}

    model: Any = SimpleNamespace(
        name="m",
        signature=SIGNATURE,
        rows=lambda payload: [preprocess(payload)["x"]],
        answers=lambda outputs, _: [{"sum": float(value)} for value in outputs["y"]],
    )
    served, plane = form(model), DataPlane(memory=MemoryBudget(1000))
    payloads: Any = SimpleNamespace(
        read=lambda *_: ([b"\1\2", b"\1\2\3"], True), needs_thread=lambda *_: True, decoding_bytes=lambda _: 1000
    )
    patient = Settings(limits={"max_latency_ms": {"m": 600_000}})  # one waits until the other has been decoded
    repository: Any = SimpleNamespace(settings=patient, get=lambda name: served)
    response = await answer(PredictHandler("m", payloads, repository, plane), b"", None)
    assert [row["sum"] for row in orjson.loads(response.body)] == [3, 6]
    assert served.runner.queued == [[(1, 2)], [(1, 3)]]  # type: ignore[attr-defined]
    assert plane.memory.taken == 0
