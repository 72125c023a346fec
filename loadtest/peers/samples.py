"""What is asked, and what is right: 64 different inputs per model, and ONNX Runtime itself called on them."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFilter, ImageFont

from loadtest.peers.peer import CHECKOUT

COUNT = 64
# Mean and spread in cm of sepal length and width, petal length and width, of the three species (Fisher, 1936).
IRISES = np.array(
    [
        [[5.01, 0.35], [3.43, 0.38], [1.46, 0.17], [0.25, 0.11]],
        [[5.94, 0.52], [2.77, 0.31], [4.26, 0.47], [1.33, 0.20]],
        [[6.59, 0.64], [2.97, 0.32], [5.55, 0.55], [2.03, 0.27]],
    ]
)


@dataclass(frozen=True)
class Samples:
    """One model's inputs (n, …) float32 by the name of its input, and its outputs for them by name."""

    model: str
    input: str
    rows: np.ndarray
    outputs: dict[str, np.ndarray]


def irises(count: int = COUNT) -> np.ndarray:
    """Flowers of all three species, measured to the millimetre. (n, 4) float32."""
    draw = np.random.default_rng(1936)
    means, spreads = np.moveaxis(IRISES[np.arange(count) % 3], 2, 0)
    return np.maximum(draw.normal(means, spreads), 0.1).round(1).astype(np.float32)


def digits(count: int = COUNT) -> np.ndarray:
    """Digits as a scan would give them: shifted, soft at the edges, in 256 greys over 255. (n, 1, 28, 28) float32."""
    draw = np.random.default_rng(1998)
    font = ImageFont.load_default(size=24)
    pictures = []
    for place in range(count):
        picture = Image.new("L", (28, 28))
        corner = (7 + int(draw.integers(-2, 3)), int(draw.integers(-2, 3)))
        ImageDraw.Draw(picture).text(corner, str(place % 10), fill=int(draw.integers(200, 256)), font=font)
        pictures.append(np.asarray(picture.filter(ImageFilter.GaussianBlur(0.6))))
    return (np.stack(pictures)[:, None] / 255).astype(np.float32)


MAKERS = {"iris": ("features", irises), "digits": ("image", digits)}


def samples(model: str, onnx: Path) -> Samples:
    """The inputs of a model and the answers of its file, computed one by one as the servers are asked."""
    import onnxruntime

    name, make = MAKERS[model]
    session = onnxruntime.InferenceSession(str(onnx))
    rows = make()
    answers = [session.run(None, {name: row[None]}) for row in rows]
    columns = [np.concatenate(column) for column in zip(*answers, strict=True)]
    outputs = dict(zip((output.name for output in session.get_outputs()), columns, strict=True))
    return Samples(model, name, rows, outputs)


def stored(model: str) -> Path:
    """The file in the BentoML store: asked of a Python of its own, for this room imports nothing of the project."""
    ask = f"import bentoml; print(bentoml.models.get('{model}-onnx:latest').path_of('model.onnx'))"
    done = subprocess.run([sys.executable, "-c", ask], cwd=CHECKOUT, capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(f"no {model}-onnx in the BentoML store: run `make models`, or say --onnx {model}=PATH")
    return Path(done.stdout.split()[-1])
