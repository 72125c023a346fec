"""The model stage: the whole service for one model, whose V2 inference is also what the preprocess stage asks."""

from __future__ import annotations

import asyncio
import gc
from dataclasses import replace
from functools import partial
from typing import Any, cast

import bentoml

from serving.api import interface
from serving.chain.message import FORM, KIND, REPLICA, Call, Message
from serving.chain.service import SETTINGS, StageService
from serving.chain.stage import replica
from serving.errors import ServingError
from serving.http.gateway import Routes
from serving.http.messages import Handler, Request, Response
from serving.service_class import LeanService


@bentoml.service(name="model", service_class=LeanService, workers=SETTINGS.workers)
class ModelStage(StageService):
    """Tensors in, tensors out."""

    stage = "model"

    def __init__(self) -> None:
        super().__init__()
        # What is loaded stays: the collector need not walk it while requests wait.
        gc.collect()
        gc.freeze()

    def load(self) -> None:
        """Load the forms in the bento, or of the store. SettingsError"""
        self.repository.load(ModelStage.own_models())  # type: ignore[attr-defined]

    def routes(self) -> Routes:
        """Those of the whole interface, with V2's inference as the stages ask it."""
        table = interface.routes(self.repository, self.lifecycle)
        for name, served in self.repository.served.items():
            path = f"/v2/models/{name}/infer"
            table[path] = {"POST": self.route(partial(infer, table[path]["POST"], served.form))}
        return table

    def __is_ready__(self) -> bool:
        return self.repository.ready


async def infer(handler: Handler, form: str, call: Call, body: bytes) -> Message:
    """What a handler answers to this body, and which replica and form did."""
    call.replica, call.logged = replica(call.request), True
    reply = await answer(handler, call.request, body)
    return replace(reply, headers={FORM: form, **reply.headers, REPLICA: call.replica})


class LocalConnection:
    """Stands for the connection of a request whose body came another way; keeps the response."""

    def __init__(self, request: Request) -> None:
        self._request = request
        self.scheme, self.server = request.scheme, request.server
        self.response: asyncio.Future[Response] = asyncio.get_running_loop().create_future()

    @property
    def lost(self) -> bool:
        """Whether the stage that asks is gone."""
        return self._request.disconnected

    def send(self, request: Request, response: Response) -> None:
        """Hand the response to who waits for it in this process."""
        if not self.response.done():
            self.response.set_result(response)


async def answer(handler: Handler, request: Request, body: bytes) -> Message:
    """The answer of a handler to this request with another body, wherever that came from."""
    connection = LocalConnection(request)
    inner = Request(cast(Any, connection), request.method, request.headers, request.begun)
    inner.path, inner.body, inner.trace_id = request.path, body, request.trace_id
    try:
        handler.check(inner)
        handler.handle(inner)
    except ServingError as error:
        handler.reject(inner, error)
    response = await connection.response
    headers = {name.decode(): value.decode("latin-1") for name, value in response.headers}
    return Message({KIND: response.content_type.decode(), **headers}, response.body, response.status)
