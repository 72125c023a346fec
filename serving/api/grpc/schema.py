"""The messages of the .proto files beside this, as classes of protobuf: read when a server starts, without a compiler.

They are in a descriptor pool of their own, so that a client's generated messages of the same names may be in the same
process. What is read is proto3 as those files have it: messages, enums, services, maps, oneofs; no imports, no options.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from google.protobuf import descriptor_pool, message_factory
from google.protobuf.descriptor_pb2 import (
    DescriptorProto,
    EnumDescriptorProto,
    FieldDescriptorProto,
    FileDescriptorProto,
    ServiceDescriptorProto,
)

PROTO = Path(__file__).parent / "proto"
FILES = ("inference.proto", "health.proto", "reflection.proto")
COMMENT = re.compile(r"//[^\n]*")
TOKEN = re.compile(r'"[^"]*"|[\w.]+|[^\s\w]')
SCALARS = dict(FieldDescriptorProto.Type.items())


class Schema:
    """The pool, its files, and the messages by their full name: `schema["inference.ModelInferRequest"]`."""

    def __init__(self) -> None:
        self.pool = descriptor_pool.DescriptorPool()
        self.files = [parse(name, (PROTO / name).read_text()) for name in FILES]
        for file in self.files:
            self.pool.Add(file)

    def __getitem__(self, name: str) -> Any:
        return message_factory.GetMessageClass(self.pool.FindMessageTypeByName(name))


def parse(name: str, text: str) -> FileDescriptorProto:
    """The descriptor of a .proto file."""
    return _Parser(TOKEN.findall(COMMENT.sub("", text))).file(name)


class _Parser:
    """Recursive descent over the tokens of one file."""

    def __init__(self, tokens: list[str]) -> None:
        self._tokens: Iterator[str] = iter(tokens)

    def file(self, name: str) -> FileDescriptorProto:
        file = FileDescriptorProto(name=name)
        for word in self._tokens:
            if (key := word) in ("syntax", "package"):
                value = next(word.strip('"') for word in self._tokens if word != "=")
                self._skip(";")
                setattr(file, key, value)
            elif word == "message":
                self._message(file.message_type.add())
            elif word == "enum":
                self._enum(file.enum_type.add())
            elif word == "service":
                self._service(file.service.add(), file.package)
            else:
                raise ValueError(f"{name}: {word!r} is not expected")
        for message in file.message_type:
            _resolve(message, f".{file.package}", _types(file))
        return file

    def _skip(self, *expected: str) -> None:
        for word in expected:
            if (token := next(self._tokens)) != word:
                raise ValueError(f"{token!r} where {word!r} is expected")

    def _message(self, message: DescriptorProto) -> None:
        message.name = next(self._tokens)
        self._skip("{")
        for word in iter(lambda: next(self._tokens), "}"):
            if word == "message":
                self._message(message.nested_type.add())
            elif word == "enum":
                self._enum(message.enum_type.add())
            elif word == "oneof":
                message.oneof_decl.add(name=next(self._tokens))
                self._skip("{")
                for kind in iter(lambda: next(self._tokens), "}"):
                    self._field(message, kind).oneof_index = len(message.oneof_decl) - 1
            elif word == "map":
                self._map(message)
            elif word == "repeated":
                self._field(message, next(self._tokens)).label = FieldDescriptorProto.LABEL_REPEATED
            else:
                self._field(message, word)

    def _field(self, message: DescriptorProto, kind: str) -> FieldDescriptorProto:
        field = message.field.add(name=next(self._tokens), label=FieldDescriptorProto.LABEL_OPTIONAL)
        self._skip("=")
        field.number = int(next(self._tokens))
        self._skip(";")
        _set_type(field, kind)
        return field

    def _map(self, message: DescriptorProto) -> None:
        self._skip("<")
        key = next(self._tokens)
        self._skip(",")
        value = next(self._tokens)
        self._skip(">")
        field = self._field(message, "")
        field.label = FieldDescriptorProto.LABEL_REPEATED
        entry = message.nested_type.add(name=f"{field.name.title().replace('_', '')}Entry")
        entry.options.map_entry = True
        _set_type(field, entry.name)
        for number, (name, kind) in enumerate((("key", key), ("value", value)), 1):
            member = entry.field.add(name=name, number=number, label=FieldDescriptorProto.LABEL_OPTIONAL)
            _set_type(member, kind)

    def _enum(self, enum: EnumDescriptorProto) -> None:
        enum.name = next(self._tokens)
        self._skip("{")
        for word in iter(lambda: next(self._tokens), "}"):
            self._skip("=")
            enum.value.add(name=word, number=int(next(self._tokens)))
            self._skip(";")

    def _service(self, service: ServiceDescriptorProto, package: str) -> None:
        service.name = next(self._tokens)
        self._skip("{")
        for word in iter(lambda: next(self._tokens), "}"):
            if word != "rpc":
                raise ValueError(f"{word!r} where 'rpc' is expected")
            method = service.method.add(name=next(self._tokens))
            method.client_streaming, method.input_type = self._side(package)
            self._skip("returns")
            method.server_streaming, method.output_type = self._side(package)
            self._skip("{", "}")

    def _side(self, package: str) -> tuple[bool, str]:
        self._skip("(")
        kind = next(self._tokens)
        streams = kind == "stream"
        if streams:
            kind = next(self._tokens)
        self._skip(")")
        return streams, f".{package}.{kind}"


def _set_type(field: FieldDescriptorProto, kind: str) -> None:
    """A scalar's type; a message's or an enum's name, which `_resolve` looks up."""
    if (scalar := SCALARS.get(f"TYPE_{kind.upper()}")) is not None:
        field.type = scalar
    else:
        field.type_name = kind


def _types(file: FileDescriptorProto) -> dict[str, int]:
    """Full name → TYPE_MESSAGE or TYPE_ENUM, of all that a file defines."""
    types: dict[str, int] = {}

    def add(scope: str, holder: Any, messages: Any) -> None:
        for enum in holder.enum_type:
            types[f"{scope}.{enum.name}"] = FieldDescriptorProto.TYPE_ENUM
        for message in messages:
            types[f"{scope}.{message.name}"] = FieldDescriptorProto.TYPE_MESSAGE
            add(f"{scope}.{message.name}", message, message.nested_type)

    add(f".{file.package}", file, file.message_type)
    return types


def _resolve(message: DescriptorProto, scope: str, types: dict[str, int]) -> None:
    """Give every field of a message or an enum the full name of its type, looked for from the inside out."""
    inner = f"{scope}.{message.name}"
    for nested in message.nested_type:
        _resolve(nested, inner, types)
    for field in message.field:
        if not field.type_name:
            continue
        place = inner
        while f"{place}.{field.type_name}" not in types:
            if not place:
                raise ValueError(f"{inner}.{field.name}: no type {field.type_name}")
            place = place.rpartition(".")[0]
        field.type_name = f"{place}.{field.type_name}"
        field.type = types[field.type_name]
