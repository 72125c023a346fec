"""Server reflection: which services there are, and the .proto files that describe them."""

from __future__ import annotations

from typing import Any

from google.protobuf.message import DecodeError

from serving.api.content import inflate
from serving.api.grpc.schema import Schema
from serving.errors import BadInput, NotReady
from serving.grpc.call import Call, Method

MAX_MESSAGE_BYTES = 64 * 1024
NOT_FOUND, UNIMPLEMENTED = 5, 12


class Reflection(Method):
    """ServerReflectionInfo, of v1alpha and of v1: the messages are the same."""

    path, streams = "/v2", True

    def __init__(self, schema: Schema) -> None:
        self._schema = schema
        package = "grpc.reflection.v1alpha.ServerReflection"
        self._request, self._response = schema[f"{package}Request"], schema[f"{package}Response"]
        self._services = [f"{file.package}.{service.name}" for file in schema.files for service in file.service]
        self._files = {file.name: file.SerializeToString() for file in schema.files}

    def handle(self, call: Call, message: bytes, compressed: bool) -> None:
        """Answer one request of the stream; what is not known is an error in its response. BadInput"""
        call.spend()
        if compressed:
            message = inflate(message, call.coding or b"", MAX_MESSAGE_BYTES)
        try:
            request = self._request.FromString(message)
        except DecodeError:
            raise BadInput("the message is not a ServerReflectionRequest") from None
        response = self._response(valid_host=request.host, original_request=request)
        self._answer(request, response)
        call.send(response.SerializeToString())

    def _answer(self, request: Any, response: Any) -> None:
        kind = request.WhichOneof("message_request")
        if kind == "list_services":
            for name in self._services:
                response.list_services_response.service.add(name=name)
        elif kind in ("file_by_filename", "file_containing_symbol"):
            file = self._file(getattr(request, kind), kind == "file_containing_symbol")
            if file is not None:
                response.file_descriptor_response.file_descriptor_proto.append(file)
            else:
                response.error_response.error_code = NOT_FOUND
                response.error_response.error_message = f"{getattr(request, kind)[:100]!r} is not described here"
        else:
            response.error_response.error_code = UNIMPLEMENTED
            response.error_response.error_message = "there are no extensions: the files are proto3"

    def _file(self, name: str, symbol: bool) -> bytes | None:
        if not symbol:
            return self._files.get(name)
        try:
            file: str = self._schema.pool.FindFileContainingSymbol(name).name
        except KeyError:
            return None
        described: bytes = self._files[file]
        return described

    def end(self, call: Call) -> None:
        """The client has asked all that it wants: end the call well."""
        call.finish()

    def leave(self, call: Call) -> None:
        """End the stream, which may be open for as long as its client wants."""
        call.fail(NotReady("this process ends; what it has accepted is answered"))
