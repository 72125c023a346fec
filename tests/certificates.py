"""Certificates as convert issues them, for tests that need one and no model."""

from dataclasses import replace
from typing import Any, cast

import bentoml

from bentos.certificate import (
    SCHEMA,
    Certificate,
    Dataset,
    Difference,
    FormFile,
    Golden,
    Training,
)
from bentos.contract import Signature, Tensor
from bentos.meaning import Meaning

CERTIFICATE = Certificate(
    schema=SCHEMA,
    model="m",
    form="onnx",
    version="1",
    framework="sklearn",
    issued="2026-01-01T00:00:00+00:00",
    signature=Signature((Tensor("x", "FP32", (-1, 2)),), (Tensor("y", "FP32", (-1, 1)),)),
    meaning=Meaning(payload="None"),
    dataset=Dataset("listings of 2026", "d" * 64, rows=40, held_out_rows=10),
    training=Training(),
    difference=Difference(against="sklearn", rows=10),
    metrics={},
    intervals={},
    reference={},
    golden=Golden("golden.npz", "", rows=0, tolerance=1e-6),
    file=FormFile("model.onnx", "f" * 64, 753),
    libraries={"onnxruntime": "1.31.1"},
)


def certificate(**changes: Any) -> Certificate:
    """A whole certificate of nothing, with these fields instead; unsealed."""
    return replace(CERTIFICATE, **changes)


def stored_certificate(model: bentoml.Model) -> dict[str, Any]:
    """The certificate in a stored form's metadata, as it came back through YAML."""
    return cast(dict[str, Any], model.info.metadata["certificate"])
