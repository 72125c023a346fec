"""Payloads → the rows of a batch, and the rows of outputs → answers in the model's own words."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable, Mapping
from time import perf_counter
from typing import Any

import numpy as np

from bentos.contract import Model, PayloadError
from serving.errors import BadInput, ClientGone, DeadlineExceeded
from serving.inference.dataplane import LoadedForm
from serving.inference.jobs import Client
from serving.memory import MemoryBudget


def preprocess_batch(model: Model, payloads: list[Any], latest: float = math.inf) -> list[np.ndarray]:
    """Payloads → one (n, …) array per input tensor. BadInput says which payload it is about, if there are several."""
    rows = []
    for place, payload in enumerate(payloads):
        if place and perf_counter() > latest:
            raise DeadlineExceeded(f"{place} of {len(payloads)} payloads were read in the time allowed")
        try:
            rows.append(model.rows(payload))
        except PayloadError as error:
            raise BadInput(f"[{place}] {error}" if len(payloads) > 1 else str(error)) from None
    return [np.stack(arrays) for arrays in zip(*rows, strict=True)]


def preprocess_each(model: Model, payloads: list[Any], latest: float = math.inf) -> list[list[np.ndarray]]:
    """The same where rows may differ in shape: one (1, …) array per input tensor, of each payload."""
    batches = []
    for place, payload in enumerate(payloads):
        if place and perf_counter() > latest:
            raise DeadlineExceeded(f"{place} of {len(payloads)} payloads were read in the time allowed")
        try:
            batches.append(preprocess_batch(model, [payload]))
        except BadInput as error:
            raise BadInput(f"[{place}] {error}" if len(payloads) > 1 else str(error)) from None
    return batches


async def preprocess_apart(
    model: Model,
    payloads: list[Any],
    n_bytes_of: Callable[[list[Any]], int],
    memory: MemoryBudget,
    seconds: float,
    client: Client,
    preprocess: Callable[[Model, list[Any], float], list[Any]] = preprocess_batch,
) -> list[Any]:
    """The same in a thread, or what else `preprocess` is, once there is memory for it, unless it comes to them too late
    or the client has gone.

    `n_bytes_of` tells how much, in a thread as well: it reads the heads of files.
    """
    latest = perf_counter() + seconds

    def in_time() -> list[Any]:
        if perf_counter() > latest:
            raise DeadlineExceeded("waited too long to be read")
        return preprocess(model, payloads, latest)

    n_bytes = await asyncio.to_thread(n_bytes_of, payloads)
    async with memory.reserved(n_bytes, latest - perf_counter()):
        if client.disconnected:
            raise ClientGone("the client hung up")
        return await asyncio.to_thread(in_time)


def answers(
    form: LoadedForm, outputs: list[np.ndarray], parameters: Mapping[str, Any] | None = None
) -> list[dict[str, Any]]:
    """One answer per row, each saying which model, form and version gave it."""
    named = {t.name: array for t, array in zip(form.signature.outputs, outputs, strict=True)}
    who = {"model": form.model.name, "form": form.form, "version": form.version}
    return [{**answer, **who} for answer in form.model.answers(named, parameters)]
