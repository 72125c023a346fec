"""Forms in the BentoML store: found with a certificate that holds, saved, and made the latest again."""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path
from typing import Any

os.environ.setdefault("BENTOML_DO_NOT_TRACK", "True")

import bentoml
from bentoml.exceptions import NotFound

from bentos.certificate import Certificate, CertificateError, verify


def find(tag: str, form: str) -> Certificate | None:
    """The certificate of a stored form, or None if it is not there or its certificate does not hold."""
    try:
        return verified(tag, form)
    except (NotFound, CertificateError):
        return None


def verified(tag: str, form: str) -> Certificate:
    """The certificate of a stored form as the store gives it back. CertificateError if it does not hold."""
    stored = bentoml.models.get(tag)
    metadata: Any = stored.info.metadata.get("certificate")
    return verify(metadata, Path(stored.path), form)


def save(file: Path, certificate: Certificate, described: dict[str, Any] | None = None) -> str:
    """Put a certified file and its golden rows into the store, in place of the same tag if it is there. The tag.

    `described` is what a model without a folder under bentos/ says of itself. CertificateError if what the store gives
    back is not what was put in.
    """
    model, form = certificate.model, certificate.form
    tag = f"{model}-{form}:{certificate.version}"
    labels = {"model": model, "form": form, "framework": certificate.framework, "ekiben": "form"}
    metadata = {"certificate": certificate.to_dict()} | ({"model": described} if described else {})
    remove(tag)
    with bentoml.models.create(tag, module="ekiben", labels=labels, metadata=metadata) as stored:
        shutil.copyfile(file, stored.path_of(file.name))
        if certificate.golden.rows:
            shutil.copyfile(file.parent / certificate.golden.name, stored.path_of(certificate.golden.name))
    verified(tag, form)
    return tag


def remove(tag: str) -> None:
    """Delete a tag, if it is there."""
    if bentoml.models.list(tag):
        bentoml.models.delete(tag)


def make_latest(tag: str) -> bool:
    """Save a stored form anew if a later version came after it, so that `latest` is what was converted last."""
    stored = bentoml.models.get(tag)
    if bentoml.models.get(f"{stored.tag.name}:latest").tag == stored.tag:
        return False
    certificate = verified(tag, stored.info.labels["form"])
    described: Any = stored.info.metadata.get("model")
    with tempfile.TemporaryDirectory() as folder:
        copy = shutil.copytree(stored.path, Path(folder) / "copy")
        save(copy / certificate.file.name, certificate, described)
    return True
