"""All forms of one training run: made, certified against the trained form, saved."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import onnx

from bentos import trained
from bentos.certificate import Certificate, Onnx
from bentos.contract import Arrays, ModelError, Recipe
from convert import graph, store
from convert.artifacts import Artifacts, ConvertError
from convert.certify import certify
from convert.engine import BATCH, form_run, in_batches
from convert.export import export
from convert.optimize import optimize


@dataclass(frozen=True)
class Outcome:
    """What became of one form: its certificate, or the reason why it has none."""

    model: str
    form: str
    tag: str
    certificate: Certificate | None = None
    refusal: str = ""
    note: str = "saved"


def forms(recipe: Recipe) -> list[str]:
    """The trained form first, then those that the recipe has a tolerance for, in its order."""
    return [recipe.framework, *(form for form in recipe.tolerances if form != recipe.framework)]


def convert(artifacts: Artifacts, names: Sequence[str], force: bool) -> Iterator[Outcome]:
    """Make these forms one after the other; a form that is refused does not stop the next."""
    with tempfile.TemporaryDirectory(prefix="ekiben-convert-") as folder:
        workshop = Workshop(artifacts, Path(folder))
        for form in names:
            tag = f"{artifacts.model.name}-{form}:{artifacts.version}"
            try:
                yield kept(artifacts, form, tag, force) or workshop.box(form, tag)
            except (ConvertError, ModelError, trained.UnreadableError) as error:
                yield Outcome(artifacts.model.name, form, tag, refusal=str(error))
            except Exception as error:  # an exporter's own, which raise anything
                words = f"it cannot be made: {type(error).__name__}: {' '.join(str(error).split())[:400]}"
                yield Outcome(artifacts.model.name, form, tag, refusal=words)


def kept(artifacts: Artifacts, form: str, tag: str, force: bool) -> Outcome | None:
    """The form that is in the store already, if its certificate holds and is by today's tolerances."""
    certificate = None if force else store.find(tag, form)
    if certificate is None or not same_terms(certificate, artifacts, form):
        return None
    note = "already in the store" + (", now the latest again" if store.make_latest(tag) else "")
    return Outcome(artifacts.model.name, form, tag, certificate, note=note)


def same_terms(certificate: Certificate, artifacts: Artifacts, form: str) -> bool:
    """Whether a certificate is by the tolerance that the recipe has now."""
    tolerance, terms = artifacts.recipe.tolerances.get(form), certificate.difference
    return tolerance is None or (
        tolerance.difference == terms.tolerance
        and tolerance.relative == terms.relative
        and tolerance.labels_equal == terms.labels_must_equal
        and tolerance.metric_loss == terms.loss_tolerance
    )


class Workshop:
    """A folder in which forms are made from one another: trained → onnx → optimized, int8."""

    def __init__(self, artifacts: Artifacts, folder: Path) -> None:
        self.artifacts = artifacts
        self.folder = folder
        self.files: dict[str, Path] = {}
        self._trained: Any = None
        self._expected: Arrays = {}

    def box(self, form: str, tag: str) -> Outcome:
        """Make a form, certify it, save it. ConvertError, ModelError"""
        artifacts, framework = self.artifacts, self.artifacts.recipe.framework
        file = self.file(form)
        checked = None if form == framework else self.checked(file)
        expected = artifacts.outputs if form == framework else self.expected()
        run = form_run(artifacts.model, framework, form, file)
        certificate = certify(artifacts, form, file, run, expected, checked)
        store.save(file, certificate)
        return Outcome(artifacts.model.name, form, tag, certificate)

    def file(self, form: str) -> Path:
        """The file of a form, made once."""
        if form not in self.files:
            (self.folder / form).mkdir(exist_ok=True)
            name = trained.FILES.get(form, "model.onnx")
            self.make(form, self.folder / form / name)
            self.files[form] = self.folder / form / name
        return self.files[form]

    def make(self, form: str, target: Path) -> None:
        """Write the file of a form. ConvertError where there is no such form"""
        artifacts = self.artifacts
        if form == artifacts.recipe.framework:
            shutil.copyfile(artifacts.file, target)
        elif form == "onnx":
            export(artifacts.model, artifacts.recipe.framework, self.trained(), target, artifacts.inputs)
        elif form == "optimized":
            optimize(self.file("onnx"), target)
        elif form == "int8":
            from convert.quantize import in_batches as calls
            from convert.quantize import quantize

            quantize(self.file("onnx"), target, calls(artifacts.calibration))
        else:
            raise ConvertError(f"no form {form!r} can be made: there is onnx, optimized, int8")

    def trained(self) -> Any:
        """The trained object, read back from its file. UnreadableError"""
        if self._trained is None:
            artifacts = self.artifacts
            self._trained = trained.load(artifacts.model, artifacts.recipe.framework, artifacts.file)
        return self._trained

    def expected(self) -> Arrays:
        """What the trained form, read back from its file, gives on the held-out rows."""
        if not self._expected:
            run = trained.predictor(self.artifacts.model, self.artifacts.recipe.framework, self.trained())
            self._expected = in_batches(run, self.artifacts.inputs, BATCH)
        return self._expected

    def checked(self, file: Path) -> Onnx:
        """What the ONNX file needs, once it is valid and as the signature promises."""
        loaded = onnx.load(file)
        graph.check(loaded)
        graph.as_promised(loaded, self.artifacts.model.signature)
        return Onnx(graph.opset(loaded), loaded.ir_version)
