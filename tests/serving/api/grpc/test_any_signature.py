"""A model of open shapes and texts over gRPC, of any size: answered, counted, and its memory given back."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import tritonclient.grpc.aio as triton
from tritonclient.utils import InferenceServerException

from bentos.contract import BATCH, Model, Signature, Tensor
from serving.api.grpc.methods import methods
from serving.api.grpc.request import RequestDecoder
from serving.api.grpc.schema import Schema
from serving.grpc.listener import GrpcListener
from serving.grpc.service import GrpcService
from serving.http.gateway import Gateway, Limits
from serving.inference.dataplane import DataPlane, LoadedForm
from serving.inference.runner import BatchingRunner
from serving.inference.sessions import Batch
from serving.lifecycle import Lifecycle
from serving.memory import MemoryBudget
from serving.process.inherited import listening_socket
from serving.settings import Settings
from serving.telemetry.metrics import Metrics, Recorder

FAILURES = "ekiben_failures_total"
SIGNATURE = Signature(
    (Tensor("x", "FP32", (BATCH, "n")), Tensor("word", "BYTES", (BATCH,))),
    (Tensor("y", "FP32", (BATCH,)), Tensor("word", "BYTES", (BATCH,))),
)


class Sums:
    """y = Σx of each row; words as they came."""

    def run(self, batch: Batch) -> list[np.ndarray]:
        return [batch[0].sum(1, dtype=np.float32), batch[1]]


class Server:
    """One form behind a socket, and its budgets."""

    def __init__(self) -> None:
        self.families, self.bodies, self.work = Metrics(), MemoryBudget(10**7), MemoryBudget(10**8)
        self.recorder = Recorder(self.families, ("m", "onnx", "1"))
        limits: Any = {"max_batch_size": 8, "max_latency": 5.0, "max_queue_rows": 100}
        runner = BatchingRunner(Sums(), SIGNATURE, self.recorder, **limits)
        model, stored = Model("m", "M", "", "predict", None, SIGNATURE), SimpleNamespace(form="onnx", version="1")
        form = LoadedForm(model, stored, runner, self.recorder, lambda: None, lambda: None)  # type: ignore[arg-type]
        repository: Any = SimpleNamespace(settings=Settings(), served={"m": form}, refused={})
        gateway = Gateway(None, (), None, Limits(100), bodies=self.bodies)  # type: ignore[arg-type]
        gateway.start({}, lifecycle := Lifecycle())
        table = methods(repository, DataPlane(memory=self.work), lifecycle, Schema())
        socket = listening_socket("127.0.0.1", 0)
        self.address = f"127.0.0.1:{socket.getsockname()[1]}"
        self.listener = GrpcListener(GrpcService(table, gateway, 2**22), socket, None)

    @asynccontextmanager
    async def client(self) -> AsyncIterator[Any]:
        try:
            async with triton.InferenceServerClient(self.address) as client:
                yield client
        finally:
            self.listener.close()


def inputs(length: int, values: np.ndarray | None = None) -> list[Any]:
    x, word = triton.InferInput("x", [2, length], "FP32"), triton.InferInput("word", [2], "BYTES")
    if values is None:
        values = np.arange(2 * length, dtype=np.float32).reshape(2, length) % 2
    x.set_data_from_numpy(values)
    word.set_data_from_numpy(np.array(["é", ""], object))
    return [x, word]


@pytest.mark.parametrize(("length", "coding"), [(2, None), (2, "gzip"), (100_000, None)])
async def test_a_request_of_any_size(length: int, coding: str | None) -> None:
    server = Server()
    async with server.client() as client:
        result = await client.infer("m", inputs(length), compression_algorithm=coding)
    assert result.as_numpy("y").tolist() == [length / 2] * 2
    assert [word.decode() for word in result.as_numpy("word")] == ["é", ""]
    assert (server.bodies.taken, server.work.taken) == (0, 0)


async def test_requests_of_one_stream() -> None:
    server, lengths = Server(), (50_000, 2, 100_000)

    async def requests() -> AsyncIterator[dict[str, Any]]:
        for length in lengths:
            yield {"model_name": "m", "inputs": inputs(length)}

    async with server.client() as client:
        answered = [result.as_numpy("y")[0] async for result, _ in client.stream_infer(requests())]
    assert answered == [length / 2 for length in lengths]
    assert (server.bodies.taken, server.work.taken) == (0, 0)
    server.recorder.flush()
    assert server.families.totals()["ekiben_requests_total", ("m", "onnx", "1", "grpc")] == 3


def failures(server: Server) -> dict[str, float]:
    """reason → how often, of those there were."""
    server.recorder.flush()
    counted = {key[-1]: value for (name, key), value in server.families.totals().items() if name == FAILURES}
    return {reason: value for reason, value in counted.items() if value}


@pytest.mark.parametrize("coding", [None, "gzip", "deflate"])
@pytest.mark.parametrize(
    ("budget", "words", "reason"),
    [
        ("bodies", "RESOURCE_EXHAUSTED.*all the memory", "shed"),
        ("work", "DEADLINE_EXCEEDED.*too long for memory", "timeout"),
    ],
)
async def test_a_message_that_finds_no_room_is_refused_as_a_limit_and_counted(
    budget: str, words: str, reason: str, coding: str | None
) -> None:
    server, length = Server(), 100_000
    values = np.random.default_rng(1).random((2, length), np.float32)  # which no compression makes small
    options: Any = {"compression_algorithm": coding}
    async with server.client() as client:
        memory: MemoryBudget = getattr(server, budget)
        assert memory.take(memory.limit)
        with pytest.raises(InferenceServerException, match=words):
            await asyncio.wait_for(client.infer("m", inputs(length, values), **options), 120)
        assert failures(server) == {reason: 1}
        with pytest.raises(InferenceServerException, match=words):
            await asyncio.wait_for(client.infer("unknown", inputs(length, values), **options), 120)
        assert failures(server) == {reason: 1}
        memory.give_back(memory.limit)
        answer = await client.infer("m", inputs(length, values), **options)
        assert answer.as_numpy("y") == pytest.approx(values.sum(1), rel=1e-4)
    assert (server.bodies.taken, server.work.taken) == (0, 0)


async def test_a_deadline_ends_the_wait_for_memory_and_nothing_is_read_then(monkeypatch: pytest.MonkeyPatch) -> None:
    server, parsed = Server(), []
    monkeypatch.setattr(RequestDecoder, "decode", lambda self, message: parsed.append(message))
    async with asyncio.timeout(120), server.client() as client:
        assert server.work.take(server.work.limit)
        with pytest.raises(InferenceServerException, match=r"DEADLINE_EXCEEDED|Deadline Exceeded"):
            await client.infer("m", inputs(100_000), client_timeout=0.2)
        while server.bodies.taken:  # the server's own clock, or the client's reset, ends it there
            await asyncio.sleep(0.01)
        server.work.give_back(server.work.limit)
        while server.work.taken:  # it is had, and given back at once
            await asyncio.sleep(0.01)
        assert sum(failures(server).values()) <= 1
    assert not parsed
