"""Models are data, never code: what the store holds, what may load it, and what is refused at the door."""

import ast
import io
import json
import re
import urllib.error
import urllib.request
import zipfile

import numpy as np
import onnx
import pytest
import skops.io
import yaml

from bentos import contract, golden, trained
from bentos.certificate import file_sha256, seal
from bentos.contract import Signature, Tensor
from bentos.frameworks import sklearn
from convert import graph
from serving.errors import EngineError
from serving.inference.onnx_files import check_onnx
from serving.inference.warm_up import most_rows
from tests.conftest import ROOT, copied_home
from tests.convert.test_import_onnx import custom, external, garbage, nested, written

FILES = {"model.onnx", "model.skops", "weights.safetensors", "golden.npz", "model.yaml"}
PICKLE = re.compile(rb"\x80[\x02-\x05]")  # what pickle.dumps begins with since protocol 2
EXECUTING = {"pickle", "cPickle", "_pickle", "joblib", "cloudpickle", "dill", "marshal", "shelve"}
ROOMS = ("bentos", "serving", "train", "convert")


def stored(store, pattern):
    found = sorted((store / "models").glob(f"*/*/{pattern}"))
    assert found
    return found


def test_the_store_holds_data_of_known_kinds(store):
    for file in stored(store, "*"):
        assert file.name in FILES, file
        assert not PICKLE.match(file.read_bytes()[:2]), file


def test_a_skops_file_holds_json_and_arrays_of_numbers(store):
    for file in stored(store, "*.skops"):
        with zipfile.ZipFile(file) as packed:
            for name in packed.namelist():
                if name == "schema.json":
                    json.loads(packed.read(name))
                else:  # allow_pickle is off, so that an array of objects would raise
                    assert not np.load(io.BytesIO(packed.read(name)), allow_pickle=False).dtype.hasobject
        assert all(map(sklearn.of_sklearn, skops.io.get_untrusted_types(file=file)))


def test_golden_rows_are_arrays_of_numbers(store):
    for file in stored(store, "golden.npz"):
        assert file.stat().st_size <= golden.MAX_BYTES
        assert not any(array.dtype.hasobject for side in golden.read(file) for array in side.values())


def test_no_room_imports_what_runs_code_from_data():
    for path in [p for room in ROOMS for p in (ROOT / room).rglob("*.py")] + [ROOT / "service.py"]:
        for node in ast.walk(ast.parse(path.read_text())):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            assert not {name.split(".")[0] for name in names} & EXECUTING, path
            if not isinstance(node, ast.Call):
                continue
            called = ast.unparse(node.func)
            assert called not in {"eval", "exec", "yaml.load", "compile"}, path
            if called == "torch.load":  # of numbers alone
                assert "weights_only=True" in [ast.unparse(keyword) for keyword in node.keywords], path


class Stranger:
    """A type that nobody trusts."""

    def __init__(self):
        self.weight = 1.0


def test_a_skops_file_with_a_type_of_ones_own_is_refused(tmp_path):
    file = tmp_path / "model.skops"
    file.write_bytes(skops.io.dumps(Stranger()))
    with pytest.raises(trained.UnreadableError, match=r"test_supply\.Stranger, which skops does not trust"):
        trained.load(contract.model("iris"), "sklearn", file)


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (external, "external data"),
        (custom, "acme.Mystery"),
        (nested, "acme.Mystery"),
        (garbage, "no ONNX file"),
        (lambda path: written(path), None),
    ],
)
def test_an_onnx_file_is_read_before_it_is_run(make, reason, tmp_path):
    file = make(tmp_path / "model.onnx")
    if reason is None:
        return check_onnx(file)
    with pytest.raises(EngineError, match=reason):
        check_onnx(file)


def test_every_stored_onnx_file_passes_and_the_onnx_package_agrees(store):
    for file in stored(store, "model.onnx"):
        check_onnx(file)
        graph.check(onnx.load(file, load_external_data=False))


def test_shapes_that_no_machine_holds_are_refused():
    wide = Signature((Tensor("x", "FP32", (-1, 40_000, 40_000)),), (Tensor("y", "FP32", (-1, 2)),))
    with pytest.raises(EngineError, match=r"x of shape .* takes 6.0 GiB for one row; 1 GiB is the limit"):
        most_rows(wide)


def test_a_batch_is_lowered_to_what_fits():
    wide = Signature((Tensor("x", "FP32", (-1, 4, 1024, 1024)),), (Tensor("y", "FP32", (-1, 2)),))
    assert most_rows(wide) == 64
    assert most_rows(Signature(wide.inputs, (Tensor("y", "FP64", (-1, 4, 1024, 1024)),))) == 32


def issued(home, model, make):
    """Replace a stored model's file, with a certificate that holds: who can write the store can issue one."""
    (folder,) = [found for found in (home / "models" / model).iterdir() if found.is_dir()]
    file = make(folder / "model.onnx")
    described = yaml.safe_load((folder / "model.yaml").read_text())
    certificate = described["metadata"]["certificate"]
    certificate["file"]["sha256"] = file_sha256(file)
    certificate["seal"] = seal(certificate)
    (folder / "model.yaml").write_text(yaml.safe_dump(described))


def test_the_service_refuses_them_with_the_reason_and_goes_on_with_the_rest(store, serve, tmp_path):
    home = copied_home(store, tmp_path, "iris-onnx", "wine-onnx", "homes-onnx")
    issued(home, "iris-onnx", external)
    issued(home, "wine-onnx", custom)
    with serve(home) as server:
        found = {}
        for model in ("iris", "wine", "homes"):
            try:
                with urllib.request.urlopen(f"{server.url}/{model}/random", timeout=120) as answer:  # noqa: S310
                    found[model] = answer.status
            except urllib.error.HTTPError as error:
                found[model] = error.code
        with urllib.request.urlopen(f"{server.url}/health", timeout=120) as health:  # noqa: S310
            words = health.read().decode()
    assert found["homes"] == 200
    assert found["iris"] != 200 != found["wine"]
    assert "external data" in words
    assert "acme.Mystery" in words
