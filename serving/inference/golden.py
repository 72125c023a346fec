"""What every start tries where it will answer: the golden rows of a form, and a payload all the way to its answer."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from bentos import folders, golden
from bentos.certificate import Certificate
from bentos.contract import Arrays, Model, Signature, Tensor, bfloat16_to_float32
from bentos.rehearsal import rehearse
from serving.errors import EngineError
from serving.inference.sessions import Session, check_outputs


def check_golden(session: Session, signature: Signature, certificate: Certificate, folder: Path) -> None:
    """EngineError with the figure where the engine's outputs differ here, by more than the form's tolerance, from those
    that are certified.
    """
    if not certificate.golden.rows:
        return
    calls = golden.read_calls(folder / certificate.golden.name)
    for inputs, expected in calls:
        arrays = [inputs[tensor.name] for tensor in signature.inputs]
        outputs = session.run(arrays)
        check_outputs(outputs, signature, signature.n_rows(arrays))
        if words := golden.mismatch(
            _named(outputs, signature.outputs),
            _named([expected[tensor.name] for tensor in signature.outputs], signature.outputs),
            certificate.golden,
        ):
            raise EngineError(f"its golden rows are answered otherwise on this machine: {words}")


def _named(arrays: Sequence[np.ndarray], tensors: Sequence[Tensor]) -> Arrays:
    """Arrays by name, as they are compared."""
    return {
        tensor.name: bfloat16_to_float32(array) if tensor.datatype == "BF16" else array
        for tensor, array in zip(tensors, arrays, strict=True)
    }


def golden_inputs(signature: Signature, certificate: Certificate, folder: Path) -> list[list[np.ndarray]]:
    """What the model is certified to compute with, as sessions take it."""
    if not certificate.golden.rows:
        return []
    calls = golden.read_calls(folder / certificate.golden.name)
    return [[inputs[tensor.name] for tensor in signature.inputs] for inputs, _ in calls]


def check_payloads(session: Session, model: Model) -> None:
    """ModelError where an example is none, or where the first is not answered by rows, engine and postprocess."""
    if model.payload is None:
        return

    def run(inputs: Arrays) -> Arrays:
        outputs = session.run([inputs[tensor.name] for tensor in model.signature.inputs])
        return {tensor.name: array for tensor, array in zip(model.signature.outputs, outputs, strict=True)}

    rehearse(model, run, folders.payloads(model)[:1])
