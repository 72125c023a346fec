"""A file of one's own becomes a model without a recipe: read or mended, tried, certified as it is, saved."""

from __future__ import annotations

import hashlib
import re
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import onnx

from bentos import contract, trained
from bentos.certificate import Certificate
from bentos.contract import DATATYPES, FORMS, Arrays, Signature, Tensor
from bentos.imported import model_of
from convert import foreign, graph, store
from convert.artifacts import ConvertError
from convert.import_forms import Bench, Subject, evidence
from convert.mend import Mended
from convert.probing import Findings, probe
from convert.sample import columns, first_rows

NAME = re.compile(r"[a-z][a-z0-9_]{0,62}")
CONVERTED = 1e-4  # of the largest value: how far a graph may be from the library whose file it was made of


@dataclass(frozen=True)
class Wish:
    """What its importer says of a file, beside the file."""

    name: str
    title: str = ""
    labels: tuple[str, ...] = ()
    finite: bool = False
    sample: Arrays | None = None
    force: bool = False
    network: foreign.Network = field(default_factory=foreign.Network)


@dataclass(frozen=True)
class Imported:
    """What became of a file: its tag, and in words what was saved, what was changed in it, and how it is served."""

    tag: str
    words: str
    notes: list[str] = field(default_factory=list)


def import_file(file: Path, wish: Wish) -> Imported:
    """Read or mend, check, try, certify and save a file. ConvertError lists all that is in the way."""
    reasons = name_faults(wish.name)
    try:
        mended = foreign.read(file, wish.network, wish.sample)
        reasons += graph.faults(mended.graph)
    except ConvertError as error:
        reasons.append(str(error))
    if reasons:
        raise ConvertError("; ".join(reasons))
    return box(mended, file, wish)


def box(mended: Mended, origin: Path, wish: Wish) -> Imported:
    """Try, certify and save a mended graph that came from a file. ConvertError"""
    labels = wish.labels or mended.labels
    version = trained.numbered(fingerprint(mended, labels, wish))
    tag = f"{wish.name}-onnx:{version}"
    if not wish.force and store.find(tag, "onnx"):
        again = make_latest(wish.name, version)
        return Imported(tag, "already in the store" + (", now the latest again" if again else ""))
    with tempfile.TemporaryDirectory(prefix="ekiben-import-") as folder:
        boxed = Path(folder) / "onnx" / "model.onnx"
        boxed.parent.mkdir()
        write(mended, origin, boxed)
        original = origin if mended.changed and not mended.foreign else None
        findings = probe(boxed, original, first_rows(wish.sample))
        hold_against(mended, findings)
        if declare(mended, findings):
            write(mended, origin, boxed)
        signature = signature_of(findings, mended.graph, wish.finite)
        check_labels(findings, labels)
        description = described(wish, origin, mended, findings)
        model = model_of(wish.name, description, signature, tuple(labels))
        rows = evidence(wish.sample, [inputs for inputs, _ in findings.calls], model)
        subject = Subject(model, version, origin, rows, findings.repeatable, findings.gap)
        bench = Bench(subject, Path(folder), boxed, mended.framework)
        certificates = bench.certify_all()
        for form, certificate in certificates.items():
            store.save(bench.files[form], certificate, description)
    notes = [*mended.notes, *findings.notes, batching(findings), *of_forms(certificates, bench.refused)]
    return Imported(tag, f"saved: {graph.words(signature)}", notes)


def of_forms(certificates: dict[str, Certificate], refused: dict[str, str]) -> list[str]:
    """What became of the forms beside ONNX, in words."""
    words = []
    for form, certificate in certificates.items():
        figures = [f"{key} {value:.4g}" for key, value in certificate.metrics.items()]
        if form != "onnx" or figures:
            far = f"at most {certificate.difference.max:.2g} from {certificate.difference.against}"
            words.append(f"{form}: {', '.join([far, *figures])}")
    return [*words, *(f"{form} is not made: {reason}" for form, reason in refused.items())]


def make_latest(name: str, version: str) -> bool:
    """Whether a form of this version had to be made the latest again."""
    tags = [tag for form in FORMS if store.find(tag := f"{name}-{form}:{version}", form)]
    return bool([tag for tag in tags if store.make_latest(tag)])


def hold_against(mended: Mended, findings: Findings) -> None:
    """ConvertError where the graph answers otherwise than the library whose file it was made of."""
    for inputs, outputs in findings.calls if mended.reference is not None else ():
        expected = mended.reference(inputs) if mended.reference is not None else {}
        for name, values in expected.items():
            actual = outputs[name].astype(np.float64).reshape(np.shape(values))
            gap = float(np.abs(np.nan_to_num(actual) - np.nan_to_num(values)).max(initial=0.0))
            level = max(1.0, float(np.abs(np.nan_to_num(values)).max(initial=0.0)))
            if gap > CONVERTED * level:
                raise ConvertError(f"as ONNX, its {name} differs by {gap:.3g} from what the file's own library answers")


def name_faults(name: str) -> list[str]:
    """Why a name cannot be in a path, or is a folder's."""
    if not NAME.fullmatch(name):
        return [f"the name {name!r} is not lower-case letters, digits and _, beginning with a letter"]
    return [f"the name {name!r} is taken by {contract.shown(name)}"] if name in contract.names() else []


def fingerprint(mended: Mended, labels: Sequence[str], wish: Wish) -> bytes:
    """sha256 of all that decides what is boxed."""
    digest = hashlib.sha256(mended.graph.SerializeToString(deterministic=True))
    digest.update(repr((wish.title, list(labels), wish.finite)).encode())
    for name, array in sorted((wish.sample or {}).items()):
        texts = array.dtype == object  # whose bytes are addresses
        values = repr(array.tolist()).encode() if texts else np.ascontiguousarray(array).tobytes()
        digest.update(f"{name}{array.dtype.str}{array.shape}".encode() + values)
    return digest.digest()


def write(mended: Mended, origin: Path, target: Path) -> None:
    """The file as it was given, where nothing was changed in it; else the mended graph."""
    if mended.changed:
        graph.write(mended.graph, target)
    else:
        target.write_bytes(origin.read_bytes())


def declare(mended: Mended, findings: Findings) -> bool:
    """Whether outputs were declared otherwise than they are; the graph then says what was seen."""
    wrong = False
    for value in mended.graph.graph.output:
        dims, tensor = findings.outputs[value.name], value.type.tensor_type
        sizes = [d.dim_value if d.HasField("dim_value") and d.dim_value > 0 else 0 for d in tensor.shape.dim]
        fits = len(sizes) == len(dims) and all(s in (0, d) for s, d in zip(sizes, dims, strict=True))
        shaped = tensor.HasField("shape")
        if fits and shaped:
            continue
        before = graph.shape_words(value) if shaped else "without a shape"
        mended.notes.append(f"output {value.name} was declared {before} and is {list(dims)}")
        named = [None if d == -1 else d for d in dims]
        value.CopyFrom(onnx.helper.make_tensor_value_info(value.name, tensor.elem_type, named))
        wrong = True
    return wrong


def signature_of(findings: Findings, model: onnx.ModelProto, finite: bool) -> Signature:
    """The signature that the trial found. ConvertError where an output is not of the type that the file declares."""
    datatypes = {v.name: graph.datatype(v) for v in (*model.graph.input, *model.graph.output)}
    for name, dtype in findings.dtypes.items():
        if dtype != DATATYPES[datatypes[name]]:
            raise ConvertError(f"output {name!r} is {dtype}, declared is {datatypes[name]}")
    sides = [
        tuple(Tensor(name, datatypes[name], dims) for name, dims in side.items())
        for side in (findings.inputs, findings.outputs)
    ]
    return Signature(sides[0], sides[1], batched=findings.batched, finite=finite)


def check_labels(findings: Findings, labels: Sequence[str]) -> None:
    """ConvertError unless the labels are as many as some output has columns, and differ."""
    if not labels:
        return
    if len(set(labels)) != len(labels) or not all(labels):
        raise ConvertError(f"the labels {', '.join(labels)} are not all different and not empty")
    widths = {a.shape[1] for _, outputs in findings.calls for a in outputs.values() if a.ndim == 2}
    if len(labels) not in widths:
        raise ConvertError(f"{len(labels)} labels for outputs of {sorted(widths)} columns")


def batching(findings: Findings) -> str:
    """Whether requests are joined, and why not, in words."""
    if findings.batched:
        return "requests are joined: rows together are answered as they are alone"
    return f"one request is one call: {findings.reason}"


def described(wish: Wish, origin: Path, mended: Mended, findings: Findings) -> dict[str, Any]:
    """What the model says of itself, having no folder."""
    description: dict[str, Any] = {"title": wish.title or wish.name, "doc": f"Imported from {origin.name}."}
    if mended.notes:
        description["changes"] = list(mended.notes)
    if names := columns(wish.sample):
        description["columns"] = names
    if not findings.batched:
        description["unbatched"] = findings.reason
    return description
