"""scikit-learn: an estimator or a pipeline as skops, which is JSON and arrays; never pickle."""

from __future__ import annotations

import importlib
import io
import json
import re
import zipfile
from pathlib import Path
from typing import Any

import numpy as np

from bentos.contract import Arrays, Model, Signature, table
from bentos.frameworks import UnreadableError

FILE = "model.skops"
LIBRARIES = ("scikit-learn", "skops")
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


def save(fitted: Any, path: Path) -> None:
    """The estimator; the same one gives the same bytes."""
    import skops.io

    path.write_bytes(canonical(skops.io.dumps(fitted)))


def load(model: Model, path: Path) -> Any:
    """The estimator. UnreadableError where skops does not trust what the file holds."""
    return load_skops(path)


def run(signature: Signature, fitted: Any, inputs: Arrays) -> Arrays:
    """Probabilities by `predict_proba`, everything else by `predict`, of the columns of all inputs side by side."""
    batch = table({t.name: inputs[t.name] for t in signature.inputs})
    calls = {"probabilities": fitted.predict_proba} if hasattr(fitted, "predict_proba") else {}
    return {
        t.name: np.asarray(calls.get(t.name, fitted.predict)(batch), t.dtype).reshape(len(batch), *t.sizes[1:])
        for t in signature.outputs
    }


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
