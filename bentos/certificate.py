"""The proof that travels with a form: what it was made from, what conversion cost, and the files that it speaks of.

Convert issues a certificate into the stored model's metadata; the service verifies it before it loads the file. The
seal is a digest of all the rest, so that an edit by hand shows; it is no signature: who can write the store can issue.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, is_dataclass, replace
from pathlib import Path
from typing import Any

import msgspec

from bentos.contract import Signature
from bentos.meaning import Meaning

SCHEMA = 2
CONFIDENCE = 0.95  # of every interval and bound in a certificate


class CertificateError(Exception):
    """A form that must not be served; the message names the figure or the key at fault."""


@dataclass(frozen=True)
class Dataset:
    """Where the data came from, the sha256 of its arrays, and the numbers of rows trained on and held out."""

    source: str
    sha256: str = ""
    rows: int = 0
    held_out_rows: int = 0


@dataclass(frozen=True)
class Interval:
    """The 95 % confidence interval (Clopper and Pearson) of a share that was counted on `rows` rows."""

    rows: int
    low: float
    high: float


@dataclass(frozen=True)
class Training:
    """The training run: the held-out metrics of the trained form, and what decides them."""

    metrics: dict[str, float] = field(default_factory=dict)
    intervals: dict[str, Interval] = field(default_factory=dict)  # of those metrics that are shares of rows
    seed: int = 0
    options: dict[str, str] = field(default_factory=dict)
    files: dict[str, str] = field(default_factory=dict)  # that were read, folder/name → sha256
    code: str = ""  # sha256 of the Python files of the model's folder
    seconds: float = 0.0
    libraries: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Histogram:
    """What a quantity looked like at training.

    A number has `edges` (deciles), its bins being (−∞, e0], (e0, e1], …, (e_last, ∞). A class has `classes`, and so
    have an input's categories (words of choices, or texts), with one share more: of all values that are none of them.
    `shares` are of the values that are there, `missing` is the share of all.
    """

    shares: tuple[float, ...]
    edges: tuple[float, ...] = ()
    classes: tuple[str, ...] = ()
    missing: float = 0.0


@dataclass(frozen=True)
class Difference:
    """The largest difference from the trained form on the held-out rows; a tolerance of None is not judged."""

    against: str
    rows: int
    max: float = 0.0
    relative: bool = False  # difference and tolerance are of |trained output|
    tolerance: float | None = None
    single_rows_max: float = 0.0  # of rows that were run one by one
    labels_must_equal: bool = False
    labels_differing: int = 0
    metric: str = ""
    loss: float = 0.0  # of the metric
    loss_tolerance: float | None = None

    def failures(self) -> list[str]:
        """The figures above their tolerance, in words; none for a form that may be served. NaN is above any."""
        words = []
        if self.tolerance is not None and not self.max <= self.tolerance:
            kind = "relative difference" if self.relative else "difference"
            words.append(f"max {kind} from {self.against} is {self.max:.3g}, the tolerance {self.tolerance:.3g}")
        if self.labels_must_equal and self.labels_differing:
            words.append(f"{self.labels_differing} of {self.rows} labels differ from {self.against}")
        if self.loss_tolerance is not None and not self.loss <= self.loss_tolerance:
            words.append(f"{self.metric} lost is {self.loss:.3g}, the tolerance {self.loss_tolerance:.3g}")
        return words


@dataclass(frozen=True)
class Comparison:
    """The same held-out rows through the trained form and through this one, counted in pairs.

    `below` bounds the share of rows that change, at 95 % (Clopper and Pearson, one-sided), for rows that are drawn
    independently. `worse` were right before and are wrong now, `better` the reverse; `p_value` is McNemar's, exact.
    """

    what: str  # "labels" of a classifier; "values" above the tolerance of a regressor
    rows: int
    changed: int
    below: float
    worse: int = 0
    better: int = 0
    p_value: float = 1.0

    def words(self) -> str:
        """`0 of 360 labels changed; 95 %: fewer than 0.83 points`"""
        turned = f" ({self.worse} for the worse, {self.better} for the better, McNemar p = {self.p_value:.2g})"
        counted = turned if self.changed and self.what == "labels" else ""
        change = "changed" if self.what == "labels" else "differ by more than the tolerance"
        unit = "points" if self.what == "labels" else "%"
        bound = f"{100 * CONFIDENCE:.0f} %: fewer than {100 * self.below:.{2 if self.below < 0.1 else 1}f} {unit}"
        return f"{self.changed:,} of {self.rows:,} {self.what} {change}{counted}; {bound}"


@dataclass(frozen=True)
class Golden:
    """Held-out rows with the trained form's outputs, in a file beside the form's, and how far a form may be from them.

    `rows` is 0 where one row alone is too large to travel.
    """

    name: str
    sha256: str
    rows: int
    tolerance: float
    relative: bool = False
    labels_must_equal: bool = False


@dataclass(frozen=True)
class FormFile:
    """The file that the certificate is of."""

    name: str
    sha256: str
    bytes: int


# ONNX's own operators, and those of every ONNX Runtime. Not com.microsoft.nchwc: its layouts are one CPU's.
ONNX_DOMAINS = frozenset({"", "ai.onnx", "ai.onnx.ml", "com.microsoft"})


@dataclass(frozen=True)
class Onnx:
    """What an ONNX file needs of a runtime: operator sets by domain, and its format's version."""

    opset: dict[str, int]
    ir_version: int


@dataclass(frozen=True)
class Certificate:
    """All that is certified of one form. `seal` is empty until `sealed()`."""

    schema: int
    model: str
    form: str
    version: str
    framework: str
    issued: str  # ISO 8601, UTC
    signature: Signature
    meaning: Meaning
    dataset: Dataset
    training: Training
    difference: Difference
    metrics: dict[str, float]
    intervals: dict[str, Interval]
    reference: dict[str, Histogram]  # `input:<quantity>` and `prediction:<quantity>`
    golden: Golden
    file: FormFile
    libraries: dict[str, str]
    comparison: Comparison | None = None  # None where nothing was converted
    onnx: Onnx | None = None
    seal: str = ""

    def to_dict(self) -> dict[str, Any]:
        """As the store's metadata holds it: dictionaries, lists, texts and numbers, and nothing that is None."""
        value: dict[str, Any] = plain(self)
        return value

    @classmethod
    def from_dict(cls, value: Mapping[str, Any]) -> Certificate:
        """The certificate that the metadata holds. CertificateError names what is missing or of a wrong type."""
        if missing := [f.name for f in fields(cls) if f.name not in value and f.name not in ("comparison", "onnx")]:
            raise CertificateError(f"its certificate lacks {', '.join(missing)}")
        try:
            return msgspec.convert(dict(value), cls)
        except (msgspec.ValidationError, TypeError) as error:
            raise CertificateError(f"its certificate cannot be read: {error}") from error

    def sealed(self) -> Certificate:
        """The same with its seal."""
        return replace(self, seal=seal(self.to_dict()))


def plain(value: Any) -> Any:
    """Dataclasses as dictionaries without what is None, tuples as lists."""
    if is_dataclass(value):
        pairs = ((f.name, getattr(value, f.name)) for f in fields(value))
        return {name: plain(item) for name, item in pairs if item is not None}
    if isinstance(value, Mapping):
        return {key: plain(item) for key, item in value.items()}
    return [plain(item) for item in value] if isinstance(value, tuple | list) else value


def file_sha256(path: Path) -> str:
    """The hexadecimal digest of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def seal(certificate: Mapping[str, Any]) -> str:
    """sha256 of the certificate without its seal, as canonical JSON."""
    body = {key: value for key, value in certificate.items() if key != "seal"}
    return hashlib.sha256(json.dumps(body, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


def verify(metadata: Mapping[str, Any] | None, folder: Path, form: str) -> Certificate:
    """The certificate, which is whole, unedited, passed, and of the files in `folder`; else CertificateError."""
    if not metadata:
        raise CertificateError("it has no certificate")
    if metadata.get("schema", SCHEMA) != SCHEMA:
        raise CertificateError(
            f"its certificate has schema {metadata['schema']!r}, this service reads {SCHEMA}: train and convert again"
        )
    if "seal" in metadata and metadata["seal"] != seal(metadata):
        raise CertificateError("its certificate was edited after it was issued: the seal does not match its contents")
    certificate = Certificate.from_dict(metadata)
    if certificate.form != form:
        raise CertificateError(f"its certificate is of form {certificate.form!r}, not {form!r}")
    if failed := certificate.difference.failures():
        raise CertificateError(f"its certificate failed: {'; '.join(failed)}")
    _check_file(folder, certificate.file.name, certificate.file.sha256)
    if certificate.golden.rows:
        _check_file(folder, certificate.golden.name, certificate.golden.sha256)
    return certificate


def _check_file(folder: Path, name: str, certified: str) -> None:
    file = folder / name
    if file.resolve().parent != folder.resolve() or not file.is_file():
        raise CertificateError(f"its certificate is of {name}, which is not there")
    if (actual := file_sha256(file)) != certified:
        raise CertificateError(
            f"{name} does not match its certificate: sha256 {actual[:12]}…, certified {certified[:12]}…"
        )
