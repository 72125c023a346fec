"""The postprocess stage, where people come in: files go on to preprocess, and what comes back is put in words."""

from __future__ import annotations

from urllib.parse import quote

import bentoml
import orjson

from serving.chain import tensors
from serving.chain.message import KIND, Call, Message
from serving.chain.service import SETTINGS, AskingService
from serving.chain.stage import ask
from serving.errors import BadInput
from serving.http.gateway import Routes
from serving.service_class import LeanService


@bentoml.service(name="postprocess", service_class=LeanService, workers=SETTINGS.workers)
class PostprocessStage(AskingService):
    """`POST /finalize`: the answers of the model's native route, and which replica computed them."""

    stage = "postprocess"

    def __init__(self) -> None:
        super().__init__()
        self.receiver = None  # strangers ask here: they name no files of the volume
        self.ask_at("preprocess", SETTINGS.chain_preprocess_at)

    def routes(self) -> Routes:
        """`POST /finalize`, and what all stages have."""
        return {"/finalize": {"POST": self.route(self.finalize)}, **self.routes_of_all()}

    async def finalize(self, call: Call, body: bytes) -> Message:
        """One file's answer as an object, several files' as a list. BadInput; what asking raises"""
        query = call.request.query
        if unknown := query.keys() - {"form"}:
            raise BadInput(f"query parameter {min(unknown)!r} is unknown; there is form")
        path = f"/preprocess?form={quote(query['form'])}" if "form" in query else "/preprocess"
        message = Message({KIND: call.headers.get(KIND, "application/octet-stream")}, body)
        reply = await ask(self.next_stage, path, message, call, self.metrics)
        outputs, which = tensors.outputs(self.model.signature, reply)
        who = {"model": self.model.name, **which, "replica": call.replica}
        answers = [{**answer, **who} for answer in self.model.answers(outputs)]
        return Message({KIND: "application/json"}, orjson.dumps(answers if len(answers) > 1 else answers[0]))
