"""grpc.health.v1: whether the server, or a model, is ready. Once, or as often as that changes."""

from __future__ import annotations

import asyncio
from typing import Any

from google.protobuf.message import DecodeError

from serving.api import health
from serving.api.content import inflate
from serving.api.grpc.schema import Schema
from serving.errors import BadInput, NotFound, NotReady
from serving.grpc.call import Call, Method
from serving.inference.repository import Repository
from serving.lifecycle import Lifecycle

SERVING, NOT_SERVING, SERVICE_UNKNOWN = 1, 2, 3
LOOK_SECONDS = 0.25
MAX_MESSAGE_BYTES = 64 * 1024


class Check(Method):
    """The state of a service. NotFound where it is unknown"""

    path = "/v2/health/"

    def __init__(self, repository: Repository, lifecycle: Lifecycle, schema: Schema, service: str) -> None:
        self._repository, self._lifecycle, self._service = repository, lifecycle, service
        self._request, self._response = (
            schema[f"grpc.health.v1.HealthCheck{kind}"] for kind in ("Request", "Response")
        )

    def handle(self, call: Call, message: bytes, compressed: bool) -> None:
        """Answer with the state. BadInput, NotFound"""
        name = self.name(call, message, compressed)
        if (state := self.state(name)) == SERVICE_UNKNOWN:
            raise NotFound(f"no service {name[:60]!r}: there is {self._service}, and each model by its name")
        call.respond(self.encode(state))

    def name(self, call: Call, message: bytes, compressed: bool) -> str:
        """The service that a request asks for."""
        if compressed:
            message = inflate(message, call.coding or b"", MAX_MESSAGE_BYTES)
        try:
            name: str = self._request.FromString(message).service
        except DecodeError:
            raise BadInput("the message is not a HealthCheckRequest") from None
        return name

    def state(self, name: str) -> int:
        """The ServingStatus of a model, or of the whole service by its name or none; SERVICE_UNKNOWN of others."""
        known = name in ("", self._service) or name in self._repository.served
        if not known:
            return NOT_SERVING if name in self._repository.refused else SERVICE_UNKNOWN
        if name in self._repository.served and not (self._lifecycle.draining or self._lifecycle.sick):
            return SERVING
        return NOT_SERVING if health.unready_reason(self._repository, self._lifecycle) else SERVING

    def encode(self, state: int) -> bytes:
        """A HealthCheckResponse with this ServingStatus."""
        encoded: bytes = self._response(status=state).SerializeToString()
        return encoded


class Watch(Check):
    """The state of a service, and each that it changes to."""

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self._watching: dict[Call, tuple[str, int]] = {}
        self._timer: asyncio.TimerHandle | None = None

    def handle(self, call: Call, message: bytes, compressed: bool) -> None:
        """Send the state now, and again whenever it has changed. BadInput"""
        name = self.name(call, message, compressed)
        self._watching[call] = name, (state := self.state(name))
        call.send(self.encode(state))
        if self._timer is None:
            self._look_later()

    def _look_later(self) -> None:
        self._timer = asyncio.get_running_loop().call_later(LOOK_SECONDS, self._look)

    def _look(self) -> None:
        self._timer = None
        for call, (name, before) in tuple(self._watching.items()):
            if call.done:
                del self._watching[call]
            elif (state := self.state(name)) != before:
                self._watching[call] = name, state
                call.send(self.encode(state))
        if self._watching:
            self._look_later()

    def leave(self, call: Call) -> None:
        """Send that this service does not serve, and end the call."""
        if call in self._watching:
            call.send(self.encode(NOT_SERVING))
        call.fail(NotReady("this process ends; what it has accepted is answered"))
