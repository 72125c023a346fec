"""Triton's own clients, unmodified, against the running service."""

import numpy as np
import pytest
import tritonclient.http as triton
import tritonclient.http.aio as triton_aio
from tritonclient.utils import InferenceServerException

ROWS = np.array([[5.1, 3.5, 1.4, 0.2], [6.7, 3.0, 5.2, 2.3], [5.9, 2.8, 4.4, 1.3]], np.float32)


@pytest.fixture(scope="module")
def client(server):
    with triton.InferenceServerClient(server.url.removeprefix("http://")) as client:
        yield client


def features(rows, binary):
    given = triton.InferInput("features", list(rows.shape), "FP32")
    given.set_data_from_numpy(rows, binary_data=binary)
    return given


@pytest.mark.parametrize("binary_out", [True, False])
@pytest.mark.parametrize("binary_in", [True, False])
def test_infer_in_json_and_binary(client, binary_in, binary_out):
    outputs = [triton.InferRequestedOutput(name, binary_data=binary_out) for name in ("probabilities", "label")]
    result = client.infer("iris", [features(ROWS, binary_in)], outputs=outputs, request_id="seven")
    assert result.as_numpy("label").tolist() == [0, 2, 1]
    assert result.as_numpy("label").dtype == np.int64
    assert result.as_numpy("probabilities").shape == (3, 3)
    assert np.allclose(result.as_numpy("probabilities").sum(1), 1, atol=1e-5)
    assert result.get_response()["id"] == "seven"


def test_json_and_binary_answer_alike_to_the_bit(client):
    answers = [client.infer("iris", [features(ROWS, b)]).as_numpy("probabilities") for b in (True, False)]
    assert (answers[0] == answers[1]).all()


@pytest.mark.parametrize("compression", ["gzip", "deflate"])
def test_compressed_requests(client, compression):
    result = client.infer("iris", [features(ROWS, True)], request_compression_algorithm=compression)
    assert result.as_numpy("label").tolist() == [0, 2, 1]


def test_every_form_answers_alike(client):
    forms = {row["name"] for row in client.get_model_repository_index() if row["name"].startswith("iris-")}
    assert forms == {"iris-onnx", "iris-sklearn"}
    answers = [client.infer(name, [features(ROWS, True)]).as_numpy("probabilities") for name in sorted(forms)]
    assert np.abs(answers[0] - answers[1]).max() <= 1e-5


def test_digits_take_a_batch_of_images_and_all_forms_answer_alike(client):
    images = np.random.default_rng(0).random((100, 1, 28, 28), np.float32)
    given = triton.InferInput("image", list(images.shape), "FP32")
    given.set_data_from_numpy(images)
    logits = {
        form: client.infer(f"digits-{form}", [given]).as_numpy("logits")
        for form in ("pytorch", "onnx", "optimized", "int8")
    }
    assert logits["onnx"].shape == (100, 10)
    assert np.abs(logits["onnx"] - logits["pytorch"]).max() <= 1e-4
    assert np.abs(logits["optimized"] - logits["pytorch"]).max() <= 1e-4


def test_concurrent_requests_keep_their_answers(client, server):
    rows = np.random.default_rng(0).uniform([4, 2, 1, 0.1], [8, 4.5, 7, 2.5], (200, 4)).astype(np.float32)
    alone = client.infer("iris", [features(rows, True)]).as_numpy("probabilities")
    with triton.InferenceServerClient(server.url.removeprefix("http://"), concurrency=16) as many:
        pending = [many.async_infer("iris", [features(rows[i : i + 1], i % 2 == 0)]) for i in range(200)]
        answers = np.concatenate([p.get_result().as_numpy("probabilities") for p in pending])
    assert np.abs(answers - alone).max() <= 1e-6


async def test_the_asyncio_client(server):
    async with triton_aio.InferenceServerClient(server.url.removeprefix("http://")) as client:
        assert await client.is_server_live()
        assert await client.is_server_ready()
        result = await client.infer("wine", [wine_row()])
        assert result.as_numpy("label").shape == (1,)


def wine_row():
    given = triton.InferInput("features", [1, 13], "FP32")
    given.set_data_from_numpy(np.full((1, 13), 2.0, np.float32))
    return given


def test_what_the_server_says_of_itself(client):
    assert client.is_server_live()
    assert client.is_server_ready()
    assert client.get_server_metadata()["name"] == "ekiben"
    assert "binary_tensor_data" in client.get_server_metadata()["extensions"]
    metadata = client.get_model_metadata("iris")
    assert metadata["inputs"] == [{"name": "features", "datatype": "FP32", "shape": [-1, 4]}]
    assert client.is_model_ready("iris")
    assert client.is_model_ready("iris", metadata["versions"][0])
    assert client.get_model_config("iris")["max_batch_size"] == 64
    assert client.get_model_config("iris")["input"] == [{"name": "features", "data_type": "TYPE_FP32", "dims": [4]}]
    index = client.get_model_repository_index()
    assert {row["state"] for row in index} == {"READY"}


def test_statistics_count_what_was_asked(client):
    def counted():
        (row,) = client.get_inference_statistics("wine")["model_stats"]
        return row["inference_count"], row["inference_stats"]["success"]["count"], row["execution_count"]

    before = counted()
    for _ in range(5):
        client.infer("wine", [wine_row()])
    after = counted()
    assert [a - b for a, b in zip(after, before, strict=True)] == [5, 5, 5]


def test_a_version_can_be_named(client):
    version = client.get_model_metadata("iris")["versions"][0]
    result = client.infer("iris", [features(ROWS, True)], model_version=version)
    assert result.get_response()["model_version"] == version
    with pytest.raises(InferenceServerException, match="unknown model or version"):
        client.infer("iris", [features(ROWS, True)], model_version="1")


def test_a_parameter_picks_a_form(client):
    result = client.infer("iris", [features(ROWS, True)], parameters={"form": "sklearn"})
    assert result.get_response()["parameters"] == {"form": "sklearn"}
    with pytest.raises(InferenceServerException, match="iris has no form 'int8': there is onnx, sklearn"):
        client.infer("iris", [features(ROWS, True)], parameters={"form": "int8"})
