"""Files told apart by their bytes, whatever they are called; and what is said of those that are no data."""

import gzip
import json
import pickle
import zipfile
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path

import joblib
import numpy as np
import onnx
import pytest
import safetensors.numpy
import torch
from sklearn.linear_model import Ridge

from convert.artifacts import ConvertError
from convert.foreign import Network, arguments, read
from convert.formats import ADVICE, kind
from tests.convert.graphs import FLOAT, model, node

DATA = Path(__file__).parent / "data"
WEIGHTS = {"w": np.ones((2, 3), np.float32)}


def packed(*names: str) -> Callable[[Path], object]:
    def write(path: Path) -> None:
        with zipfile.ZipFile(path, "w") as archive:
            for name in names:
                archive.writestr(name, b"")

    return write


FILES: list[tuple[str, Callable[[Path], object]]] = [
    ("onnx", lambda p: onnx.save(model([node("Neg", "x", "y")], {"x": (FLOAT, [1])}, {"y": (FLOAT, [1])}), p)),
    ("lightgbm", lambda p: p.write_bytes((DATA / "lightgbm_binary.txt").read_bytes())),
    ("xgboost", lambda p: p.write_bytes((DATA / "xgboost_binary.json").read_bytes())),
    ("xgboost", lambda p: p.write_bytes((DATA / "xgboost_classes.ubj").read_bytes())),
    ("safetensors", lambda p: safetensors.numpy.save_file(WEIGHTS, p)),
    ("state dict", lambda p: torch.save(OrderedDict(w=torch.ones(2)), p)),
    ("whole module", lambda p: torch.save(torch.nn.Linear(2, 3), p)),
    ("torchscript", packed("net/data.pkl", "net/constants.pkl", "net/code/net.py")),
    ("pt2", packed("net/archive_format", "net/models/model.json")),
    ("skops", packed("schema.json")),
    ("keras", packed("metadata.json", "config.json", "model.weights.h5")),
    ("pickle", lambda p: p.write_bytes(pickle.dumps(Ridge()))),
    ("joblib", lambda p: joblib.dump(Ridge().fit([[0.0], [1.0]], [0, 1]), p)),
    ("joblib", lambda p: joblib.dump(Ridge(), p, compress=3)),
    ("joblib", lambda p: p.write_bytes(gzip.compress(pickle.dumps(Ridge())))),
    ("catboost", lambda p: p.write_bytes(b"CBM1 and more")),
    ("gguf", lambda p: p.write_bytes(b"GGUF and more")),
    ("tflite", lambda p: p.write_bytes(b"\x1c\0\0\0TFL3 and more")),
    ("xgboost binary", lambda p: p.write_bytes(b"binf and more")),
    ("pmml", lambda p: p.write_bytes(b"<?xml version='1.0'?><PMML>")),
]


@pytest.mark.parametrize(("expected", "write"), FILES)
def test_a_file_is_told_by_its_bytes(expected: str, write: Callable[[Path], object], tmp_path: Path) -> None:
    file = tmp_path / "model.bin"
    write(file)
    assert kind(file) == expected
    if expected in ADVICE:
        with pytest.raises(ConvertError, match="it is "):
            read(file, Network(), None)


def test_a_pickle_is_told_and_never_read(tmp_path: Path) -> None:
    class Trap:
        def __reduce__(self) -> tuple[Callable[..., object], tuple[str]]:
            return open, (str(tmp_path / "sprung"), "w")  # type: ignore[return-value]

    (tmp_path / "trap.pkl").write_bytes(pickle.dumps(Trap()))
    torch.save({"w": Trap()}, tmp_path / "trap.pt")
    for name, words in (("trap.pkl", "skops"), ("trap.pt", "state_dict")):
        with pytest.raises(ConvertError, match=words):
            read(tmp_path / name, Network(), None)
    assert not (tmp_path / "sprung").exists()


def test_a_folder_of_hugging_face_is_told_how_to_become_onnx(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "bert"}))
    with pytest.raises(ConvertError, match=r"torch\.onnx\.export"):
        read(tmp_path, Network(), None)


def test_weights_want_their_network(tmp_path: Path) -> None:
    safetensors.numpy.save_file(WEIGHTS, tmp_path / "w.safetensors")
    with pytest.raises(ConvertError, match="--network module:make"):
        read(tmp_path / "w.safetensors", Network(), None)
    with pytest.raises(ConvertError, match="--network nowhere:make: ModuleNotFoundError"):
        read(tmp_path / "w.safetensors", Network("nowhere:make"), {"x": np.ones((1, 3), np.float32)})
    with pytest.raises(ConvertError, match=r"its weights are not those of torch\.nn:Linear"):
        read(
            tmp_path / "w.safetensors",
            Network("torch.nn:Linear", arguments('{"in_features": 3, "out_features": 2}')),
            {"x": np.ones((1, 3), np.float32)},
        )
    with pytest.raises(ConvertError, match="--args is not JSON"):
        arguments("width=3")
