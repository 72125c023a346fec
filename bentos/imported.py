"""A model that came as a file, without a folder: what its store entry says of it, as everything else knows models."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from bentos.contract import Model, Signature


def model_of(name: str, said: Mapping[str, Any], signature: Signature, labels: tuple[str, ...]) -> Model:
    """The model; `said` is what `convert import` wrote into the store: title, doc, columns."""
    return Model(
        name=name,
        title=str(said.get("title") or name),
        doc=str(said.get("doc") or "An ONNX model without a recipe."),
        verb="predict",
        payload=None,
        signature=signature,
        labels=labels,
        finite=signature.finite,
        columns=tuple(map(str, said.get("columns", ()))),
    )
