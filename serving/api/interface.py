"""The routing table: every route there is, in one dictionary."""

from __future__ import annotations

import asyncio

from serving.api import bentoml_clients, faults, health, native, own_routes, pages, predict, swagger
from serving.api.v2 import routes as v2
from serving.http.endpoint import Endpoint
from serving.http.gateway import Routes
from serving.http.messages import Request, Response
from serving.inference.dataplane import DataPlane
from serving.inference.repository import Repository
from serving.lifecycle import Lifecycle

PROMETHEUS = b"text/plain; version=0.0.4; charset=utf-8"


def routes(repository: Repository, lifecycle: Lifecycle) -> Routes:
    """Every route of the service, path → method → handler."""
    plane = DataPlane(repository.faults, repository.memory.work)
    return {
        **v2.routes(repository, plane, lifecycle),
        **native.routes(repository, plane),
        **predict.routes(repository, plane),
        **own_routes.routes(repository, plane),
        **health.routes(repository, lifecycle),
        **pages.routes(repository, plane),
        **swagger.routes(repository),
        **bentoml_clients.routes(repository),
        **faults.routes(repository.faults),
        **_metrics(repository),
    }


def _metrics(repository: Repository) -> Routes:
    async def metrics(_: Request) -> Response:
        repository.flush()
        return Response(await asyncio.to_thread(repository.families.text), PROMETHEUS)

    return {"/metrics": {"GET": Endpoint(metrics)}}
