"""JSON schemas of what models take and give, for Swagger and for BentoML's clients."""

from __future__ import annotations

from typing import Any

from bentos.contract import Field, Fields, Model


def fields_schema(payload: Fields) -> dict[str, Any]:
    """One tabular payload."""
    return {
        "type": "object",
        "additionalProperties": False,
        "required": [f.name for f in payload.fields if not f.nullable],
        "properties": {f.name: field_schema(f) for f in payload.fields},
    }


def field_schema(field: Field) -> dict[str, Any]:
    """One field, with its bounds."""
    schema: dict[str, Any] = {"description": f"{field.doc}: {field.allowed()}"}
    if field.type is bool:
        schema["type"] = "boolean"
    else:
        schema |= {"type": "integer" if field.type is int else "number", "minimum": field.low, "maximum": field.high}
    if field.nullable:
        schema["nullable"] = True
    if field.default is not None:
        schema["example"] = field.default
    return schema


def answer_schema(model: Model) -> dict[str, Any]:
    """One answer of a native route."""
    who = {key: {"type": "string"} for key in ("model", "form", "version")}
    number = {"type": "number"}
    if not model.labels:
        value = {"type": "number", "description": model.unit}
        return {"type": "object", "properties": {model.signature.outputs[0].name: value, **who}}
    probabilities = {"type": "object", "properties": dict.fromkeys(model.labels, number)}
    label = {"type": "string", "enum": list(model.labels)}
    return {"type": "object", "properties": {"label": label, "probabilities": probabilities, **who}}
