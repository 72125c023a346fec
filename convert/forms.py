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
from bentos.contract import Arrays, Recipe
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
    certificate: dict[str, Any] | None = None
    refusal: str = ""
    note: str = "saved"


def forms(recipe: Recipe) -> list[str]:
    """The trained form first, then those that the recipe has a tolerance for, in its order."""
    return [recipe.framework, *(form for form in recipe.tolerances if form != recipe.framework)]


def convert(made: Artifacts, chosen: Sequence[str], force: bool) -> Iterator[Outcome]:
    """Make the chosen forms one after the other; a form that is refused does not stop the next."""
    with tempfile.TemporaryDirectory(prefix="ekiben-convert-") as folder:
        workshop = Workshop(made, Path(folder))
        for form in chosen:
            tag = f"{made.model.name}-{form}:{made.version}"
            try:
                yield kept(made, form, tag, force) or workshop.box(form, tag)
            except ConvertError as error:
                yield Outcome(made.model.name, form, tag, refusal=str(error))


def kept(made: Artifacts, form: str, tag: str, force: bool) -> Outcome | None:
    """The form that is in the store already, if its certificate holds and is by today's tolerances."""
    found = None if force else store.find(tag, form)
    if found is None or not same_terms(found, made, form):
        return None
    note = "already in the store" + (", now the latest again" if store.make_latest(tag) else "")
    return Outcome(made.model.name, form, tag, found, note=note)


def same_terms(certificate: dict[str, Any], made: Artifacts, form: str) -> bool:
    tolerance = made.recipe.tolerances.get(form)
    if tolerance is None:
        return True
    terms = certificate["difference"]
    now = (tolerance.difference, tolerance.relative, tolerance.labels_equal, tolerance.metric_loss)
    return now == tuple(terms.get(key) for key in ("tolerance", "relative", "labels_must_equal", "loss_tolerance"))


class Workshop:
    """A folder in which forms are made from one another: trained → onnx → optimized, int8."""

    def __init__(self, made: Artifacts, folder: Path) -> None:
        self.made = made
        self.folder = folder
        self.files: dict[str, Path] = {}
        self._expected: Arrays = {}

    def box(self, form: str, tag: str) -> Outcome:
        """Make a form, certify it, save it. ConvertError says why it is not saved."""
        made = self.made
        file = self.file(form)
        extra = {} if form == made.recipe.framework else self.checked(file)
        expected = made.outputs if form == made.recipe.framework else self.expected()
        run = form_run(made.model, made.recipe.framework, form, file)
        certificate = certify(made, form, file, run, expected, extra)
        store.save(file, certificate)
        return Outcome(made.model.name, form, tag, certificate)

    def file(self, form: str) -> Path:
        """The file of a form, made once."""
        if form not in self.files:
            (self.folder / form).mkdir()
            name = trained.FILES.get(form, "model.onnx")
            self.make(form, self.folder / form / name)
            self.files[form] = self.folder / form / name
        return self.files[form]

    def make(self, form: str, target: Path) -> None:
        made = self.made
        if form == made.recipe.framework:
            shutil.copyfile(made.file, target)
        elif form == "onnx":
            export(made.model, made.recipe.framework, self.trained(), target)
        elif form == "optimized":
            optimize(self.file("onnx"), target)
        elif form == "int8":
            from convert.quantize import quantize

            quantize(self.file("onnx"), target, made.calibration)
        else:
            raise ConvertError(f"no form {form!r} can be made: there is onnx, optimized, int8")

    def trained(self) -> Any:
        return trained.load(self.made.model, self.made.recipe.framework, self.made.file)

    def expected(self) -> Arrays:
        """What the trained form, read back from its file, gives on the held-out rows."""
        if not self._expected:
            framework = self.made.recipe.framework
            run = form_run(self.made.model, framework, framework, self.made.file)
            self._expected = in_batches(run, self.made.inputs, BATCH)
        return self._expected

    def checked(self, file: Path) -> dict[str, Any]:
        """The ONNX file's own facts, once it is valid and as the signature promises."""
        loaded = onnx.load(file)
        graph.check(loaded)
        graph.as_promised(loaded, self.made.model.signature)
        return {"onnx": {"opset": graph.opset(loaded), "ir_version": loaded.ir_version}}
