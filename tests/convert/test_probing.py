"""What a trial finds out: open dimensions, the batch wherever it stands, whether rows may be joined, and what kills."""

import warnings
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto

from convert.artifacts import ConvertError
from convert.joining import largest_gap
from convert.probing import Findings, investigate, probe
from tests.convert.graphs import FLOAT, INT64, constant, model, node, saved

WEIGHTS = np.random.default_rng(0).standard_normal((3, 2)).astype(np.float32)


def tried(tmp_path: Path, graph: onnx.ModelProto, sample: Any = None) -> Findings:
    return investigate(saved(tmp_path / "m.onnx", graph), None, sample)


def test_the_batch_may_stand_anywhere_and_scalars_are_scalars(tmp_path: Path) -> None:
    """As a detector of voice has it: sound [batch, samples], a state [2, batch, 4], a rate that it compares."""
    nodes = [
        constant("rate", 16000),
        node("Equal", "sr rate", "known"),
        node("Cast", "known", "factor", to=FLOAT),
        constant("axes", [1]),
        node("ReduceMean", "sound axes", "mean", keepdims=1),
        node("Mul", "mean factor", "y"),
        node("Add", "state y", "next"),
    ]
    graph = model(
        nodes,
        {"sound": (FLOAT, [None, None]), "state": (FLOAT, [2, None, 4]), "sr": (INT64, [])},
        {"y": (FLOAT, [None, 1]), "next": (FLOAT, [2, None, 4])},
    )
    findings = tried(tmp_path, graph)
    assert findings.batched and not findings.reason
    assert findings.inputs == {"sound": ("batch", -1), "state": (2, "batch", 4), "sr": ()}
    assert findings.outputs == {"y": ("batch", 1), "next": (2, "batch", 4)}
    assert findings.calls[0][0]["sr"] == 16000


def test_named_dimensions_are_followed_into_the_outputs(tmp_path: Path) -> None:
    graph = model(
        [node("MatMul", "x W", "y")], {"x": (FLOAT, ["b", "sequence", 3])}, {"y": (FLOAT, ["c", "d", 2])}, W=WEIGHTS
    )
    findings = tried(tmp_path, graph)
    assert findings.inputs == {"x": ("batch", "sequence", 3)}
    assert findings.outputs == {"y": ("batch", "sequence", 2)}
    assert len({inputs["x"].shape for inputs, _ in findings.calls}) > 1


def test_rows_that_depend_on_their_neighbours_are_not_joined(tmp_path: Path) -> None:
    nodes = [constant("axis", [0]), node("ReduceMean", "x axis", "m"), node("Sub", "x m", "y")]
    findings = tried(tmp_path, model(nodes, {"x": (FLOAT, ["n", 3])}, {"y": (FLOAT, ["n", 3])}))
    assert not findings.batched and "a row's y changes" in findings.reason
    assert findings.inputs == {"x": ("n", 3)}


def test_answers_around_a_thousand_hide_no_neighbour(tmp_path: Path) -> None:
    """A share of 1/1000 of the value would be all that there is of a difference."""
    nodes = [
        constant("axis", [0]),
        node("ReduceMean", "x axis", "m"),
        constant("small", np.float32(0.01)),
        node("Mul", "m small", "s"),
        node("Add", "x s", "a"),
        constant("far", np.float32(1000)),
        node("Add", "a far", "y"),
    ]
    findings = tried(tmp_path, model(nodes, {"x": (FLOAT, ["n", 1])}, {"y": (FLOAT, ["n", 1])}))
    assert not findings.batched


def test_numbers_that_are_scaled_together_are_never_joined(tmp_path: Path) -> None:
    nodes = [node("DynamicQuantizeLinear", "x", "q s z"), node("DequantizeLinear", "q s z", "y")]
    findings = tried(tmp_path, model(nodes, {"x": (FLOAT, ["n", 3])}, {"y": (FLOAT, ["n", 3])}))
    assert not findings.batched and "DynamicQuantizeLinear" in findings.reason


def test_a_model_of_chance_is_said_to_be_one(tmp_path: Path) -> None:
    nodes = [node("RandomNormalLike", "x", "noise"), node("Add", "x noise", "y")]
    findings = tried(tmp_path, model(nodes, {"x": (FLOAT, ["n", 3])}, {"y": (FLOAT, ["n", 3])}))
    assert not findings.batched and not findings.repeatable and "differ" in findings.reason


def test_indices_stay_within_their_table(tmp_path: Path) -> None:
    table = np.arange(14, dtype=np.float32).reshape(7, 2)
    nodes = [node("Cast", "ids", "wide", to=INT64), node("Gather", "table wide", "y")]
    findings = tried(
        tmp_path,
        model(nodes, {"ids": (TensorProto.INT32, ["n", "k"])}, {"y": (FLOAT, ["n", "k", 2])}, table=table),
    )
    ids = np.concatenate([inputs["ids"].reshape(-1) for inputs, _ in findings.calls])
    assert findings.batched and ids.max() == 6 and ids.min() == 0


def test_a_batch_of_one_is_one_request(tmp_path: Path) -> None:
    graph = model([node("MatMul", "x W", "y")], {"x": (FLOAT, [1, 3])}, {"y": (FLOAT, [1, 2])}, W=WEIGHTS)
    findings = tried(tmp_path, graph)
    assert not findings.batched and findings.inputs == {"x": (1, 3)} and findings.outputs == {"y": (1, 2)}


def test_outputs_that_are_declared_wrong_are_as_they_come(tmp_path: Path) -> None:
    graph = model([node("ArgMax", "x", "y", axis=1, keepdims=0)], {"x": (FLOAT, ["n", 3])}, {"y": (INT64, [1])})
    assert tried(tmp_path, graph).outputs == {"y": ("batch",)}


def test_a_sample_says_what_cannot_be_guessed(tmp_path: Path) -> None:
    """It takes 35 × 143 and nothing else."""
    nodes = [
        constant("shape", [-1, 5005]),
        node("Reshape", "x shape", "flat"),
        constant("k", np.ones((1, 5005), np.float32)),
    ]
    graph = model([*nodes, node("Add", "flat k", "y")], {"x": (FLOAT, ["n", None, 13])}, {"y": (FLOAT, ["n", 5005])})
    with pytest.raises(ConvertError, match="--sample"):
        tried(tmp_path, graph)
    graph.graph.input[0].type.tensor_type.shape.dim[2].Clear()
    findings = tried(tmp_path, graph, {"x": np.ones((4, 35, 143), np.float32)})
    assert findings.batched and findings.inputs == {"x": ("batch", -1, -1)}
    with pytest.raises(ConvertError, match="the sample lacks x: it has z"):
        tried(tmp_path, graph, {"z": np.ones((4, 35, 143), np.float32)})


def test_what_ends_its_process_ends_no_other(tmp_path: Path) -> None:
    """The lowest whole number over −1, which is what the graph compares its input with."""
    nodes = [
        constant("minus", -1),
        node("Equal", "x minus", "is"),
        node("Cast", "is", "flag", to=INT64),
        constant("lowest", np.iinfo(np.int64).min),
        node("Div", "lowest x", "d"),
        node("Add", "d flag", "y"),
    ]
    file = saved(tmp_path / "m.onnx", model(nodes, {"x": (INT64, ["n"])}, {"y": (INT64, ["n"])}))
    with pytest.raises(ConvertError, match="ends the process that runs it"):
        probe(file)


def test_another_answer_than_the_files_own_is_refused(tmp_path: Path) -> None:
    ours, theirs = (
        saved(tmp_path / name, model([node(f, "x", "y")], {"x": (FLOAT, ["n"])}, {"y": (FLOAT, ["n"])}))
        for name, f in (("ours.onnx", "Neg"), ("theirs.onnx", "Abs"))
    )
    with pytest.raises(ConvertError, match="mended, its y differs"):
        probe(ours, theirs)


@pytest.mark.parametrize("baked", [11, 1111])
def test_a_size_that_tracing_left_in_the_graph_is_tried(baked: int, tmp_path: Path) -> None:
    """As PyTorch's older exporter writes it: the dimension is declared open, and one size alone is answered."""
    nodes = [constant("shape", [-1, baked, 2]), node("Reshape", "x shape", "split"), node("ReduceMax", "split", "y")]
    graph = model(nodes, {"x": (FLOAT, ["n", "time", 2])}, {"y": (FLOAT, [1, 1, 1])})
    findings = tried(tmp_path, graph)
    assert findings.calls[0][0]["x"].shape == (1, baked, 2)


def test_numbers_of_any_size_are_compared_without_a_warning(tmp_path: Path) -> None:
    largest = np.array([[1.7e308, -1.7e308]])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert largest_gap(largest, largest, 0) == (0.0, True)
        assert not largest_gap(largest, -largest, 0)[1]
