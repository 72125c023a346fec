"""An ONNX file of one's own: mended, tried, boxed; or refused with every reason at once."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import bentoml
import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from bentos import certificate as proof
from bentos import golden
from bentos.contract import Signature, Tensor
from convert.__main__ import main
from tests.certificates import stored_certificate

Shape = Sequence[int | str | None]


def written(
    path: Path,
    nodes: list[Any] | None = None,
    taken: Shape = ("n", 3),
    given: Shape = ("n", 2),
    element: int = TensorProto.FLOAT,
    domains: Sequence[str] = (),
) -> Path:
    """x → Y = x W + b, unless the nodes say otherwise."""
    random = np.random.default_rng(0)
    weights = [
        onnx.numpy_helper.from_array(random.random((3, 2), np.float32), "W"),
        onnx.numpy_helper.from_array(random.random(2, np.float32), "b"),
    ]
    graph = helper.make_graph(
        nodes or [helper.make_node("Gemm", ["x", "W", "b"], ["y"])],
        "mine",
        [helper.make_tensor_value_info("x", element, taken)],
        [helper.make_tensor_value_info("y", element, given)],
        weights,
    )
    opsets = [helper.make_opsetid("", 18), *(helper.make_opsetid(d, 1) for d in domains)]
    onnx.save(helper.make_model(graph, opset_imports=opsets, ir_version=10), path)
    return path


def test_a_good_file_is_boxed_with_what_serving_must_know(store: Path, tmp_path: Path) -> None:
    file = written(tmp_path / "my own.onnx")
    assert main(["import", str(file), "--name", "mine", "--title", "My own", "--labels", "no, yes"]) == 0
    stored = bentoml.models.get("mine-onnx:latest")
    assert stored.info.labels == {"model": "mine", "form": "onnx", "framework": "onnx", "ekiben": "form"}
    assert stored.info.metadata["model"] == {
        "title": "My own",
        "doc": "Imported from my own.onnx.",
    }
    certificate = proof.verify(stored_certificate(stored), Path(stored.path), "onnx")
    assert certificate.meaning.labels == ("no", "yes") and certificate.golden.rows == 3
    assert certificate.signature == Signature(
        (Tensor("x", "FP32", ("batch", 3)),), (Tensor("y", "FP32", ("batch", 2)),), batched=True, finite=False
    )
    assert Path(stored.path_of("model.onnx")).read_bytes() == file.read_bytes()


def test_a_second_import_changes_nothing(store: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = written(tmp_path / "my.onnx")
    for said in ("saved", "already in the store"):
        assert main(["import", str(file), "--name", "mine"]) == 0
        assert said in capsys.readouterr().out


def external(path: Path) -> Path:
    """Weights that are said to be in a file elsewhere on the machine."""
    graph = onnx.load(written(path))
    weights = graph.graph.initializer[0]
    weights.ClearField("raw_data")
    weights.data_location = TensorProto.EXTERNAL
    weights.external_data.add(key="location", value="../../etc/passwd")
    path.write_bytes(graph.SerializeToString())
    return path


def custom(path: Path) -> Path:
    return written(path, [helper.make_node("Mystery", ["x"], ["y"], domain="acme")], domains=["acme"])


def nested(path: Path) -> Path:
    """A custom operator inside a branch."""
    out = [helper.make_tensor_value_info("z", TensorProto.FLOAT, None)]
    branch = helper.make_graph([helper.make_node("Mystery", ["x"], ["z"], domain="acme")], "branch", [], out)
    nodes = [
        helper.make_node("Constant", [], ["c"], value=onnx.numpy_helper.from_array(np.array(True))),
        helper.make_node("If", ["c"], ["y"], then_branch=branch, else_branch=branch),
    ]
    return written(path, nodes, domains=["acme"])


def garbage(path: Path) -> Path:
    path.write_bytes(b"GIF89a, not a model")
    return path


def wide(path: Path) -> Path:
    return written(path, [helper.make_node("Identity", ["x"], ["y"])], ("n", 40_000, 40_000), ("n", 40_000, 40_000))


def swollen(path: Path) -> Path:
    """A few bytes that ask for four terabytes."""
    nodes = [
        helper.make_node("Constant", [], ["size"], value_ints=[1_000_000, 1_000_000]),
        helper.make_node("ConstantOfShape", ["size"], ["huge"]),
        helper.make_node("ReduceSum", ["huge"], ["zero"], keepdims=0),
        helper.make_node("Gemm", ["x", "W", "b"], ["g"]),
        helper.make_node("Add", ["g", "zero"], ["y"]),
    ]
    return written(path, nodes)


def complex_numbers(path: Path) -> Path:
    return written(path, [helper.make_node("Identity", ["x"], ["y"])], element=TensorProto.COMPLEX64)


def invalid(path: Path) -> Path:
    return written(path, [helper.make_node("Gemm", ["x", "nowhere"], ["y"])])


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (external, "external data"),
        (custom, "acme.Mystery"),
        (nested, "acme.Mystery"),
        (wide, "values a row"),
        (swollen, "over 268,435,456 values"),
        (complex_numbers, "is of COMPLEX64"),
        (invalid, "not valid ONNX"),
        (garbage, "no ONNX file"),
        (lambda p: p, "no such file"),
    ],
)
def test_what_cannot_be_served_is_refused_with_the_reason(
    make: Callable[[Path], Path], reason: str, store: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "inner").mkdir()
    file = make(tmp_path / "inner" / "my.onnx")
    assert main(["import", str(file), "--name", "mine"]) == 1
    assert reason in capsys.readouterr().err
    assert not bentoml.models.list()


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["--name", "Mine!"], "lower-case"),
        (["--name", "iris"], "taken by bentos/iris"),
        (["--name", "mine", "--labels", "a,b,c"], "3 labels for outputs of [2] columns"),
        (["--name", "mine", "--labels", "a,a"], "not all different"),
    ],
)
def test_names_and_labels_are_checked(
    arguments: list[str], reason: str, store: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["import", str(written(tmp_path / "my.onnx")), *arguments]) == 1
    assert reason in capsys.readouterr().err


def test_all_that_is_in_the_way_is_said_at_once(
    store: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = complex_numbers(tmp_path / "my.onnx")
    assert main(["import", str(file), "--name", "Mine!"]) == 1
    words = capsys.readouterr().err
    assert "lower-case" in words and "input 'x' is of COMPLEX64" in words and "output 'y' is of FLOAT" not in words


def test_the_name_is_the_files_where_none_is_said(store: Path, tmp_path: Path) -> None:
    assert main(["import", str(written(tmp_path / "My own-file.v2.onnx"))]) == 0
    assert [model.tag.name for model in bentoml.models.list()] == ["my_own_file_v2-onnx"]


def test_texts_are_golden_as_texts(store: Path, tmp_path: Path) -> None:
    nodes = [helper.make_node("Identity", ["x"], ["y"])]
    graph = onnx.load(written(tmp_path / "texts.onnx", nodes, given=("n", 3), element=TensorProto.STRING))
    graph.graph.output[0].type.tensor_type.elem_type = TensorProto.STRING
    onnx.save(graph, tmp_path / "texts.onnx")
    assert main(["import", str(tmp_path / "texts.onnx")]) == 0
    stored = bentoml.models.get("texts-onnx:latest")
    inputs, outputs = golden.read(Path(stored.path_of("golden.npz")))
    assert inputs["x"].shape == (1, 3) and all(isinstance(text, str) for text in inputs["x"].reshape(-1))
    assert (inputs["x"] == outputs["y"]).all()
