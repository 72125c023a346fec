"""Every method that is served over gRPC, by its path, and a port for them."""

from __future__ import annotations

import socket
from collections.abc import Callable
from typing import Any

from google.protobuf import json_format
from google.protobuf.message import DecodeError

from serving import VERSION
from serving.api import health
from serving.api.content import inflate
from serving.api.grpc.health import Check, Watch
from serving.api.grpc.infer import Inference, ModelInfer, served
from serving.api.grpc.reflection import Reflection
from serving.api.grpc.schema import Schema
from serving.api.grpc.stream import ModelStreamInfer
from serving.api.v2 import describe
from serving.api.v2.routes import EXTENSIONS, index
from serving.errors import BadInput
from serving.grpc.call import Call, Method
from serving.grpc.listener import GrpcListener
from serving.grpc.service import Gateway, GrpcService
from serving.inference.dataplane import DataPlane, LoadedForm
from serving.inference.repository import Repository
from serving.lifecycle import Lifecycle

SERVICE = "inference.GRPCInferenceService"
MAX_MESSAGE_BYTES = 64 * 1024  # of messages that are a name and little else
Answer = Callable[[Any], dict[str, Any]]


class Unary(Method):
    """A method that is a function: it gives the fields of the response."""

    def __init__(self, answer: Answer, request: Any, response: Any, path: str) -> None:
        self._answer, self._parse, self._response, self.path = answer, request.FromString, response, path

    def handle(self, call: Call, message: bytes, compressed: bool) -> None:
        """Answer with what the function makes of the request. BadInput, and what the function raises"""
        if compressed:
            message = inflate(message, call.coding or b"", MAX_MESSAGE_BYTES)
        try:
            request = self._parse(message)
        except DecodeError:
            raise BadInput("the message is not of this method") from None
        response = json_format.ParseDict(self._answer(request), self._response(), ignore_unknown_fields=True)
        call.respond(response.SerializeToString())


def methods(repository: Repository, plane: DataPlane, lifecycle: Lifecycle, schema: Schema) -> dict[bytes, Method]:
    """Path → method, of all services."""
    inference = Inference(repository, plane, schema)
    table: dict[str, Method] = {
        f"/{SERVICE}/ModelInfer": ModelInfer(inference),
        f"/{SERVICE}/ModelStreamInfer": ModelStreamInfer(inference, schema),
        "/grpc.health.v1.Health/Check": Check(repository, lifecycle, schema, SERVICE),
        "/grpc.health.v1.Health/Watch": Watch(repository, lifecycle, schema, SERVICE),
        "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo": (reflection := Reflection(schema)),
        "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo": reflection,
    }
    for name, (answer, path) in _answers(repository, lifecycle).items():
        request, response = schema[f"inference.{name}Request"], schema[f"inference.{name}Response"]
        table[f"/{SERVICE}/{name}"] = Unary(answer, request, response, path)
    return {path.encode(): method for path, method in table.items()}


def _answers(repository: Repository, lifecycle: Lifecycle) -> dict[str, tuple[Answer, str]]:
    """Method → what gives its response, and the REST path that says the same."""

    def form(request: Any) -> LoadedForm:
        return served(repository, request.name, request.version)

    def config(request: Any) -> dict[str, Any]:
        return {"config": describe.configuration(request.name, form(request), repository)}

    def statistics(request: Any) -> dict[str, Any]:
        if request.name:
            return {"model_stats": [describe.statistics(request.name, form(request), repository)]}
        return {"model_stats": describe.all_statistics(repository)}

    def repository_index(request: Any) -> dict[str, Any]:
        rows = index(repository)
        return {"models": [row for row in rows if row["state"] == "READY" or not request.ready]}

    return {
        "ServerLive": (lambda _: {"live": not lifecycle.sick}, "/v2/health/live"),
        "ServerReady": (lambda _: {"ready": not health.unready_reason(repository, lifecycle)}, "/v2/health/ready"),
        "ModelReady": (lambda request: {"ready": ready(repository, request.name, request.version)}, "/v2/models"),
        "ServerMetadata": (lambda _: {"name": "ekiben", "version": VERSION, "extensions": list(EXTENSIONS)}, "/v2"),
        "ModelMetadata": (lambda request: describe.metadata(request.name, form(request)), "/v2/models"),
        "ModelConfig": (config, "/v2/models"),
        "ModelStatistics": (statistics, "/v2/models"),
        "RepositoryIndex": (repository_index, "/v2/repository/index"),
    }


def ready(repository: Repository, name: str, version: str) -> bool:
    """Whether a model answers; False where its form is refused. NotFound"""
    if name in repository.refused and name not in repository.served:
        return False
    return served(repository, name, version) is not None


def listen(
    sock: socket.socket, gateway: Gateway, repository: Repository, lifecycle: Lifecycle, uvicorn_server: Any = None
) -> GrpcListener:
    """Serve a repository on this socket, beside the HTTP of this gateway."""
    settings = repository.settings
    table = methods(repository, DataPlane(repository.faults, repository.memory.work), lifecycle, Schema())
    service = GrpcService(table, gateway, settings.max_body_bytes)
    if uvicorn_server is not None:
        service.connections = uvicorn_server.server_state.connections
    return GrpcListener(service, sock, uvicorn_server)
