"""V2 over gRPC, put together: the methods of a repository on a port."""

from __future__ import annotations

import socket
from typing import Any

from serving.api.grpc.methods import methods
from serving.api.grpc.schema import Schema
from serving.grpc.listener import GrpcListener
from serving.grpc.service import Gateway, GrpcService
from serving.inference.dataplane import DataPlane
from serving.inference.repository import Repository
from serving.lifecycle import Lifecycle


def listen(
    sock: socket.socket, gateway: Gateway, repository: Repository, lifecycle: Lifecycle, uvicorn_server: Any = None
) -> GrpcListener:
    """Serve a repository on this socket, beside the HTTP of this gateway."""
    settings = repository.settings
    table = methods(repository, DataPlane(repository.faults), lifecycle, Schema())
    service = GrpcService(table, gateway, settings.max_body_bytes)
    if uvicorn_server is not None:
        service.connections = uvicorn_server.server_state.connections
    return GrpcListener(service, sock, uvicorn_server)
