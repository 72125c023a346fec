"""A model's folder, read: a mistake in it is one line that names the file, the key, the value and what is allowed."""

from __future__ import annotations

import importlib
import json
import re
import traceback
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from bentos import contract
from bentos.contract import FLOATS, Field, Fields, Model, ModelError, Recipe, Route, Tensor, Text

VERB = re.compile(r"[a-z][a-z0-9_-]*")
PATH = re.compile(r"(/[A-Za-z0-9_-][A-Za-z0-9._-]*)+")
# What the first part of a path may not begin with: it is the service's own, or opened by other keys than predictions.
RESERVED = ("v2", "ui", "health", "livez", "readyz", "metrics", "faults", "docs", "schema", "static")
Kind = TypeVar("Kind")


def model(name: str) -> Model:
    """What bentos/<name>/model.py defines. ModelError"""
    read = _read(name, "model", "MODEL", Model)
    if complaint := _complaint(read, name):
        raise ModelError(f"{contract.shown(name)}/model.py: {complaint}")
    return read


def recipe(of: Model) -> Recipe:
    """What bentos/<name>/recipe.py defines, for a model whose network, if it needs one, is there. ModelError"""
    read = _read(of.name, "recipe", "RECIPE", Recipe)
    if read.framework == "pytorch":
        _check_network(of)
    elif read.framework != "sklearn" and len(of.signature.inputs) > 1:
        raise ModelError(
            f"{contract.shown(of.name)}/recipe.py: framework={read.framework!r} takes one input,"
            f" the signature has {_listed(of.signature.inputs)}"
        )
    return read


def payloads(of: Model) -> list[Any]:
    """The examples as `Model.rows` takes them, checked: values by field, or a file's bytes. ModelError

    None of a model that is spoken to in tensors only.
    """
    if of.payload is None:
        return []
    file = f"{contract.shown(of.name)}/examples.json"
    try:
        examples: Any = contract.examples(of.name)
    except FileNotFoundError:
        raise ModelError(f"{file} is missing: it must be a list of payloads") from None
    except ValueError as error:
        raise ModelError(f"{file} is not JSON: {error}") from None
    if not isinstance(examples, list) or not examples:
        raise ModelError(f"{file} is {json.dumps(examples):.60}: it must be a list of payloads")
    return [_payload(of, example, f"{file}, payload {place}") for place, example in enumerate(examples)]


def _payload(of: Model, example: Any, where: str) -> Any:
    if isinstance(of.payload, Fields):
        return _values(of.payload, example, where)
    if isinstance(of.payload, Text):
        return _text(example, where)
    file = contract.folder(of.name) / str(example)
    if not isinstance(example, str) or not file.is_file():
        raise ModelError(f"{where}: {json.dumps(example):.60} must be the path of a file in {contract.shown(of.name)}")
    return file.read_bytes()


def _text(example: Any, where: str) -> str:
    text = example.get("text") if isinstance(example, dict) and len(example) == 1 else None
    if not isinstance(text, str):
        raise ModelError(f'{where}: {json.dumps(example):.60} must be an object {{"text": "…"}}')
    return text


def _values(payload: Fields, example: Any, where: str) -> dict[str, Any]:
    known = [f.name for f in payload.fields]
    if not isinstance(example, dict):
        raise ModelError(f"{where}: {json.dumps(example):.60} must be an object with the fields {', '.join(known)}")
    if unknown := [name for name in example if name not in known]:
        raise ModelError(f"{where}: {unknown[0]!r} is no field: there is {', '.join(known)}")
    for field in payload.fields:
        if field.name not in example and not field.nullable:
            raise ModelError(f"{where}: {field.name} is missing: it must be {field.allowed()}")
        if not field.allows(value := example.get(field.name)):
            raise ModelError(f"{where}: {field.name} is {json.dumps(value):.60}: it must be {field.allowed()}")
    values: dict[str, Any] = {field.name: field.encode(example.get(field.name)) for field in payload.fields}
    for lesser, greater in payload.at_most:
        if None not in (values[lesser], values[greater]) and values[lesser] > values[greater]:
            raise ModelError(f"{where}: {lesser} is {values[lesser]:g}, which is above {greater}, {values[greater]:g}")
    return values


def _read(name: str, module: str, attribute: str, kind: type[Kind]) -> Kind:
    """What a file of a folder defines. ModelError; ModuleNotFoundError where a library is not installed"""
    file, sample = f"{contract.shown(name)}/{module}.py", f"{attribute} = {kind.__name__}(…)"
    if not (contract.folder(name) / f"{module}.py").is_file():
        raise ModelError(f"{file} is missing: it must say {sample}")
    try:
        value = getattr(importlib.import_module(f"bentos.{name}.{module}"), attribute, None)
    except Exception as error:
        if isinstance(error, ModuleNotFoundError) and not (error.name or "").startswith("bentos."):
            raise
        raise ModelError(_located(error, name, file)) from error
    if not isinstance(value, kind):
        raise ModelError(f"{file}: {attribute} is {value!r:.60}: it must say {sample}")
    return value


def _located(error: Exception, name: str, file: str) -> str:
    """`bentos/kettle/model.py, line 12: field litres: low=3 is above high=1`"""
    folder, called = contract.folder(name), contract.shown(name)
    frames = [(Path(frame.filename), frame.lineno) for frame in traceback.extract_tb(error.__traceback__)]
    if isinstance(error, SyntaxError):
        frames.append((Path(error.filename or ""), error.lineno))
    own = [(f"{called}/{path.relative_to(folder)}", line) for path, line in frames if path.is_relative_to(folder)]
    where, line = own[-1] if own else (file, None)
    kind = "" if isinstance(error, ModelError) else f"{type(error).__name__}: "
    words = error.msg if isinstance(error, SyntaxError) else str(error)
    return f"{where}{f', line {line}' if line else ''}: {kind}{' '.join(words.split())}"


def _check_network(of: Model) -> None:
    try:
        module, _, attribute = of.network.partition(":")
        getattr(importlib.import_module(module), attribute)
    except (ImportError, AttributeError, ValueError) as error:
        raise ModelError(
            f"{contract.shown(of.name)}/model.py: network={of.network!r} cannot be imported ({error}):"
            f' it must be like "bentos.{of.name}.network:Network"'
        ) from error


def _complaint(read: Model, folder: str) -> str:
    """What is wrong with a model as a whole; empty if nothing is."""
    if read.name != folder:
        return f"name={read.name!r} must be {folder!r}, as its folder is called"
    if read.payload is None:
        return "" if read.verb == "predict" else f"verb={read.verb!r} must be 'predict', where payload=None"
    if read.verb == "random" or not VERB.fullmatch(read.verb):
        return (
            f"verb={read.verb!r} must be lower-case letters, digits, _ and -, and not random, which is a route already"
        )
    if len(set(read.labels)) != len(read.labels):
        return f"labels={read.labels!r} must be all different"
    return _input_complaint(read) or _output_complaint(read) or _parameter_complaint(read) or _route_complaint(read)


def _input_complaint(read: Model) -> str:
    fields = read.payload.fields if isinstance(read.payload, Fields) else ()
    if read.preprocess is not None:
        placed = [f for f in fields if f.into]
        return f"field {placed[0].name}: into={placed[0].into!r} is for preprocess= to say" if placed else ""
    if not isinstance(read.payload, Fields):
        takes = "a text" if isinstance(read.payload, Text) else "a file's bytes"
        return f"payload={type(read.payload).__name__}() needs preprocess=, a function of {takes}"
    names = [t.name for t in read.signature.inputs]
    for field in fields:
        if field.into and field.into not in names:
            return f"field {field.name}: into={field.into!r} is no input: there is {', '.join(names)}"
    return next(filter(None, (_columns_complaint(*columns) for columns in read.columns_by_input)), "")


def _columns_complaint(tensor: Tensor, fields: tuple[Field, ...]) -> str:
    if not fields:
        return f"signature: no field goes into input {tensor.name}: those that do say into={tensor.name!r}"
    one_alone = len(fields) == 1 and len(tensor.shape) == 1
    if tensor.batch_axis != 0 or not (one_alone or tensor.sizes[1:] == (len(fields),)):
        return f"signature: inputs {_listed((tensor,))} must be [-1, {len(fields)}], one column a field"
    for field in fields:
        if not _holds(tensor, field):
            return f"field {field.name}: {field.allowed()} does not fit input {tensor.name}, which is {tensor.datatype}"
    return ""


def _holds(tensor: Tensor, field: Field) -> bool:
    """Whether every value of a field is one of a tensor's datatype."""
    kind = tensor.dtype.kind
    if tensor.datatype in FLOATS:
        return tensor.datatype != "BF16" and field.type is not str
    if kind == "O" or field.type is str:
        return kind == "O" and field.type is str
    if kind == "b" or field.nullable or field.type is float:
        return kind == "b" and field.type is bool and not field.nullable
    limits = np.iinfo(tensor.dtype)
    return limits.min <= field.low and field.high <= limits.max


def _output_complaint(read: Model) -> str:
    if read.postprocess is not None:
        return ""
    outputs = {t.name: list(t.shape) for t in read.signature.outputs}
    words = f"signature: outputs {_listed(read.signature.outputs)} must"
    if not read.labels:
        return "" if len(outputs) == 1 else f"{words} be one tensor, as there are no labels and no postprocess"
    if outputs.get("probabilities", outputs.get("logits")) != [-1, len(read.labels)]:
        return f"{words} have probabilities or logits [-1, {len(read.labels)}], one column a label"
    return ""


def _parameter_complaint(read: Model) -> str:
    names = [parameter.name for parameter in read.parameters]
    if names and read.postprocess is None:
        return f"parameter {names[0]}: it is for postprocess=, which is not there"
    for place, parameter in enumerate(read.parameters):
        if parameter.default is None or parameter.nullable:
            return f"parameter {parameter.name}: it needs a default, and is never null"
        if parameter.name == "form" or parameter.name in names[:place]:
            return f"parameter {parameter.name}: the query has one of this name already"
    return ""


def _route_complaint(read: Model) -> str:
    own = {f"/{read.name}/{word}" for word in (read.verb, "predict", "random")}
    for place, route in enumerate(read.routes):
        if not isinstance(route, Route):
            return f"routes[{place}] is {route!r:.60}: it must be a Route(…)"
        where = f"routes[{place}]: path={route.path!r}"
        if not isinstance(route.path, str) or not PATH.fullmatch(route.path):
            return f"{where} must be like '/v1/embeddings': letters, digits, ., _ and - between slashes"
        if route.path[1:].startswith(RESERVED) or route.path in own:
            return f"{where} is the service's own; it may not be /{read.name}'s, nor begin with {', '.join(RESERVED)}"
        if route.path in {other.path for other in read.routes[:place]}:
            return f"{where} is there twice"
        if not (callable(route.read) and callable(route.answer) and (route.error is None or callable(route.error))):
            return f"{where}: read, answer and error must be functions"
    return ""


def _listed(tensors: tuple[Tensor, ...]) -> str:
    return ", ".join(f"{t.name} {list(t.shape)}" for t in tensors)
