"""ModelInfer and ModelStreamInfer, as clients that we did not write send them."""

import asyncio
import queue
import re
import threading
import time
from types import SimpleNamespace

import grpc
import numpy as np
import pytest
import tritonclient.grpc as triton
import tritonclient.grpc.aio as triton_aio
from tritonclient.grpc import service_pb2, service_pb2_grpc

from serving.inference.engine_time import EngineTime
from serving.inference.faults import Fault
from serving.inference.store import RefusedForm
from tests.serving.api.grpc.conftest import ROWS, features
from tests.serving.grpc.grpc_server import grpc_server

LABELS = [0, 2]


def request(rows=ROWS, typed=False, **fields):
    message = service_pb2.ModelInferRequest(model_name="iris", **fields)
    tensor = message.inputs.add(name="features", datatype="FP32", shape=rows.shape)
    if typed:
        tensor.contents.fp32_contents.extend(rows.reshape(-1))
    else:
        message.raw_input_contents.append(rows.astype("<f4").tobytes())
    return message


def stub(channel):
    return service_pb2_grpc.GRPCInferenceServiceStub(channel)


def refusal(call):
    with pytest.raises(grpc.RpcError) as raised:
        call()
    return raised.value


def test_a_batch_is_answered_with_its_id_version_and_both_outputs(client, server):
    result = client.infer("iris", [features()], request_id="urn:uuid:1")
    answer = result.get_response()
    assert result.as_numpy("label").tolist() == LABELS
    assert result.as_numpy("probabilities").sum(1) == pytest.approx([1, 1])
    form = server.repository.served["iris"]
    assert (answer.model_name, answer.model_version, answer.id) == ("iris", form.version, "urn:uuid:1")
    assert not answer.parameters


def test_requested_outputs_forms_and_versions(client, server):
    version = server.repository.served["iris"].version
    wanted = [triton.InferRequestedOutput("probabilities")]
    result = client.infer("iris", [features()], version, wanted, parameters={"form": "onnx"})
    answer = result.get_response()
    assert [output.name for output in answer.outputs] == ["probabilities"]
    assert answer.parameters["form"].string_param == "onnx"


def test_typed_contents_are_answered_in_typed_contents(channel):
    raw, typed = stub(channel).ModelInfer(request()), stub(channel).ModelInfer(request(typed=True))
    assert not typed.raw_output_contents
    assert list(typed.outputs[0].contents.int64_contents) == LABELS
    expected = np.frombuffer(raw.raw_output_contents[1], np.float32)
    assert np.array(typed.outputs[1].contents.fp32_contents, np.float32).tobytes() == expected.tobytes()


@pytest.mark.parametrize("coding", [grpc.Compression.Gzip, grpc.Compression.Deflate])
@pytest.mark.parametrize("n_rows", [2, 900])
def test_compressed_messages(channel, coding, n_rows):
    rows = np.resize(ROWS, (n_rows, 4))
    answer = stub(channel).ModelInfer(request(rows), compression=coding)
    assert np.frombuffer(answer.raw_output_contents[0], np.int64).tolist() == LABELS * (n_rows // 2)


def test_a_bomb_is_not_inflated(channel):
    message = request()
    message.raw_input_contents[0] = bytes(3 * 2**20)
    error = refusal(lambda: stub(channel).ModelInfer(message, compression=grpc.Compression.Gzip))
    assert error.code() == grpc.StatusCode.RESOURCE_EXHAUSTED and "200 times" in error.details()


def changed(**fields):
    message = request()
    for name, value in fields.items():
        setattr(message, name, value)
    return message


def with_input(**fields):
    message = request()
    for name, value in fields.items():
        if name == "shape":
            message.inputs[0].shape[:] = value
        else:
            setattr(message.inputs[0], name, value)
    return message


def mixed():
    message = request()
    message.inputs[0].contents.fp32_contents.extend([1, 2])
    return message


def other_field():
    message = request(typed=True)
    message.inputs[0].contents.int_contents.extend([1, 2])
    return message


def with_form(kind, value):
    message = request()
    setattr(message.parameters["form"], kind, value)
    return message


def twice():
    message = request()
    message.outputs.add(name="label")
    message.outputs.add(name="label")
    return message


def shared(tensor):
    message = request()
    where = message.inputs[0] if tensor == "input" else message.outputs.add(name="label")
    where.parameters["shared_memory_region"].string_param = "x"
    return message


INVALID, NOT_FOUND = grpc.StatusCode.INVALID_ARGUMENT, grpc.StatusCode.NOT_FOUND
WRONG = {
    "no model": (changed(model_name="nope"), NOT_FOUND, "no model 'nope': there is iris, iris-onnx"),
    "no version": (changed(model_version="9"), NOT_FOUND, "model 'iris' has no version '9'"),
    "no form": (with_form("string_param", "int8"), NOT_FOUND, "iris has no form 'int8': there is onnx"),
    "form is no string": (with_form("int64_param", 1), INVALID, "parameters.form must be a string"),
    "unknown input": (with_input(name="x"), INVALID, "input 'x' is unknown; the inputs are 'features'"),
    "another datatype": (with_input(datatype="FP64"), INVALID, "datatype is 'FP64', expected 'FP32'"),
    "another shape": (with_input(shape=[2, 5]), INVALID, "shape is [2, 5], expected [-1, 4]"),
    "a negative size": (with_input(shape=[-2, 4]), INVALID, "shape is [-2, 4]"),
    "too many rows": (with_input(shape=[4000, 4]), INVALID, "4000 rows in one request, the limit is 1024"),
    "too few bytes": (with_input(shape=[3, 4]), INVALID, "32 bytes of binary data"),
    "not finite": (request(np.array([[1, np.nan, 1, 1]], np.float32)), INVALID, "value 1 is nan"),
    "typed, not finite": (request(np.array([[1, 1, np.inf, 1]], np.float32), typed=True), INVALID, "value 2 is inf"),
    "typed, too few": (request(ROWS[:1], typed=True), INVALID, None),
    "raw and typed": (mixed(), INVALID, "data is given twice"),
    "values of another datatype": (other_field(), INVALID, "there are values in other fields than fp32_contents"),
    "an output twice": (twice(), INVALID, "an output is asked for twice"),
    "shared memory in": (shared("input"), INVALID, "shared memory is not served"),
    "shared memory out": (shared("output"), INVALID, "shared memory is not served"),
    "no input": (service_pb2.ModelInferRequest(model_name="iris"), INVALID, "input 'features' is missing"),
}
WRONG["typed, too few"][0].inputs[0].shape[:] = [2, 4]


@pytest.mark.parametrize("case", WRONG)
def test_what_is_wrong_is_said_as_over_rest(channel, server, case):
    message, code, words = WRONG[case]
    error = refusal(lambda: stub(channel).ModelInfer(message))
    assert error.code() == code
    assert (words or "4 values in fp32_contents do not fill shape [2, 4]") in error.details()


def test_what_is_no_message_of_the_method(channel):
    infer = channel.unary_unary("/inference.GRPCInferenceService/ModelInfer")
    assert refusal(lambda: infer(b"\xff\xff\xff")).code() == INVALID
    error = refusal(lambda: channel.unary_unary("/inference.GRPCInferenceService/Nothing")(b""))
    assert error.code() == grpc.StatusCode.UNIMPLEMENTED and "server reflection" in error.details()


def test_a_message_over_the_limit(channel):
    infer = channel.unary_unary("/inference.GRPCInferenceService/ModelInfer")
    error = refusal(lambda: infer(bytes(4 * 2**20 + 1)))
    assert error.code() == grpc.StatusCode.RESOURCE_EXHAUSTED and "over 4194304 bytes" in error.details()


def test_a_message_of_many_windows_arrives(channel):
    message = request()
    message.parameters["comment"].string_param = "x" * (3 * 2**20)
    assert np.frombuffer(stub(channel).ModelInfer(message).raw_output_contents[0], np.int64).tolist() == LABELS


def test_calls_are_counted_by_their_interface_and_failures_by_their_reason(client, channel, server):
    form = server.repository.served["iris"]
    key = ("iris", "onnx", form.version)
    before = server.totals()
    for _ in range(3):
        client.infer("iris", [features()])
    refusal(lambda: stub(channel).ModelInfer(WRONG["another shape"][0]))
    after = server.totals()

    def more(sample, word):
        return after[(sample, (*key, word))] - before.get((sample, (*key, word)), 0)

    assert more("ekiben_requests_total", "grpc") == 3
    assert more("ekiben_requests_total", "v2") == 0
    assert more("ekiben_failures_total", "bad_input") == 1


def test_a_clients_trace_is_the_answers(channel):
    trace = "0af7651916cd43dd8448eb211c80319c"
    _, call = stub(channel).ModelInfer.with_call(
        request(), metadata=[("traceparent", f"00-{trace}-b7ad6b7169203331-01")]
    )
    assert dict(call.initial_metadata())["x-trace-id"] == trace


async def test_many_calls_at_once_on_one_connection(server):
    async with triton_aio.InferenceServerClient(server.address) as client:
        rows = [np.full((1 + n % 3, 4), n % 7, np.float32) for n in range(300)]
        answers = await asyncio.gather(
            *(client.infer("iris", [features(r)], request_id=str(n)) for n, r in enumerate(rows))
        )
        alone = {r.tobytes(): (await client.infer("iris", [features(r)])).as_numpy("label").tolist() for r in rows[:21]}
    assert [answer.get_response().id for answer in answers] == [str(n) for n in range(300)]
    assert all(a.as_numpy("label").tolist() == alone[r.tobytes()] for a, r in zip(answers, rows, strict=True))


def test_a_stream_is_answered_in_order_with_errors_in_its_messages(client, server):
    results = queue.Queue()
    client.start_stream(lambda result, error: results.put((result, error)))
    names = ["iris", "nope", "iris-onnx", "iris", "iris"]
    for n, name in enumerate(names):
        rows = np.resize(ROWS, (100 if n == 0 else 2, 4))
        client.async_stream_infer(name, [features(rows)], request_id=str(n), enable_empty_final_response=n == 4)
    answers = [results.get(timeout=120) for _ in names]
    client.stop_stream()
    assert [result and result.get_response().id for result, _ in answers] == ["0", None, "2", "3", "4"]
    assert "no model 'nope'" in str(answers[1][1])
    assert answers[2][0].as_numpy("label").tolist() == LABELS
    assert answers[4][0].get_response().parameters["triton_final_response"].bool_param


def test_a_stream_of_compressed_messages_ends_well(channel):
    answers = stub(channel).ModelStreamInfer(
        iter([request(id=str(n)) for n in range(50)]), compression=grpc.Compression.Gzip
    )
    assert [answer.infer_response.id for answer in answers] == [str(n) for n in range(50)]
    assert answers.code() == grpc.StatusCode.OK


@pytest.fixture
def slow(stored_here):
    """A server whose requests wait for an hour, and the list of those that do."""
    with grpc_server(faults=1, max_latency_ms=7_200_000) as server:
        faults, waiting = server.repository.faults, []
        inject = faults.inject

        def told(path, inputs):
            waiting.append(path)
            return inject(path, inputs)

        faults.inject = told
        faults.add(Fault("latency", 3600.0, "/v2/models/iris/infer", time.time() + 3600))
        yield server, waiting


def failures(server, reason):
    totals = server.totals()
    return sum(
        value for (name, labels), value in totals.items() if name == "ekiben_failures_total" and reason in labels
    )


def wait(condition, seconds=120):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def batches(server):
    return sum(value for (name, _), value in server.totals().items() if name == "ekiben_batch_rows_count")


def test_what_is_cancelled_or_late_is_not_computed(slow):
    server, waiting = slow
    with grpc.insecure_channel(server.address) as channel:
        assert stub(channel).ServerLive(service_pb2.ServerLiveRequest()).live
        computed = batches(server)
        error = refusal(lambda: stub(channel).ModelInfer(request(), timeout=1.0))
        assert error.code() == grpc.StatusCode.DEADLINE_EXCEEDED
        call = stub(channel).ModelInfer.future(request())
        wait(lambda: len(waiting) == 2)
        call.cancel()
        stream = stub(channel).ModelStreamInfer(iter([request(), request()]))
        wait(lambda: len(waiting) == 4)
        stream.cancel()
        # A client that gives up resets as well, and may be the first to.
        wait(lambda: failures(server, "timeout") + failures(server, "cancelled") == 4)
        server.repository.faults.clear()
        assert stub(channel).ModelInfer(request(), timeout=120).model_name == "iris"
        assert len(waiting) == 4 and batches(server) == computed + 1


@pytest.mark.parametrize("streams", [False, True])
def test_a_deadline_that_cannot_be_met_is_shed_and_not_computed(stored_here, streams):
    with grpc_server(max_latency_ms=600_000) as server, grpc.insecure_channel(server.address) as channel:
        runner, began, go_on = server.repository.served["iris"].runner, threading.Event(), threading.Event()
        run = runner._session.run

        def held(batch):
            began.set()
            assert go_on.wait(120)
            return run(batch)

        runner._session, runner._engine_time = SimpleNamespace(run=held), EngineTime()
        runner._engine_time.learn(2, 100.0)  # seconds, as far as the runner knows
        first = stub(channel).ModelInfer.future(request())
        assert began.wait(120)
        if streams:
            (answer,) = stub(channel).ModelStreamInfer(iter([request()]), timeout=50)
            words = answer.error_message
        else:
            error = refusal(lambda: stub(channel).ModelInfer(request(), timeout=50))
            assert error.code() == grpc.StatusCode.RESOURCE_EXHAUSTED
            assert dict(error.trailing_metadata())["grpc-retry-pushback-ms"] == "1000"
            words = error.details()
        assert re.fullmatch(r"what waits is \d+ ms of work; the deadline is in \d+ ms", words)
        later = stub(channel).ModelInfer.future(request(), timeout=500)
        wait(lambda: runner.pending == len(ROWS))
        go_on.set()
        assert first.result(120).model_name == later.result(120).model_name == "iris"
        assert batches(server) == 2 and failures(server, "shed") == 1


def test_a_full_queue_pushes_back(stored_here):
    with grpc_server(max_queue_rows=4) as server, grpc.insecure_channel(server.address) as channel:
        error = refusal(lambda: stub(channel).ModelInfer(request(np.resize(ROWS, (5, 4)))))
        assert error.code() == grpc.StatusCode.RESOURCE_EXHAUSTED and "4 may wait" in error.details()
        assert dict(error.trailing_metadata())["grpc-retry-pushback-ms"] == "1000"


def test_an_engine_that_fails_is_internal(stored_here):
    def fails(batch):
        raise RuntimeError("it broke")

    with grpc_server() as server, grpc.insecure_channel(server.address) as channel:
        server.repository.served["iris"].runner._session = SimpleNamespace(run=fails)
        error = refusal(lambda: stub(channel).ModelInfer(request()))
        assert error.code() == grpc.StatusCode.INTERNAL
        assert error.details() == "the engine failed: RuntimeError: it broke"
        assert failures(server, "engine") == 1


def test_a_refused_form_is_unavailable_with_the_reason(stored_here):
    refused = RefusedForm("wine", "onnx", "1", "wine-onnx:1: its certificate is missing")
    with grpc_server() as server, grpc.insecure_channel(server.address) as channel:
        server.repository.refused["wine-onnx"] = refused
        error = refusal(lambda: stub(channel).ModelInfer(changed(model_name="wine-onnx")))
        assert error.code() == grpc.StatusCode.UNAVAILABLE and "its certificate is missing" in error.details()
        assert not stub(channel).ModelReady(service_pb2.ModelReadyRequest(name="wine-onnx")).ready
