"""The whole way of a payload, gone before anybody sends one: payload → rows → engine → answers."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np

from bentos import contract
from bentos.contract import Arrays, Model, ModelError, Route, Tensor

Run = Callable[[Arrays], Arrays]


def rehearse(model: Model, run: Run, payloads: Sequence[Any]) -> None:
    """Push payloads through one by one. ModelError names the first that is not answered, and why."""
    folder = contract.shown(model.name)
    for place, payload in enumerate(payloads):
        with _naming(f"{folder}/examples.json, payload {place}"):
            _rehearse(model, run, payload)
    for route in model.routes:
        with _naming(f"{folder}/model.py: the example of route {route.path}"):
            _rehearse_route(model, run, route)


@contextmanager
def _naming(where: str) -> Iterator[None]:
    """Any error as a ModelError that says what is not answered."""
    try:
        yield
    except Exception as error:
        kind = "" if isinstance(error, ModelError) else f"{type(error).__name__}: "
        raise ModelError(f"{where} is not answered: {kind}{' '.join(str(error).split())}") from error


def _rehearse(model: Model, run: Run, payload: Any) -> None:
    rows = model.rows(payload)
    inputs = _named("preprocess", model.signature.inputs, [np.asarray(row)[None] for row in rows])
    outputs = run(inputs)
    _named("the engine", model.signature.outputs, [outputs[t.name] for t in model.signature.outputs])
    answers = model.answers(outputs)
    if len(answers) != 1:
        raise ModelError(f"postprocess gives {len(answers)} answers for 1 row")
    json.dumps(answers)


def _rehearse_route(model: Model, run: Run, route: Route) -> None:
    payloads, asked = route.read(json.loads(json.dumps(route.example)))
    if not payloads:
        raise ModelError("read gives no payload for it")
    inputs = [[np.asarray(row)[None] for row in model.rows(payload)] for payload in payloads]
    outputs = [run(_named("preprocess", model.signature.inputs, arrays)) for arrays in inputs]
    joined = {name: np.concatenate([each[name] for each in outputs]) for name in outputs[0]}
    json.dumps(route.answer(asked, inputs, joined), default=np.ndarray.tolist)
    if route.error is not None:
        json.dumps(route.error(400, "an error"))


def _named(who: str, tensors: Sequence[Tensor], arrays: Sequence[np.ndarray]) -> Arrays:
    """The arrays by tensor, if they are as many and as the signature says. ModelError"""
    if len(arrays) != len(tensors):
        raise ModelError(f"{who} gives {len(arrays)} tensors, the signature says {len(tensors)}")
    for tensor, array in zip(tensors, arrays, strict=True):
        if array.dtype != tensor.dtype or not _fits(array.shape, tensor):
            raise ModelError(
                f"{who} gives {tensor.name} as {array.dtype} {list(array.shape[1:])} a row,"
                f" the signature says {tensor.datatype} {list(tensor.shape[1:])}"
            )
    return {tensor.name: array for tensor, array in zip(tensors, arrays, strict=True)}


def _fits(shape: tuple[int, ...], tensor: Tensor) -> bool:
    """Whether it is the shape of one row, the batch first; an open dimension has any size."""
    sizes = (1, *tensor.sizes[1:])
    return len(shape) == len(sizes) and all(b in (-1, a) for a, b in zip(shape, sizes, strict=True))
