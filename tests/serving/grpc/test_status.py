"""What each error is over gRPC: the statuses of docs/clients.md."""

from __future__ import annotations

import pytest

from serving import errors
from serving.errors import ServingError
from serving.grpc.call import CODINGS
from serving.grpc.status import Code, MessageTooLarge, Unimplemented, code_of, trailers
from tests.conftest import ROOT

CODES = {
    errors.BadInput("x"): "INVALID_ARGUMENT",
    errors.UnsupportedMedia("x"): "INVALID_ARGUMENT",
    errors.NotFound("x"): "NOT_FOUND",
    errors.Overloaded("x"): "RESOURCE_EXHAUSTED",
    errors.TooLarge("x"): "RESOURCE_EXHAUSTED",
    errors.HeadTooLarge("x"): "RESOURCE_EXHAUSTED",
    MessageTooLarge("x"): "RESOURCE_EXHAUSTED",
    errors.DeadlineExceeded("x"): "DEADLINE_EXCEEDED",
    errors.TooSlow("x"): "DEADLINE_EXCEEDED",
    errors.NotReady("x"): "UNAVAILABLE",
    errors.TooManyConnections("x"): "UNAVAILABLE",
    errors.Unauthorized("x"): "UNAUTHENTICATED",
    errors.Forbidden("x"): "PERMISSION_DENIED",
    errors.MisdirectedRequest("x"): "PERMISSION_DENIED",
    errors.NotImplementedMethod("x"): "UNIMPLEMENTED",
    Unimplemented("x"): "UNIMPLEMENTED",
    errors.ClientGone("x"): "CANCELLED",
    errors.EngineError("x"): "INTERNAL",
    ServingError("x"): "INTERNAL",
}
OF_HTTP_ALONE = {errors.MethodNotAllowed, errors.UnsupportedVersion}


@pytest.mark.parametrize(("error", "name"), CODES.items(), ids=lambda value: type(value).__name__)
def test_a_status_says_what_the_error_is(error: ServingError, name: str) -> None:
    assert code_of(error).name == name
    retry = [(b"grpc-retry-pushback-ms", b"1000")] if error.headers and b"retry-after" in dict(error.headers) else []
    assert trailers(error) == [(b"grpc-status", b"%d" % Code[name]), (b"grpc-message", b"x"), *retry]


def test_no_error_is_left_out() -> None:
    own = {kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, ServingError)}
    assert own - OF_HTTP_ALONE <= {type(error) for error in CODES}


def test_the_page_names_every_status_and_both_compressions() -> None:
    page = (ROOT / "docs" / "clients.md").read_text()
    for code in set(CODES.values()) - {"CANCELLED"}:  # nobody is there who could be told
        assert f"`{code}`" in page
    assert all(coding.decode() in page for coding in CODINGS)
