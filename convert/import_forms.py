"""The forms of an imported file: its own, ONNX, optimized and 8-bit; each held against the file as it was given, on the
rows that its importer gives, or else on values that were drawn for it.
"""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx

from bentos import golden, scores, trained
from bentos.certificate import Certificate, Dataset, Difference, Golden, Histogram, Interval, Onnx, Training
from bentos.comparison import largest_gap
from bentos.contract import Arrays, Model, class_probabilities
from bentos.meaning import Meaning
from bentos.reference import reference
from convert import graph
from convert.artifacts import ConvertError
from convert.certify import check, compare_labels, identify
from convert.engine import BATCH, onnx_run
from convert.optimize import optimize
from convert.sample import TARGET, fitted

MOST_ROWS = 10_000  # of a sample
FEWEST_ROWS = 100  # whose deciles say something
SINGLES = 8  # rows that are also run one by one
GOLDEN_ROWS = 32
CALIBRATION_CALLS = 4
# What a form may cost where no recipe says so: a share of the largest value, of the headline metric, of the labels.
SAME_SHARE, INT8_SHARE, INT8_LOSS, INT8_LABELS = 1e-4, 0.05, 0.01, 0.02
GOLDEN_SHARE = 1e-3  # of the largest value: how far another machine's answers may be from those found here
ARITHMETIC = {"Conv", "ConvTranspose", "Gemm", "MatMul"}  # what optimisation and 8 bits are about
AGREEMENT = "agreement"  # the metric where there are labels and no targets: how many stay as the file gives them


@dataclass(frozen=True)
class Evidence:
    """What forms are run on: the inputs of each call, whether the importer gave them, and targets if so."""

    calls: list[Arrays]
    n_rows: int
    given: bool
    targets: np.ndarray | None = None


@dataclass(frozen=True)
class Subject:
    """An imported model, and what is known of it."""

    model: Model
    version: str
    origin: Path
    evidence: Evidence
    repeatable: bool
    gap: float  # the largest difference between rows together and alone


def evidence(sample: Arrays | None, drawn: Sequence[Arrays], model: Model) -> Evidence:
    """The sample's rows in calls of 64, or the drawn calls where there is none. ConvertError"""
    if sample is None:
        return Evidence(list(drawn), sum(n_rows_of(model, call) for call in drawn), given=False)
    rows = fitted(sample, {t.name: (t.dtype, len(t.shape)) for t in model.signature.inputs})
    if not model.signature.batched:
        return Evidence([rows], 1, given=True)
    n_rows = n_rows_of(model, rows)
    targets = targets_of(sample[TARGET], n_rows, model.labels) if TARGET in sample else None
    n_rows = min(n_rows, MOST_ROWS)
    calls = [part(model, rows, start, min(start + BATCH, n_rows)) for start in range(0, n_rows, BATCH)]
    return Evidence(calls, n_rows, given=True, targets=None if targets is None else targets[:n_rows])


def n_rows_of(model: Model, inputs: Arrays) -> int:
    """The rows of a call."""
    return model.signature.n_rows([inputs[t.name] for t in model.signature.inputs])


def part(model: Model, inputs: Arrays, start: int, stop: int) -> Arrays:
    """These rows of the inputs along the batch of each; what has none as it is."""
    axes = zip(model.signature.inputs, model.signature.input_axes, strict=True)
    return {
        t.name: inputs[t.name] if axis is None else np.take(inputs[t.name], range(start, stop), axis)
        for t, axis in axes
    }


def targets_of(values: np.ndarray, n_rows: int, labels: tuple[str, ...]) -> np.ndarray:
    """What should come out: numbers, or of a classifier places in its labels. (n,); ConvertError"""
    where = f"the sample's {TARGET}"
    if values.shape != (n_rows,):
        raise ConvertError(f"{where} is {list(values.shape)}, of {n_rows} rows")
    if not labels:
        if values.dtype.kind not in "fiub" or not np.isfinite(values.astype(np.float64)).all():
            raise ConvertError(f"{where} must be finite numbers; for classes --labels names them")
        return values.astype(np.float64)
    names = [_name(value) for value in values.tolist()]
    if set(names) <= set(labels):
        return np.array([labels.index(name) for name in names])
    if all(name.isdecimal() and int(name) < len(labels) for name in names):
        return np.array([int(name) for name in names])
    raise ConvertError(f"{where} has {min(set(names) - set(labels))!r}; the labels are {', '.join(labels)}")


def _name(value: Any) -> str:
    return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)


class Bench:
    """A folder in which the forms of one file are made and certified."""

    def __init__(self, subject: Subject, folder: Path, boxed: Path, framework: str) -> None:
        """`boxed` is the ONNX form; `framework` runs the file as it was given, if one does."""
        self.subject, self.folder, self.framework = subject, folder, framework
        self.files = {"onnx": boxed}
        self.against = "onnx"
        self.refused: dict[str, str] = {}
        self._outputs: dict[str, list[Arrays]] = {}

    def certify_all(self) -> dict[str, Certificate]:
        """The certificates of all forms that hold, the native one first; `refused` says why others do not.

        ConvertError where the ONNX form is none of them.
        """
        certificates = {}
        for form in self.forms():
            try:
                certificates[form] = self.certify(form)
            except Exception as error:  # an exporter's own, or a library's, which raise anything
                self.refused[form] = " ".join(str(error).split())[:400]
                self.against = "onnx" if form == self.framework else self.against
        if "onnx" in self.refused:
            raise ConvertError(self.refused["onnx"])
        return certificates

    def forms(self) -> list[str]:
        """Those that are worth making: optimized and 8-bit ones where there is arithmetic, and rows to try them on."""
        names = [self.framework, "onnx"] if self.framework else ["onnx"]
        if self.framework:
            self.against = self.framework
        if ARITHMETIC & {node.op_type for node in graph.nodes(onnx.load(self.files["onnx"]))}:
            names += ["optimized"] if self.subject.evidence.given or self.framework == "pytorch" else []
            names += ["int8"] if self.subject.evidence.given else []
        return names

    def file(self, form: str) -> Path:
        """The file of a form, made once. ConvertError"""
        if form not in self.files:
            (self.folder / form).mkdir(exist_ok=True)
            self.files[form] = self.make(form)
        return self.files[form]

    def make(self, form: str) -> Path:
        """Write the file of a form."""
        if form == self.framework:
            return Path(shutil.copy(self.subject.origin, self.folder / form / f"model{self.subject.origin.suffix}"))
        target = self.folder / form / "model.onnx"
        if form == "optimized":
            optimize(self.files["onnx"], target)
        else:
            from convert.quantize import quantize

            quantize(self.files["onnx"], target, iter(self.subject.evidence.calls[:CALIBRATION_CALLS]))
            if not any(node.op_type == "QuantizeLinear" for node in onnx.load(target).graph.node):
                raise ConvertError("nothing in it can be kept in 8 bits")
        return target

    def outputs(self, form: str) -> list[Arrays]:
        """What a form gives for each call."""
        if form not in self._outputs:
            run = self._run(form)
            self._outputs[form] = [run(inputs) for inputs in self.subject.evidence.calls]
        return self._outputs[form]

    def _run(self, form: str) -> Any:
        model, file = self.subject.model, self.file(form)
        if form == self.framework:
            return trained.predictor(model, form, trained.load(model, form, file))
        return onnx_run(file)

    def certify(self, form: str) -> Certificate:
        """The sealed certificate of a form, whose golden calls are written beside its file. ConvertError"""
        subject, file = self.subject, self.file(form)
        given, model = subject.evidence.given, subject.model
        outputs, expected = self.outputs(form), self.outputs(self.against)
        level = max((_largest(a) for call in expected for a in call.values()), default=1.0)
        metrics, interval = self.metrics(outputs, expected, form)
        difference = self.differ(form, outputs, expected, level, metrics)
        loaded = None if form == self.framework else onnx.load(file)
        if loaded is not None:
            graph.check(loaded)
        source = f"imported from {subject.origin.name}"
        rows = subject.evidence.n_rows if given else 0
        certificate = Certificate(
            **identify(model.name, form, subject.version, self.against, file),
            signature=model.signature,
            meaning=Meaning(payload="None", labels=model.labels),
            dataset=Dataset(f"{source}, with a sample of it" if given else f"not known: {source}", "", rows, rows),
            training=Training(),
            difference=difference,
            comparison=None if form == self.against else self._compare(outputs, expected),
            metrics=metrics,
            intervals={} if interval is None else {"accuracy": interval},
            reference=self.reference(),
            golden=self.golden(file.parent, max(GOLDEN_SHARE * level, golden.SLACK * difference.max)),
            onnx=None if loaded is None else Onnx(graph.opset(loaded), loaded.ir_version),
        )
        check(certificate)
        return certificate.sealed()

    def differ(
        self, form: str, outputs: list[Arrays], expected: list[Arrays], level: float, metrics: dict[str, float]
    ) -> Difference:
        """How far a form is from the file as it was given, in calls and row by row, and how far it may be."""
        subject, rows = self.subject, self.subject.evidence.n_rows
        if form == self.against:
            return Difference(self.against if form == "onnx" else f"{form} as given", rows, single_rows_max=subject.gap)
        exact = form != "int8"  # but for 8 bits, texts and whole numbers are the same
        largest = max(_gap(one, other, exact) for one, other in zip(outputs, expected, strict=True))
        single = self._single_rows_gap(form, expected)
        int8 = form == "int8"
        headline = next(iter(metrics), "")
        before = next(iter(self.metrics(expected, expected, self.against)[0].values()), 1.0)
        judged = int8 and bool(headline)
        share = INT8_SHARE if int8 else SAME_SHARE
        return Difference(
            against=self.against,
            rows=rows,
            max=float(max(largest, single)),
            tolerance=None if judged else share * (level if int8 else max(1.0, level)),
            single_rows_max=single,
            labels_must_equal=self._labels(expected) is not None and not int8,
            labels_differing=self._changed(outputs, expected),
            metric=headline,
            loss=before - metrics[headline] if headline else 0.0,
            loss_tolerance=(INT8_LABELS if headline == AGREEMENT else INT8_LOSS) if judged else None,
        )

    def _single_rows_gap(self, form: str, expected: list[Arrays]) -> float:
        """The largest difference of rows that are run alone from what the file gave for them together."""
        model, run = self.subject.model, self._run(form)
        if not model.signature.batched:
            return 0.0
        first = self.subject.evidence.calls[0]
        n_rows = min(SINGLES, n_rows_of(model, first))
        gaps = []
        for place in range(n_rows):
            alone = run(part(model, first, place, place + 1))
            gaps.append(_gap(alone, self._rows(expected[0], place, place + 1), form != "int8"))
        return max(gaps, default=0.0)

    def _rows(self, outputs: Arrays, start: int, stop: int) -> Arrays:
        axes = zip(self.subject.model.signature.outputs, self.subject.model.signature.output_axes, strict=True)
        return {
            t.name: outputs[t.name] if axis is None else np.take(outputs[t.name], range(start, stop), axis)
            for t, axis in axes
        }

    def metrics(
        self, outputs: list[Arrays], expected: list[Arrays], form: str
    ) -> tuple[dict[str, float], Interval | None]:
        """The metrics of a form, and the interval of its accuracy: of targets; else of labels that stay as they are."""
        targets, labels, joined = self.subject.evidence.targets, self._labels(outputs), self._joined(outputs)
        if targets is not None and labels is not None:
            shares = {"probabilities": class_probabilities(joined, len(self.subject.model.labels))}
            return scores.classification(targets, shares), scores.accuracy_interval(targets, shares)
        values = next(iter(joined.values()), np.empty(0))
        if targets is not None and values.size == len(targets) and values.dtype.kind == "f":
            return scores.regression(targets, joined), None
        if labels is None or form == self.against:
            return {}, None
        return {AGREEMENT: 1 - self._changed(outputs, expected) / max(1, len(labels))}, None

    def _joined(self, calls: list[Arrays]) -> Arrays:
        """The outputs of all rows; nothing where rows are not joined, not along the first dimension, or not alike."""
        unlike = any(len({a.shape[1:] for a in arrays}) > 1 for arrays in zip(*map(dict.values, calls), strict=True))
        if unlike or any(axis != 0 for axis in self.subject.model.signature.output_axes):
            return {}
        return {name: np.concatenate([call[name] for call in calls]) for name in calls[0]}

    def _labels(self, calls: list[Arrays]) -> np.ndarray | None:
        """The class of each row, (n,); None where there are no labels."""
        n_labels, joined = len(self.subject.model.labels), self._joined(calls)
        if not n_labels or not any(a.dtype.kind == "f" and a.shape[1:] == (n_labels,) for a in joined.values()):
            return None
        places: np.ndarray = class_probabilities(joined, n_labels).argmax(1)
        return places

    def _changed(self, outputs: list[Arrays], expected: list[Arrays]) -> int:
        own, given = self._labels(outputs), self._labels(expected)
        return 0 if own is None or given is None else int((own != given).sum())

    def _compare(self, outputs: list[Arrays], expected: list[Arrays]) -> Any:
        own, given, targets = self._labels(outputs), self._labels(expected), self.subject.evidence.targets
        return (
            None if own is None or given is None else compare_labels(own, given, given if targets is None else targets)
        )

    def reference(self) -> dict[str, Histogram]:
        """What drift is measured against: the sample's quantities and what the file answers to them."""
        subject = self.subject
        joined, signature = self._joined(self.outputs(self.against)), subject.model.signature
        if not subject.evidence.given or subject.evidence.n_rows < FEWEST_ROWS or not joined:
            return {}
        inputs = {
            t.name: subject.evidence.calls[0][t.name]
            if axis is None
            else np.concatenate([call[t.name] for call in subject.evidence.calls], axis)
            for t, axis in zip(signature.inputs, signature.input_axes, strict=True)
        }
        return reference(subject.model, inputs, joined)

    def golden(self, folder: Path, tolerance: float) -> Golden:
        """Calls with what the file as given answers: single rows of a sample, or those that were drawn."""
        subject, expected = self.subject, self.outputs(self.against)
        calls = list(zip(subject.evidence.calls, expected, strict=True))
        if subject.evidence.given and subject.model.signature.batched:
            first, answers = calls[0]
            n_rows = min(GOLDEN_ROWS, BATCH, subject.evidence.n_rows)
            calls = [(part(subject.model, first, i, i + 1), self._rows(answers, i, i + 1)) for i in range(n_rows)]
        return golden.write_calls(folder, calls if subject.repeatable else [], tolerance)


def _gap(one: Arrays, other: Arrays, exact: bool) -> float:
    """The largest difference of floats. ConvertError where shapes differ, or if `exact` texts or whole numbers"""
    for name, expected in other.items():
        if one[name].dtype != expected.dtype:
            raise ConvertError(f"it gives {name} as {one[name].dtype}, the file as given {expected.dtype}")
        if exact and expected.dtype.kind != "f" and not np.array_equal(one[name], expected):
            raise ConvertError(f"its {name} is another than that of the file as given")
    try:
        return largest_gap(one, other, relative=False)
    except ValueError as error:
        raise ConvertError(str(error)) from error


def _largest(array: np.ndarray) -> float:
    return float(np.abs(array[np.isfinite(array)]).max(initial=0.0)) if array.dtype.kind == "f" else 0.0
