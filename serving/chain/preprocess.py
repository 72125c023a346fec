"""The preprocess stage: what people send becomes tensors, which the model stage is asked about."""

from __future__ import annotations

import bentoml

from serving.api.content import media_type
from serving.api.payloads import adapter
from serving.api.payloads.rows import preprocess_apart, preprocess_batch
from serving.chain import tensors
from serving.chain.message import KIND, Call, Message
from serving.chain.service import SETTINGS, AskingService
from serving.chain.stage import ask
from serving.errors import BadInput
from serving.http.gateway import Routes
from serving.service_class import LeanService


@bentoml.service(name="preprocess", service_class=LeanService, workers=SETTINGS.workers)
class PreprocessStage(AskingService):
    """Files in; tensors go on to the model, and its outputs go back."""

    stage = "preprocess"

    def __init__(self) -> None:
        super().__init__()
        self.adapter = adapter(self.model, SETTINGS)
        self.ask_at("model", SETTINGS.chain_model_at)

    def routes(self) -> Routes:
        """`POST /preprocess`, and what all stages have."""
        return {"/preprocess": {"POST": self.route(self.preprocess)}, **self.routes_of_all()}

    async def preprocess(self, call: Call, body: bytes) -> Message:
        """The model's reply to the files of a request. BadInput, UnsupportedMedia; what asking raises"""
        content_type = call.headers.get(KIND, "").encode("latin-1")
        files, _ = self.adapter.read(body, media_type(content_type), content_type)
        if len(files) > SETTINGS.max_request_rows:
            raise BadInput(f"{len(files)} rows in one request, the limit is {SETTINGS.max_request_rows}")
        if self.adapter.needs_thread(files, len(body)):
            n_bytes_of, memory = self.adapter.decoding_bytes, self.memory.work
            batch = await preprocess_apart(self.model, files, n_bytes_of, memory, call.seconds_left(), call.request)
        else:
            batch = preprocess_batch(self.model, files)
        message = tensors.request(self.model.signature, batch, call.request.query.get("form"))
        return await ask(self.next_stage, f"/v2/models/{self.model.name}/infer", message, call, self.metrics)
