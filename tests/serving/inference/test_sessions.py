"""What engines refuse, in words that a client may read."""

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from bentos import trained
from bentos.contract import BATCH, Model, Signature, Tensor
from serving.inference.sessions import OnnxSession, Refused, TrainedSession

SIGNATURE = Signature((Tensor("i", "INT64", (BATCH,)),), (Tensor("y", "FP32", (BATCH,)),))


def test_onnx_runtime_says_what_is_out_of_range_and_nothing_of_its_source(tmp_path: Path) -> None:
    graph = helper.make_graph(
        [helper.make_node("Gather", ["table", "i"], ["y"])], "g",
        [helper.make_tensor_value_info("i", TensorProto.INT64, ["batch"])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["batch"])],
        [onnx.numpy_helper.from_array(np.arange(10, dtype=np.float32), "table")],
    )  # fmt: skip
    file = tmp_path / "model.onnx"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9), file)
    session = OnnxSession(file, SIGNATURE, 1)
    assert session.run([np.array([3, 9])])[0].tolist() == [3, 9]
    with pytest.raises(Refused, match=r"^indices element out of data bounds, idx=99 must be within .*\[-10,9\]$"):
        session.run([np.array([3, 99])])
    with pytest.raises(Refused, match=r"^Invalid rank for input: i"):
        session.run([np.array([[3]])])


def test_a_trained_form_refuses_what_its_framework_does(monkeypatch: pytest.MonkeyPatch) -> None:
    def predict(inputs: Any) -> Any:
        return {"y": np.arange(10, dtype=np.float32)[inputs["i"]]}

    monkeypatch.setattr(trained, "load", lambda *_: None)
    monkeypatch.setattr(trained, "predictor", lambda *_: predict)
    session = TrainedSession(Model("m", "M", "", "v", None, SIGNATURE), "sklearn", Path("none"), 1)
    assert session.run([np.array([3])])[0].tolist() == [3]
    with pytest.raises(Refused, match="index 99 is out of bounds for axis 0 with size 10"):
        session.run([np.array([99])])
