"""The whole interface of a repository: every route there is, in one dictionary."""

from __future__ import annotations

import asyncio

from serving.api import bentoml_clients, faults, health, native, pages, swagger
from serving.api.v2 import routes as v2
from serving.http.router import Receive, Routes, Scope, Send, send_bytes
from serving.inference.repository import Repository


def routes(repository: Repository) -> Routes:
    return {
        **v2.routes(repository),
        **native.routes(repository),
        **health.routes(repository),
        **pages.routes(repository),
        **swagger.routes(repository),
        **bentoml_clients.routes(repository),
        **faults.routes(repository.faults),
        **_metrics(repository),
    }


def _metrics(repository: Repository) -> Routes:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        repository.flush()
        text = await asyncio.get_running_loop().run_in_executor(None, repository.families.text)
        await send_bytes(send, text, (b"content-type", b"text/plain; version=0.0.4; charset=utf-8"))

    return {"/metrics": {"GET": app, "HEAD": app}}
