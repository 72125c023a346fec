"""The proof that travels with a form: what it was made from, what conversion cost, and the file that it speaks of.

Convert issues a certificate into the stored model's metadata; the service verifies it before it loads the file. The
seal is a digest of all the rest, so that an edit by hand shows; it is no signature: who can write the store can issue.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

SCHEMA = 1
REQUIRED = (
    "schema", "model", "form", "version", "framework", "issued", "dataset", "training", "signature", "difference",
    "metrics", "file", "libraries", "reference", "seal",
)  # fmt: skip


class CertificateError(Exception):
    """A form that must not be served; the message names the figure or the key at fault."""


def file_sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def seal(certificate: Mapping[str, Any]) -> str:
    """sha256 of the certificate without its seal, as canonical JSON."""
    body = {key: value for key, value in certificate.items() if key != "seal"}
    return hashlib.sha256(json.dumps(body, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


def failures(certificate: Mapping[str, Any]) -> list[str]:
    """The figures above their tolerance, in words; none for a form that may be served.

    `difference` is {against, max, tolerance, relative, rows, labels_must_equal, labels_differing, metric, loss,
    loss_tolerance}; a tolerance that is None or absent is not judged (BentoML's metadata cannot hold None).
    """
    found = certificate["difference"]
    words = []
    if found.get("tolerance") is not None and not found["max"] <= found["tolerance"]:
        kind = "relative difference" if found["relative"] else "difference"
        words.append(
            f"max {kind} from {found['against']} is {found['max']:.3g}, the tolerance {found['tolerance']:.3g}"
        )
    if found["labels_must_equal"] and found["labels_differing"]:
        words.append(f"{found['labels_differing']} of {found['rows']} labels differ from {found['against']}")
    if found.get("loss_tolerance") is not None and not found["loss"] <= found["loss_tolerance"]:
        words.append(f"{found['metric']} lost is {found['loss']:.3g}, the tolerance {found['loss_tolerance']:.3g}")
    return words


def verify(certificate: Mapping[str, Any] | None, folder: Path, form: str) -> None:
    """Raise CertificateError unless the certificate is whole, unedited, passed, and of the file in `folder`."""
    if not certificate:
        raise CertificateError("it has no certificate")
    if missing := [key for key in REQUIRED if key not in certificate]:
        raise CertificateError(f"its certificate lacks {', '.join(missing)}")
    if certificate["schema"] != SCHEMA:
        raise CertificateError(f"its certificate has schema {certificate['schema']!r}, this service reads {SCHEMA}")
    if certificate["seal"] != seal(certificate):
        raise CertificateError("its certificate was edited after it was issued: the seal does not match its contents")
    if certificate["form"] != form:
        raise CertificateError(f"its certificate is of form {certificate['form']!r}, not {form!r}")
    if failed := failures(certificate):
        raise CertificateError(f"its certificate failed: {'; '.join(failed)}")
    file = folder / certificate["file"]["name"]
    if file.resolve().parent != folder.resolve() or not file.is_file():
        raise CertificateError(f"its certificate is of {certificate['file']['name']}, which is not there")
    actual, certified = file_sha256(file), certificate["file"]["sha256"]
    if actual != certified:
        raise CertificateError(
            f"{file.name} does not match its certificate: sha256 {actual[:12]}…, certified {certified[:12]}…"
        )
