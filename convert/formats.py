"""Which kind of file somebody gives, told by its bytes; for kinds that are no data, the lines that make them so."""

from __future__ import annotations

import io
import json
import pickletools
import zipfile
from pathlib import Path

from convert.artifacts import ConvertError

HEAD = 4096
# What a state dict may be made of, as torch.load(weights_only=True) allows; anything else is code that wants to be run.
WEIGHTS = ("collections.OrderedDict", "torch._utils._rebuild", "torch.storage", "torch.FloatStorage")
SKLEARN = """from skops.io import dump; dump(model, "model.skops")        # then: import model.skops"""
TORCH = """torch.export.save(torch.export.export(model.eval(), (example,),
      dynamic_shapes={"x": {0: torch.export.Dim("batch")}}), "model.pt2")   # then: import model.pt2
  or: torch.save(model.state_dict(), "weights.pt")                          # with --network module:make"""
ADVICE = {
    "pickle": f"a pickle, which runs code when it is read. Where it was made, write\n  {SKLEARN}",
    "joblib": f"a joblib file, which runs code when it is read. Where it was made, write\n  {SKLEARN}",
    "torchscript": f"TorchScript, which PyTorch no longer develops. From the same network, write\n  {TORCH}",
    "whole module": f"a whole pickled module, which runs code when it is read. Where it was made, write\n  {TORCH}",
    "hugging face": "a Hugging Face folder, which is weights without the code that they are for. Write\n"
    '  model, ids = AutoModel.from_pretrained("FOLDER", torchscript=True).eval(), torch.ones(2, 16, dtype=int)\n'
    '  torch.onnx.export(model, (ids, ids), "model.onnx", input_names=["input_ids", "attention_mask"], dynamo=True,\n'
    '      dynamic_shapes=({0: "batch", 1: "sequence"},) * 2)                       # then: import model.onnx',
    "catboost": "CatBoost's own format. Write\n"
    '  model.save_model("model.onnx", format="onnx")                                 # then: import model.onnx',
    "keras": "a Keras model. Write\n"
    '  model.export("model.onnx", format="onnx")                                     # then: import model.onnx',
    "tflite": "TensorFlow Lite. Convert the model that it was made of: python -m tf2onnx.convert --saved-model DIR\n"
    "  --output model.onnx                                                           # then: import model.onnx",
    "gguf": "GGUF, the weights of a language model for llama.cpp, which has a server of its own",
    "pmml": "PMML, which no engine here runs. Export the estimator it was made of: skops, or skl2onnx",
    "xgboost binary": "XGBoost's old binary format. Write\n"
    '  booster.save_model("model.ubj")                                               # then: import model.ubj',
}


def kind(path: Path) -> str:
    """`onnx`, `lightgbm`, `xgboost`, `pt2`, `skops`, `safetensors`, `state dict`; or a key of ADVICE. ConvertError"""
    if path.is_dir():
        if (path / "config.json").is_file():
            return "hugging face"
        raise ConvertError("it is a folder: name the file in it")
    if not path.is_file():
        raise ConvertError("there is no such file")
    with path.open("rb") as file:
        head = file.read(HEAD)
    if head.startswith(b"PK\x03\x04"):
        return _zipped(path)
    return _plain(head, path)


def _plain(head: bytes, path: Path) -> str:
    stripped = head.lstrip()
    if head.startswith(b"tree\n") and b"version=" in head:
        return "lightgbm"
    if stripped.startswith(b"{") and b"learner" in head:  # JSON, or UBJSON, which begins alike
        return "xgboost"
    if head[8:10] == b'{"' and 2 <= int.from_bytes(head[:8], "little") < path.stat().st_size:
        return "safetensors"
    signatures = {b"binf": "xgboost binary", b"CBM1": "catboost", b"\x89HDF": "keras", b"GGUF": "gguf"}
    if head[:4] in signatures:
        return signatures[head[:4]]
    if head[4:8] == b"TFL3":
        return "tflite"
    if stripped.startswith(b"<") and b"PMML" in head:
        return "pmml"
    if head[:1] == b"\x80" and head[1:2] in b"\x02\x03\x04\x05":
        return "joblib" if b"joblib" in head else "pickle"
    if head[:2] in (b"\x78\x01", b"\x78\x5e", b"\x78\x9c", b"\x78\xda", b"\x1f\x8b", b"BZ") or head[:5] == b"\xfd7zXZ":
        return "joblib"
    return "onnx"


def _zipped(path: Path) -> str:
    try:
        archive = zipfile.ZipFile(path)
    except zipfile.BadZipFile as error:
        raise ConvertError(f"it is a broken zip file: {error}") from error
    names = [name.partition("/")[2] or name for name in archive.namelist()]
    whole = archive.namelist()
    if "schema.json" in whole:
        return "skops"
    if "model.weights.h5" in whole:
        return "keras"
    if "archive_format" in names or "serialized_exported_program.json" in whole:
        return "pt2"
    if "constants.pkl" in names:
        return "torchscript"
    if "data.pkl" in names:
        return "state dict" if _is_weights(archive.read(whole[names.index("data.pkl")])) else "whole module"
    raise ConvertError(f"it is a zip file of {', '.join(whole[:3])}, which is no model that is known here")


def _is_weights(pickled: bytes) -> bool:
    """Whether a pickle names nothing but tensors and dictionaries; it is read, and not run."""
    texts: list[str] = []
    for operation, argument, _ in pickletools.genops(io.BytesIO(pickled)):
        if operation.name == "GLOBAL":
            if not str(argument).replace(" ", ".").startswith(WEIGHTS) and not _is_storage(str(argument)):
                return False
        elif operation.name == "STACK_GLOBAL":
            if len(texts) < 2 or not f"{texts[-2]}.{texts[-1]}".startswith(WEIGHTS):
                return False
        elif isinstance(argument, str):
            texts.append(argument)
    return True


def _is_storage(name: str) -> bool:
    module, _, attribute = name.partition(" ")
    return module == "torch" and (attribute.endswith("Storage") or attribute == "Size")


def json_of(path: Path) -> object:
    """A JSON file. ConvertError where it is none"""
    try:
        return json.loads(path.read_bytes())
    except ValueError as error:
        raise ConvertError(f"it begins as JSON and is none: {error}") from error
