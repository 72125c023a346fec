"""What a recipe's `fit` gave, on disk and in use: how each framework saves, loads and runs it.

Frameworks are imported when a function needs one, so that importing this module costs nothing.
"""

from __future__ import annotations

import hashlib
import importlib
import io
import json
import re
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from bentos.certificate import plain
from bentos.contract import Arrays, Model, Signature
from bentos.meaning import Meaning

FILES = {"pytorch": "weights.safetensors", "sklearn": "model.skops"}
# Whose classes skops may construct beside what it trusts by itself (NumPy, SciPy and scikit-learn's public estimators):
# the parts that scikit-learn's own estimators are made of.
TRUSTED = (
    "sklearn._loss",
    "sklearn.calibration",
    "sklearn.compose",
    "sklearn.ensemble",
    "sklearn.feature_selection",
    "sklearn.gaussian_process",
    "sklearn.isotonic",
    "sklearn.linear_model",
    "sklearn.metrics._dist_metrics",
    "sklearn.neighbors",
    "sklearn.neural_network",
    "sklearn.preprocessing",
    "sklearn.tree",
    "sklearn.utils._bunch",
)
EPOCH = (1980, 1, 1, 0, 0, 0)


class UnreadableError(Exception):
    """A file that its framework does not read back; the message says what is in the way."""


def save(framework: str, trained: Any, path: Path) -> None:
    """Write the trained object; the same weights give the same bytes."""
    if framework == "pytorch":
        from safetensors.torch import save_file

        save_file({name: tensor.contiguous().cpu() for name, tensor in trained.state_dict().items()}, path)
    else:
        import skops.io

        path.write_bytes(canonical(skops.io.dumps(trained)))


def load(model: Model, framework: str, path: Path) -> Any:
    """The trained object, from weights into the model's network, or from skops with an allow list; never pickle.

    UnreadableError where skops does not trust what the file holds.
    """
    if framework == "pytorch":
        from safetensors.torch import load_file

        module, _, name = model.network.partition(":")
        network = getattr(importlib.import_module(module), name)()
        network.load_state_dict(load_file(path))
        return network.eval()
    return load_skops(path)


def load_skops(path: Path) -> Any:
    """What a skops file holds. UnreadableError names the types in it that are neither skops's to trust nor ours."""
    import skops.io

    types = skops.io.get_untrusted_types(file=path)
    if strange := sorted(name for name in types if not of_sklearn(name)):
        raise UnreadableError(
            f"{path.name} holds {', '.join(strange)}, which skops does not trust: it may hold scikit-learn's own"
            " estimators, and NumPy's and SciPy's arrays"
        )
    return skops.io.load(path, trusted=types)


def of_sklearn(name: str) -> bool:
    """Whether a name is that of a class which scikit-learn itself defines, in one of the modules that are trusted."""
    module, _, attribute = name.rpartition(".")
    if not any(f"{module}.".startswith(f"{trusted}.") for trusted in TRUSTED):
        return False
    try:
        kind = getattr(importlib.import_module(module), attribute, None)
    except ImportError:
        return False
    return isinstance(kind, type) and f"{kind.__module__}.".startswith("sklearn.")


def predictor(model: Model, framework: str, trained: Any) -> Callable[[Arrays], Arrays]:
    """Named input tensors → named output tensors as the signature says, from a trained object."""
    run = {"pytorch": _run_pytorch, "sklearn": _run_sklearn}[framework]
    return lambda inputs: run(model.signature, trained, inputs)


def version(path: Path, model: Model) -> str:
    """A number that follows from the weights, the signature and the meaning: all forms of one training run share it.

    A number since Triton's clients take versions for numbers: perf_analyzer finds no statistics of another.
    """
    digest = hashlib.sha256(path.read_bytes())
    digest.update(json.dumps(plain([model.signature, Meaning.of(model)]), sort_keys=True).encode())
    return numbered(digest.digest())


def numbered(digest: bytes) -> str:
    """A version from a digest: its first 48 bits in decimal."""
    return str(int.from_bytes(digest[:6]))


def _run_pytorch(signature: Signature, trained: Any, inputs: Arrays) -> Arrays:
    import torch

    trained.eval()
    with torch.inference_mode():
        outputs = trained(*(torch.from_numpy(np.ascontiguousarray(inputs[t.name])) for t in signature.inputs))
    arrays = outputs if isinstance(outputs, tuple) else (outputs,)
    return {t.name: array.numpy() for t, array in zip(signature.outputs, arrays, strict=True)}


def _run_sklearn(signature: Signature, trained: Any, inputs: Arrays) -> Arrays:
    (batch,) = inputs.values()
    calls = {"probabilities": trained.predict_proba} if hasattr(trained, "predict_proba") else {}
    return {
        t.name: np.asarray(calls.get(t.name, trained.predict)(batch), t.dtype).reshape(len(batch), *t.shape[1:])
        for t in signature.outputs
    }


def canonical(skops_bytes: bytes) -> bytes:
    """The same skops file with object ids and file names by order, and no dates: as dumped, both are of the process."""
    source = zipfile.ZipFile(io.BytesIO(skops_bytes))
    schema = source.read("schema.json").decode()
    numbers: dict[str, str] = {}

    def number(match: re.Match[str]) -> str:
        return match[1] + numbers.setdefault(match[2], str(len(numbers)))

    schema = re.sub(r'("__id__": )(\d+)', number, schema)
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as packed:
        files = {f: f"{i}{Path(f).suffix}" for i, f in enumerate(re.findall(r'"file": "([^"]+)"', schema))}
        for old, new in files.items():
            packed.writestr(_dateless(new), source.read(old))
        schema = re.sub(r'("file": ")([^"]+)', lambda m: m[1] + files[m[2]], schema)
        packed.writestr(_dateless("schema.json"), json.dumps(json.loads(schema)))
    return target.getvalue()


def _dateless(name: str) -> zipfile.ZipInfo:
    info = zipfile.ZipInfo(name, EPOCH)
    info.compress_type = zipfile.ZIP_DEFLATED
    return info
