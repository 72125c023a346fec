"""Files of other kinds than ONNX as ONNX graphs, each with what its own library answers, where that is at hand."""

from __future__ import annotations

import importlib
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import onnx

from bentos.contract import Arrays
from bentos.frameworks import UnreadableError
from bentos.frameworks.sklearn import load_skops
from convert import forest, formats, lightgbm_text, xgboost_json
from convert.artifacts import ConvertError
from convert.export import OPSET, OPSET_ML
from convert.graph import tidy
from convert.mend import Mended, guard_divisions, mend

Answer = Callable[[Arrays], Sequence[np.ndarray]]


@dataclass(frozen=True)
class Network:
    """Where the network of some weights is made: `module:make`, and what it is called with."""

    make: str = ""
    arguments: dict[str, Any] = field(default_factory=dict)

    def build(self) -> Any:
        """The network, without its weights. ConvertError"""
        module, _, attribute = self.make.partition(":")
        try:
            return getattr(importlib.import_module(module), attribute)(**self.arguments)
        except Exception as error:
            raise ConvertError(f"--network {self.make}: {type(error).__name__}: {error}") from error


def read(path: Path, network: Network, sample: Arrays | None) -> Mended:
    """The graph of a file of any kind that is known. ConvertError says what is wrong, or what to write instead."""
    kind = formats.kind(path)
    if kind == "catboost" and find_spec("catboost"):
        return of_catboost(path)
    if kind in formats.ADVICE:
        raise ConvertError(f"it is {formats.ADVICE[kind]}")
    if kind == "onnx":
        return mend(path)
    readers = {"lightgbm": of_lightgbm, "xgboost": of_xgboost, "skops": of_skops, "pt2": of_program}
    try:
        mended = readers[kind](path) if kind in readers else of_weights(path, kind, network, sample)
        guard_divisions(mended)
        return mended
    except ModuleNotFoundError as error:
        raise ConvertError(f"it is a {kind} file, which needs {error.name}: pip install '.[train,convert]'") from error


def of_lightgbm(path: Path) -> Mended:
    """LightGBM's text, held against LightGBM where it is installed."""
    grown = lightgbm_text.read(path)
    try:
        from lightgbm import Booster
    except (ModuleNotFoundError, OSError):
        return _of_forest(grown, "LightGBM", None)
    booster = Booster(model_file=str(path))
    return _of_forest(grown, "LightGBM", lambda inputs: [np.asarray(booster.predict(inputs["features"]))])


def of_xgboost(path: Path) -> Mended:
    """XGBoost's JSON or UBJSON, held against XGBoost where it is installed."""
    grown = xgboost_json.read(path)
    try:
        from xgboost import Booster, DMatrix
    except (ModuleNotFoundError, OSError):
        return _of_forest(grown, "XGBoost", None)
    booster = Booster(model_file=str(path))
    n_rounds = 0 if not grown.notes else int(booster.attributes()["best_iteration"] or 0) + 1
    several = grown.link == "softmax"
    margin = {"output_margin": several, "iteration_range": (0, n_rounds)}

    def answer(inputs: Arrays) -> list[np.ndarray]:
        values = booster.predict(DMatrix(inputs["features"]), **margin)
        if not several:
            return [values]
        grown_values = np.exp(values - values.max(1, keepdims=True))
        return [grown_values / grown_values.sum(1, keepdims=True)]

    return _of_forest(grown, "XGBoost", answer)


def of_catboost(path: Path) -> Mended:
    """CatBoost's own format, by CatBoost's own exporter, held against its predictions. Numbers only."""
    from catboost import CatBoost, CatBoostError

    fitted = CatBoost()
    try:
        fitted.load_model(str(path))
        classes = [str(label) for label in fitted.classes_]
        with TemporaryDirectory() as folder:
            fitted.save_model(f"{folder}/model.onnx", format="onnx")
            mended = mend(Path(folder) / "model.onnx")
    except CatBoostError as error:
        raise ConvertError(f"CatBoost does not export it: {' '.join(str(error).split())[:300]}") from error
    input_name, output_name = mended.graph.graph.input[0].name, mended.graph.graph.output[-1].name

    def reference(inputs: Arrays) -> Arrays:
        kind = "Probability" if classes else "RawFormulaVal"
        return {output_name: np.asarray(fitted.predict(inputs[input_name], prediction_type=kind))}

    mended.notes.insert(0, "by CatBoost's exporter, held against CatBoost")
    return replace(mended, labels=mended.labels or tuple(classes), reference=reference, foreign=True)


def _of_forest(grown: forest.Forest, library: str, answer: Answer | None) -> Mended:
    def last(inputs: Arrays) -> list[np.ndarray]:
        assert answer is not None
        (values,) = answer(inputs)
        if grown.link == "logistic":
            values = np.stack([1 - values, values], 1)
        return [np.asarray(values, np.float32).reshape(len(values), -1)]

    words = f"{len(grown.trees)} trees of {library} as one TreeEnsembleRegressor"
    compared = f"held against {library}" if answer else f"not held against {library}, which is not installed"
    output = "probabilities" if grown.classifies else "value"
    return Mended(
        forest.to_onnx(grown),
        notes=[words, *grown.notes, compared],
        reference=None if answer is None else (lambda inputs: dict(zip([output], last(inputs), strict=True))),
        foreign=True,
        framework=library.lower() if answer else "",
    )


def of_skops(path: Path) -> Mended:
    """A scikit-learn estimator or pipeline of numbers, by skl2onnx, held against its predict_proba or predict."""
    import skl2onnx
    from skl2onnx.common.data_types import FloatTensorType

    from convert import trees

    try:
        fitted = load_skops(path)
    except UnreadableError as error:
        raise ConvertError(str(error)) from error
    trees.register()
    classifier = hasattr(fitted, "predict_proba") and hasattr(fitted, "classes_")
    try:
        graph = skl2onnx.to_onnx(
            fitted,
            initial_types=[("features", FloatTensorType([None, fitted.n_features_in_]))],
            options={id(fitted): {"zipmap": False}} if classifier else None,
            target_opset={"": OPSET, "ai.onnx.ml": OPSET_ML},
        )
    except Exception as error:
        raise ConvertError(f"skl2onnx does not convert it: {' '.join(str(error).split())[:300]}") from error
    graph.graph.name = type(fitted).__name__  # by itself it is another each time, and so would be the version
    name = graph.graph.output[-1 if classifier else 0].name
    call = fitted.predict_proba if classifier else fitted.predict

    def reference(inputs: Arrays) -> Arrays:
        return {name: np.asarray(call(inputs["features"]))}

    return Mended(
        tidy(graph),
        labels=tuple(str(label) for label in fitted.classes_) if classifier else (),
        notes=[f"{type(fitted).__name__} of scikit-learn, by skl2onnx, held against it"],
        reference=reference,
        foreign=True,
        framework="sklearn",
    )


def of_program(path: Path) -> Mended:
    """A `.pt2` of torch.export, by PyTorch's exporter, held against the program itself."""
    from bentos.frameworks.pytorch import load_program

    try:
        program = load_program(path)
    except UnreadableError as error:
        raise ConvertError(str(error)) from error
    mended = _of_torch(program, program.module(), "torch.export's program")
    mended.framework = "pytorch"
    return mended


def of_weights(path: Path, kind: str, network: Network, sample: Arrays | None) -> Mended:
    """Weights with the network that they are for, exported with the sample's rows."""
    if not network.make or sample is None:
        raise ConvertError(
            f"it is weights ({kind}) without the code that they are for: --network module:make --args '{{…}}' names it,"
            " and --sample rows.npz gives an array for each argument of its forward"
        )
    import torch
    from safetensors.torch import load_file

    built = network.build()
    try:
        weights = load_file(path) if kind == "safetensors" else torch.load(path, weights_only=True, map_location="cpu")
        built.load_state_dict(weights)
    except Exception as error:
        raise ConvertError(
            f"its weights are not those of {network.make}: {' '.join(str(error).split())[:300]}"
        ) from error
    built.eval()
    tensors = tuple(torch.from_numpy(np.ascontiguousarray(array)) for array in sample.values())
    batch = torch.export.Dim("batch", min=1, max=2**20)
    try:
        program = torch.export.export(built, tensors, dynamic_shapes=tuple({0: batch} for _ in tensors), strict=False)
    except Exception as error:
        raise ConvertError(f"torch.export does not take it: {' '.join(str(error).split())[:300]}") from error
    return _of_torch(program, built, f"{network.make} of PyTorch", list(sample))


def _of_torch(program: Any, module: Any, words: str, names: list[str] | None = None) -> Mended:
    import torch

    try:
        exported = torch.onnx.export(program, input_names=names, opset_version=OPSET, dynamo=True, verbose=False)
        assert exported is not None
        graph: onnx.ModelProto = tidy(exported.model_proto)
    except Exception as error:
        raise ConvertError(f"PyTorch does not export it to ONNX: {' '.join(str(error).split())[:300]}") from error
    inputs, outputs = ([value.name for value in side] for side in (graph.graph.input, graph.graph.output))

    def reference(arrays: Arrays) -> Arrays:
        with torch.inference_mode():
            answers = module(*(torch.from_numpy(np.ascontiguousarray(arrays[name])) for name in inputs))
        flat = torch.utils._pytree.tree_leaves(answers)
        return {name: value.numpy() for name, value in zip(outputs, flat, strict=True)}

    return Mended(graph, notes=[f"{words}, by PyTorch's exporter, held against it"], reference=reference, foreign=True)


def arguments(text: str) -> dict[str, Any]:
    """The keyword arguments that --args holds as JSON. ConvertError"""
    try:
        parsed = json.loads(text or "{}")
    except ValueError as error:
        raise ConvertError(f"--args is not JSON: {error}") from error
    if not isinstance(parsed, dict):
        raise ConvertError(f"--args is {parsed!r:.60}: it must be an object of keyword arguments")
    return parsed
