"""Sessions: what an engine says goes to nobody's terminal."""

import numpy as np
import pytest

from bentos.contract import Signature, Tensor
from serving.inference.sessions import OnnxSession
from tests.survival import hostile

SIGNATURE = Signature(inputs=(Tensor("x", "FP32", (-1, 1)),), outputs=(Tensor("y", "FP32", (-1, 1)),))


def test_an_engine_that_throws_writes_no_line_of_its_own(tmp_path, capfd):
    session = OnnxSession(hostile.throwing(tmp_path / "model.onnx"), SIGNATURE, 1)
    with pytest.raises(Exception, match="Gather"):
        session.run([np.array([[99]], np.float32)])
    assert capfd.readouterr() == ("", "")
