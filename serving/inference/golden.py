"""What every start tries where it will answer: the golden rows of a form, and a payload all the way to its answer."""

from __future__ import annotations

from pathlib import Path

from bentos import folders, golden
from bentos.certificate import Certificate
from bentos.contract import Arrays, Model, Signature
from bentos.rehearsal import rehearse
from serving.errors import EngineError
from serving.inference.sessions import Session, check_outputs


def check_golden(session: Session, signature: Signature, certificate: Certificate, folder: Path) -> None:
    """EngineError with the figure where the engine's outputs differ here, by more than the form's tolerance, from those
    that are certified.
    """
    if not certificate.golden.rows:
        return
    inputs, expected = golden.read(folder / certificate.golden.name)
    outputs = session.run([inputs[tensor.name] for tensor in signature.inputs])
    check_outputs(outputs, signature, certificate.golden.rows)
    named = {tensor.name: array for tensor, array in zip(signature.outputs, outputs, strict=True)}
    if words := golden.mismatch(named, expected, certificate.golden):
        raise EngineError(f"its golden rows are answered otherwise on this machine: {words}")


def check_payloads(session: Session, model: Model) -> None:
    """ModelError where an example is none, or where the first is not answered by rows, engine and postprocess."""
    if model.payload is None:
        return

    def run(inputs: Arrays) -> Arrays:
        outputs = session.run([inputs[tensor.name] for tensor in model.signature.inputs])
        return {tensor.name: array for tensor, array in zip(model.signature.outputs, outputs, strict=True)}

    rehearse(model, run, folders.payloads(model)[:1])
