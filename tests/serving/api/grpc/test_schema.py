"""Our .proto files against those that clients were generated from."""

import pytest
from google.protobuf.descriptor_pb2 import FileDescriptorProto
from grpc_health.v1 import health_pb2
from grpc_reflection.v1alpha import reflection_pb2
from tritonclient.grpc import model_config_pb2, service_pb2

from serving.api.grpc.schema import Schema, parse

OURS = Schema()
THEIRS = {
    "inference": [service_pb2.DESCRIPTOR, model_config_pb2.DESCRIPTOR],
    "grpc.health.v1": [health_pb2.DESCRIPTOR],
    "grpc.reflection.v1alpha": [reflection_pb2.DESCRIPTOR],
}


def every_message(messages):
    for message in messages:
        yield message
        yield from every_message(message.nested_types)


def described(field):
    target = field.message_type or field.enum_type
    return field.number, field.type, field.is_repeated, target and target.full_name


@pytest.mark.parametrize("package", THEIRS)
def test_names_numbers_and_types_of_all_fields_are_theirs(package):
    theirs = {m.full_name: m for file in THEIRS[package] for m in every_message(file.message_types_by_name.values())}
    (file,) = (OURS.pool.FindFileByName(file.name) for file in OURS.files if file.package == package)
    n_fields = 0
    for message in every_message(file.message_types_by_name.values()):
        known = theirs[message.full_name].fields_by_name
        for field in message.fields:
            n_fields += 1
            assert described(field) == described(known[field.name]), field.full_name
    assert n_fields > 1


@pytest.mark.parametrize("package", THEIRS)
def test_methods_stream_as_theirs_do(package):
    theirs = {name: service for file in THEIRS[package] for name, service in file.services_by_name.items()}
    (file,) = (file for file in OURS.files if file.package == package)
    for service in file.service:
        known = FileDescriptorProto()
        theirs[service.name].file.CopyToProto(known)
        (known_service,) = (s for s in known.service if s.name == service.name)
        methods = {method.name: method for method in known_service.method}
        for method in service.method:
            their = methods[method.name]
            assert (method.client_streaming, method.server_streaming) == (
                their.client_streaming,
                their.server_streaming,
            )
            assert (method.input_type, method.output_type) == (their.input_type, their.output_type)


@pytest.mark.parametrize(
    "text",
    ["message M { string a = 1 }", "option x = 1;", "message M { Nothing a = 1; }", "service S { stream A; }"],
)
def test_what_is_not_read_is_an_error(text):
    with pytest.raises(ValueError):
        parse("wrong.proto", f'syntax = "proto3"; package p; {text}')
