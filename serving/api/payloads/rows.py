"""Payloads → the rows of a batch, and the rows of outputs → answers in the model's own words."""

from __future__ import annotations

import math
from time import perf_counter
from typing import Any

import numpy as np

from bentos.contract import Model, PayloadError
from serving.errors import BadInput, DeadlineExceeded
from serving.inference.dataplane import LoadedForm


def preprocess_batch(model: Model, payloads: list[Any], latest: float = math.inf) -> list[np.ndarray]:
    """Payloads → one (n, …) array per input tensor. BadInput says which payload it is about, if there are several."""
    rows = []
    for place, payload in enumerate(payloads):
        if place and perf_counter() > latest:
            raise DeadlineExceeded(f"{place} of {len(payloads)} pictures were decoded in the time allowed")
        try:
            rows.append(model.rows(payload))
        except PayloadError as error:
            raise BadInput(f"[{place}] {error}" if len(payloads) > 1 else str(error)) from None
    return [np.stack(arrays) for arrays in zip(*rows, strict=True)]


def preprocess_each(model: Model, payloads: list[Any]) -> list[list[np.ndarray]]:
    """The same where rows may differ in shape: one (1, …) array per input tensor, of each payload."""
    batches = []
    for place, payload in enumerate(payloads):
        try:
            batches.append(preprocess_batch(model, [payload]))
        except BadInput as error:
            raise BadInput(f"[{place}] {error}") from None
    return batches


def answers(form: LoadedForm, outputs: list[np.ndarray]) -> list[dict[str, Any]]:
    """One answer per row, each saying which model, form and version gave it."""
    named = {t.name: array for t, array in zip(form.signature.outputs, outputs, strict=True)}
    who = {"model": form.model.name, "form": form.form, "version": form.version}
    return [{**answer, **who} for answer in form.model.answers(named)]
