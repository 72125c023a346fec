"""OpenAPI operations: what every documented route has in common."""

from __future__ import annotations

from typing import Any

from bentos.contract import Model

ERROR = {"$ref": "#/components/schemas/Error"}

POST_ERRORS = {
    400: "Bad input; the message names what is wrong and what is allowed",
    404: "Unknown form",
    413: "Body too large",
    415: "Unsupported content type",
    429: "The queue is full; Retry-After says when to come back",
    503: "Not answered in time, or the form is refused",
}


def operation(
    tag: str, summary: str, answer: dict[str, Any] | None, errors: dict[int, str], **further: Any
) -> dict[str, Any]:
    """An operation with its answer and its errors, each by status."""
    content = {"content": {"application/json": answer}} if answer else {}
    return {
        "tags": [tag],
        "summary": summary,
        "responses": {
            "200": {"description": "The answer", **content},
            **{
                str(c): {"description": d, "content": {"application/json": {"schema": ERROR}}}
                for c, d in errors.items()
            },
        },
        **further,
    }


def get_operation(
    tag: str, summary: str, answer: dict[str, Any] | None, errors: dict[int, str], **further: Any
) -> dict[str, Any]:
    """A path that takes GET."""
    return {"get": operation(tag, summary, answer, errors, **further)}


def answer_schema(model: Model) -> dict[str, Any]:
    """One answer of a native route."""
    who = {key: {"type": "string"} for key in ("model", "form", "version")}
    number = {"type": "number"}
    if model.postprocess is not None:
        return {"type": "object", "properties": who}
    if not model.labels:
        value = {"type": "number", "description": model.unit}
        return {"type": "object", "properties": {model.signature.outputs[0].name: value, **who}}
    probabilities = {"type": "object", "properties": dict.fromkeys(model.labels, number)}
    label = {"type": "string", "enum": list(model.labels)}
    return {"type": "object", "properties": {"label": label, "probabilities": probabilities, **who}}
