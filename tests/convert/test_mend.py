"""Somebody else's ONNX file, mended: each change, and that its answers stay."""

from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper

from bentos.contract import bfloat16_to_float32
from convert.artifacts import ConvertError
from convert.graph import faults
from convert.mend import mend
from convert.same import bfloat16, same_answers
from tests.convert.graphs import FLOAT, INT64, constant, model, node, saved

LOWEST = np.iinfo(np.int64).min


def run(graph: onnx.ModelProto, **inputs: np.ndarray) -> list[np.ndarray]:
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    return onnxruntime.InferenceSession(graph.SerializeToString(), options).run(None, inputs)


def gemm() -> onnx.ModelProto:
    weights = np.random.default_rng(0).random((3, 2), np.float32)
    return model([node("MatMul", "x W", "y")], {"x": (FLOAT, ["n", 3])}, {"y": (FLOAT, ["n", 2])}, W=weights)


def test_a_file_that_needs_nothing_is_left_alone(tmp_path: Path) -> None:
    mended = mend(saved(tmp_path / "m.onnx", gemm()))
    assert not mended.changed and mended.graph == gemm()


def test_external_data_is_folded_in(tmp_path: Path) -> None:
    file = tmp_path / "m.onnx"
    onnx.save(gemm(), file, save_as_external_data=True, location="m.data", size_threshold=0)
    assert (tmp_path / "m.data").is_file()
    mended = mend(file)
    assert mended.notes == ["external data folded in: m.data"]
    x = np.ones((2, 3), np.float32)
    np.testing.assert_array_equal(run(mended.graph, x=x)[0], run(gemm(), x=x)[0])


def test_external_data_that_is_not_there_is_named(tmp_path: Path) -> None:
    onnx.save(gemm(), tmp_path / "m.onnx", save_as_external_data=True, location="m.data", size_threshold=0)
    (tmp_path / "m.data").unlink()
    with pytest.raises(ConvertError, match=r"'m\.data' is not beside it"):
        mend(tmp_path / "m.onnx")


def test_weights_of_an_old_file_need_not_be_inputs(tmp_path: Path) -> None:
    """As files are published: ONNX's checker refuses them, ONNX Runtime does not."""
    old = gemm()
    old.ir_version = 3
    mended = mend(saved(tmp_path / "m.onnx", old))
    onnx.checker.check_model(mended.graph)
    assert mended.notes == ["it is of ONNX's file version 4, not 3: its weights are no inputs"]


@pytest.mark.parametrize(("operator", "weights", "rank"), [("MatMul", (3, 2), 2), ("Conv", (2, 3, 1, 1), 4)])
def test_an_input_without_a_shape_has_as_many_dimensions_as_the_graph_can_take(
    operator: str, weights: tuple[int, ...], rank: int, tmp_path: Path
) -> None:
    graph = model([node(operator, "x W", "y")], {"x": (FLOAT, None)}, {"y": (FLOAT, None)}, W=np.ones(weights, "f4"))
    mended = mend(saved(tmp_path / "m.onnx", graph))
    assert len(mended.graph.graph.input[0].type.tensor_type.shape.dim) == rank
    assert mended.notes == [f"input x has no shape: taken to have {rank} dimensions, as the first that fit"]
    assert not faults(mended.graph)


@pytest.mark.parametrize(
    ("content", "told"), [(b"", "empty"), (b"version https://git-lfs.github.com/spec/v1\noid sha256:a", "git lfs pull")]
)
def test_what_a_repository_or_a_broken_copy_leaves_is_named(content: bytes, told: str, tmp_path: Path) -> None:
    (tmp_path / "m.onnx").write_bytes(content)
    with pytest.raises(ConvertError, match=told):
        mend(tmp_path / "m.onnx")


def test_an_input_that_is_declared_empty_is_named(tmp_path: Path) -> None:
    empty = model([node("Identity", "x", "y")], {"x": (FLOAT, [0, 4])}, {"y": (FLOAT, [0, 4])})
    assert faults(mend(saved(tmp_path / "m.onnx", empty)).graph) == ["input 'x' is declared empty: [0, 4]"]


def test_a_zipmap_of_doubles_is_a_tensor_of_doubles(tmp_path: Path) -> None:
    """As scikit-learn's converter writes pipelines over doubles, which ONNX Runtime does not load as they are."""
    graph = zipmapped()
    graph.graph.input[0].type.tensor_type.elem_type = TensorProto.DOUBLE
    (output,) = run(mend(saved(tmp_path / "m.onnx", graph)).graph, x=np.zeros((1, 2)))
    np.testing.assert_array_equal(output, [[0.5, 0.5]])
    assert output.dtype == np.float64


def zipmapped() -> onnx.ModelProto:
    keys = node("ZipMap", "p", "probs", domain="ai.onnx.ml", classlabels_strings=["cat", "dog"])
    graph = model([node("Softmax", "x", "p"), keys], {"x": (FLOAT, ["n", 2])}, {"probs": (FLOAT, ["n", 2])})
    value = onnx.TypeProto(tensor_type=onnx.TypeProto.Tensor(elem_type=FLOAT))
    keyed = onnx.TypeProto(map_type=onnx.TypeProto.Map(key_type=TensorProto.STRING, value_type=value))
    graph.graph.output[0].type.CopyFrom(onnx.TypeProto(sequence_type=onnx.TypeProto.Sequence(elem_type=keyed)))
    return graph


def test_zipmap_is_cut_and_its_keys_are_the_labels(tmp_path: Path) -> None:
    file = saved(tmp_path / "m.onnx", zipmapped())
    mended = mend(file)
    assert mended.labels == ("cat", "dog")
    x = np.array([[1, 2], [5, 0.5]], np.float32)
    (probabilities,) = run(mended.graph, x=x)
    assert probabilities.shape == (2, 2)
    same_answers(file, {"x": x}, {"probs": probabilities})
    with pytest.raises(ConvertError, match="its probs differs by"):
        same_answers(file, {"x": x}, {"probs": probabilities + np.float32(0.01)})


def test_a_file_that_names_no_operators_but_those_of_trees_is_valid_without_its_zipmap(tmp_path: Path) -> None:
    graph = zipmapped()
    graph.graph.node[0].CopyFrom(node("Normalizer", "x", "p", domain="ai.onnx.ml", norm="L1"))
    kept = [opset for opset in graph.opset_import if opset.domain == "ai.onnx.ml"]
    del graph.opset_import[:]
    graph.opset_import.extend(kept)
    mended = mend(saved(tmp_path / "catboost.onnx", graph))
    onnx.checker.check_model(mended.graph)
    (shares,) = run(mended.graph, x=np.array([[1, 3]], np.float32))
    assert shares.tolist() == [[0.25, 0.75]]


def test_a_sequence_of_one_tensor_is_that_tensor(tmp_path: Path) -> None:
    unpacked = [constant("axis", 0), node("SequenceAt", "xs axis", "x"), node("Neg", "x", "y")]
    packed = node("SequenceConstruct", "y", "ys")
    graph = model([*unpacked, packed], {"xs": (FLOAT, ["n", 2])}, {"ys": (FLOAT, ["n", 2])})
    for value in (graph.graph.input[0], graph.graph.output[0]):
        tensor = onnx.TypeProto(tensor_type=value.type.tensor_type)
        value.type.CopyFrom(onnx.TypeProto(sequence_type=onnx.TypeProto.Sequence(elem_type=tensor)))
    file = saved(tmp_path / "m.onnx", graph)
    mended = mend(file)
    assert len(mended.notes) == 2
    x = np.array([[1, 2]], np.float32)
    (y,) = run(mended.graph, xs=x)
    np.testing.assert_array_equal(y, -x)
    same_answers(file, {"xs": x}, {"ys": y})


def test_bfloat16_goes_in_and_out_as_float32(tmp_path: Path) -> None:
    kind = TensorProto.BFLOAT16
    nodes = [
        node("Cast", "x", "wide", to=FLOAT),
        node("Add", "wide wide", "twice"),
        node("Cast", "twice", "y", to=kind),
    ]
    file = saved(tmp_path / "m.onnx", model(nodes, {"x": (kind, ["n"])}, {"y": (kind, ["n"])}))
    mended = mend(file)
    x = np.array([1.0, 3.14159, -1e-3], np.float32)
    (y,) = run(mended.graph, x=x)
    rounded = bfloat16_to_float32(bfloat16(x))
    np.testing.assert_array_equal(y, 2 * rounded)
    assert y.dtype == np.float32 and not np.array_equal(rounded, x)
    same_answers(file, {"x": x}, {"y": y})


def divided(operator: str) -> onnx.ModelProto:
    return model([node(operator, "a b", "c")], {"a": (INT64, ["n"]), "b": (INT64, ["n"])}, {"c": (INT64, ["n"])})


@pytest.mark.parametrize("operator", ["Div", "Mod"])
def test_a_division_by_a_request_is_guarded(operator: str, tmp_path: Path) -> None:
    mended = mend(saved(tmp_path / "m.onnx", divided(operator)))
    assert mended.changed
    a, b = np.array([7, -7, LOWEST]), np.array([2, -1, 1])
    expected = [3, 7, LOWEST] if operator == "Div" else [1, 0, 0]
    assert run(mended.graph, a=a, b=b)[0].tolist() == expected
    for divisor in (0, -1):  # each would be SIGFPE, in this engine or in an older one
        with pytest.raises(Exception, match="out of data bounds"):
            run(mended.graph, a=np.array([LOWEST]), b=np.array([divisor]))


def test_a_division_in_a_branch_is_guarded_and_one_by_a_constant_is_not(tmp_path: Path) -> None:
    def branch(name: str, divisor: str) -> onnx.GraphProto:
        inner = [constant("two", 2), node("Div", f"a {divisor}", "q")]
        return helper.make_graph(inner, name, [], [helper.make_tensor_value_info("q", INT64, ["n"])])

    choice = node("If", "which", "c", then_branch=branch("then", "a"), else_branch=branch("else", "two"))
    graph = model([choice], {"which": (TensorProto.BOOL, []), "a": (INT64, ["n"])}, {"c": (INT64, ["n"])})
    mended = mend(saved(tmp_path / "m.onnx", graph))
    assert mended.notes == ["1 whole-number divisions by what a request says: a zero is refused"]
    assert run(mended.graph, which=np.array(True), a=np.array([5, 4]))[0].tolist() == [1, 1]
    assert run(mended.graph, which=np.array(False), a=np.array([5, 0]))[0].tolist() == [2, 0]


def test_floats_are_divided_as_they_were(tmp_path: Path) -> None:
    graph = model([node("Div", "a b", "c")], {"a": (FLOAT, ["n"]), "b": (FLOAT, ["n"])}, {"c": (FLOAT, ["n"])})
    assert not mend(saved(tmp_path / "m.onnx", graph)).changed


def test_a_graph_that_ends_the_process_which_infers_its_shapes_ends_no_other(tmp_path: Path) -> None:
    """As scikit-learn's converter writes a tree's decision path: ONNX 1.23 ends by a fault, ONNX Runtime runs it."""
    leaf = {"nodes_falsenodeids": [0], "nodes_truenodeids": [0], "nodes_featureids": [0], "nodes_values": [0.0]}
    leaf |= {"nodes_nodeids": [0], "nodes_treeids": [0], "target_ids": [0], "target_nodeids": [0]}
    leaf |= {"target_treeids": [0], "target_weights": [1.0], "n_targets": 1}
    words = {"keys_floats": [1.0], "values_strings": ["1"], "default_string": "0", "domain": "ai.onnx.ml"}
    nodes = [
        node("TreeEnsembleRegressor", "x", "leaf", domain="ai.onnx.ml", nodes_modes=["LEAF"], **leaf),
        node("LabelEncoder", "leaf", "word", **words),
        node("Reshape", "word shape", "y"),
    ]
    shape = np.array([-1, 1])
    graph = model(nodes, {"x": (FLOAT, ["n", 4])}, {"y": (TensorProto.STRING, ["n", 1])}, shape=shape)
    graph.opset_import[0].version, graph.opset_import[1].version = 5, 2
    mended = mend(saved(tmp_path / "m.onnx", graph))
    assert not mended.changed and not faults(mended.graph)
