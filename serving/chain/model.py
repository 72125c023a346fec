"""The model stage: the whole service for one model, whose V2 inference is also what the preprocess stage asks."""

from __future__ import annotations

import gc
from collections.abc import MutableMapping
from dataclasses import replace
from functools import partial
from typing import Any

import bentoml

from serving.api import interface
from serving.chain.message import FORM, REPLICA, Call, Message
from serving.chain.service import SETTINGS, StageService
from serving.chain.stage import replica
from serving.errors import EngineError
from serving.http.router import App, Routes
from serving.service_class import LeanService


@bentoml.service(name="model", service_class=LeanService, workers=SETTINGS.workers)
class ModelStage(StageService):
    """Tensors in, tensors out."""

    stage = "model"

    def __init__(self) -> None:
        super().__init__()
        self.repository.load(ModelStage.own_models())  # type: ignore[attr-defined]
        # What is loaded stays: the collector need not walk it while requests wait.
        gc.collect()
        gc.freeze()

    def routes(self) -> Routes:
        found = interface.routes(self.repository)
        for name, served in self.repository.served.items():
            path = f"/v2/models/{name}/infer"
            found[path] = {"POST": self.route(partial(infer, found[path]["POST"], served.form))}
        return found

    def __is_ready__(self) -> bool:
        return self.repository.ready


async def infer(application: App, form: str, call: Call, body: bytes) -> Message:
    """What an ASGI application answers to this body, and which replica and form did."""
    call.replica, call.logged = replica(call.scope), True
    reply = await answer(application, call.scope, body)
    return replace(reply, headers={FORM: form, **reply.headers, REPLICA: call.replica})


async def answer(application: App, scope: MutableMapping[str, Any], body: bytes) -> Message:
    """The answer of an ASGI application that is given this body, wherever it came from. EngineError if it gives none"""
    heard: list[MutableMapping[str, Any]] = []

    async def receive() -> MutableMapping[str, Any]:
        return {"type": "http.request", "body": body, "more_body": False}

    async def send(message: MutableMapping[str, Any]) -> None:
        heard.append(message)

    await application(scope, receive, send)
    if not heard:
        raise EngineError("the model gave no answer")
    headers = {name.decode(): value.decode("latin-1") for name, value in heard[0]["headers"]}
    return Message(headers, b"".join(message.get("body", b"") for message in heard[1:]), heard[0]["status"])
