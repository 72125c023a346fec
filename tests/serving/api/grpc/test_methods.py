"""What is said of server and models, health and reflection, as their own clients ask."""

import grpc
import pytest
from google.protobuf.descriptor_pool import DescriptorPool
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import ProtoReflectionDescriptorDatabase
from tritonclient.utils import InferenceServerException

from tests.serving.api.grpc.conftest import features
from tests.serving.grpc.grpc_server import grpc_server

SERVING, NOT_SERVING = health_pb2.HealthCheckResponse.SERVING, health_pb2.HealthCheckResponse.NOT_SERVING


def test_server_and_model_are_live_ready_and_described(client, server):
    assert client.is_server_live() and client.is_server_ready() and client.is_model_ready("iris")
    version = server.repository.served["iris"].version
    assert client.is_model_ready("iris-onnx", version)
    assert client.get_server_metadata().name == "ekiben"
    metadata = client.get_model_metadata("iris", as_json=True)
    assert metadata["versions"] == [version] and metadata["platform"] == "onnxruntime_onnx"
    assert metadata["inputs"] == [{"name": "features", "datatype": "FP32", "shape": ["-1", "4"]}]
    config = client.get_model_config("iris").config
    assert (config.max_batch_size, config.input[0].name, list(config.input[0].dims)) == (64, "features", [4])
    assert {m.name: m.state for m in client.get_model_repository_index().models} == {
        "iris": "READY",
        "iris-onnx": "READY",
    }


def test_statistics_count_what_was_answered(client):
    def answered():
        return client.get_inference_statistics("iris").model_stats[0].inference_stats.success.count

    before = answered()
    client.infer("iris", [features()])
    assert answered() == before + 1
    assert {stats.name for stats in client.get_inference_statistics().model_stats} == {"iris", "iris-onnx"}


@pytest.mark.parametrize(
    "method", ["get_model_metadata", "get_model_config", "get_inference_statistics", "is_model_ready"]
)
@pytest.mark.parametrize("model", [("nope",), ("iris", "9")])
def test_what_there_is_not(client, method, model):
    with pytest.raises(InferenceServerException) as raised:
        getattr(client, method)(*model)
    assert "NOT_FOUND" in raised.value.status()


def test_health_of_the_server_its_service_and_its_models(channel):
    health = health_pb2_grpc.HealthStub(channel)
    for name in ("", "inference.GRPCInferenceService", "iris"):
        assert health.Check(health_pb2.HealthCheckRequest(service=name)).status == SERVING
    with pytest.raises(grpc.RpcError) as raised:
        health.Check(health_pb2.HealthCheckRequest(service="nope"))
    assert raised.value.code() == grpc.StatusCode.NOT_FOUND
    watch = health.Watch(health_pb2.HealthCheckRequest(service="nope"))
    assert next(watch).status == health_pb2.HealthCheckResponse.SERVICE_UNKNOWN
    watch.cancel()


def test_reflection_describes_every_service(channel):
    database = ProtoReflectionDescriptorDatabase(channel)
    assert set(database.get_services()) >= {"inference.GRPCInferenceService", "grpc.health.v1.Health"}
    pool = DescriptorPool(database)
    method = pool.FindServiceByName("inference.GRPCInferenceService").FindMethodByName("ModelInfer")
    assert "raw_input_contents" in method.input_type.fields_by_name
    stub = reflection_pb2_grpc.ServerReflectionStub(channel)
    asked = [
        reflection_pb2.ServerReflectionRequest(file_by_filename="nope.proto"),
        reflection_pb2.ServerReflectionRequest(all_extension_numbers_of_type="x"),
    ]
    assert [a.error_response.error_code for a in stub.ServerReflectionInfo(iter(asked))] == [5, 12]


def test_a_server_that_ends_says_so_and_answers_what_it_has_accepted(stored_here):
    with grpc_server() as server, grpc.insecure_channel(server.address) as channel:
        watch = health_pb2_grpc.HealthStub(channel).Watch(health_pb2.HealthCheckRequest())
        assert next(watch).status == SERVING
        server.lifecycle.draining = True
        assert next(watch).status == NOT_SERVING
        (connection,) = server.service.connections
        server.call(connection.shutdown)
        assert next(watch).status == NOT_SERVING  # the last word, and then
        with pytest.raises(grpc.RpcError) as raised:
            next(watch)
        assert raised.value.code() == grpc.StatusCode.UNAVAILABLE
