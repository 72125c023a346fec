"""What peers are asked: rows of each model and the answers of ONNX Runtime itself, in each server's language."""

from __future__ import annotations

import io
import random
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import orjson
from PIL import Image, ImageDraw, ImageFilter, ImageFont

from loadtest import v2
from loadtest.documents import CHECKOUT
from loadtest.workload import http_request, multipart

PAYLOADS = ("json", "v2-json", "v2-binary", "native", "picture", "grpc", "sentences")
COUNT = 64
TOLERANCE = 1e-4
# With heads of their own: more than any cache of heads should hold, fewer where bodies are large.
MIN_REQUESTS, MAX_REQUESTS, MAX_BYTES = 4096, 8192, 48 * 2**20
# Mean and spread in cm of sepal length and width, petal length and width, of the three species (Fisher, 1936).
IRISES = np.array(
    [
        [[5.01, 0.35], [3.43, 0.38], [1.46, 0.17], [0.25, 0.11]],
        [[5.94, 0.52], [2.77, 0.31], [4.26, 0.47], [1.33, 0.20]],
        [[6.59, 0.64], [2.97, 0.32], [5.55, 0.55], [2.03, 0.27]],
    ]
)
SPECIES = ["setosa", "versicolor", "virginica"]
FIELDS = ("sepal_length", "sepal_width", "petal_length", "petal_width")
MIN_TOKENS, MAX_TOKENS, MEAN_TOKENS = 4, 64, 15
WORDS = (1996, 29612)  # of BERT's vocabulary: whole words and their ends, no signs
START, END = 101, 102


@dataclass(frozen=True)
class Samples:
    """One model's inputs by the name of its input, and its outputs (n, …) for them by name.

    rows: (n, …) float32, or of sentences n arrays (tokens,) int64.
    """

    model: str
    input: str
    rows: np.ndarray | list[np.ndarray]
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


def sentences(count: int = 4 * COUNT) -> list[np.ndarray]:
    """Sentences as ids of MiniLM's word pieces, all different: most are short, some are long. (tokens,) int64 each."""
    draw = np.random.default_rng(2018)
    spread = draw.gamma(1.5, (MEAN_TOKENS - MIN_TOKENS) / 1.5, count).astype(int)
    lengths = np.minimum(MIN_TOKENS + spread, MAX_TOKENS)
    return [np.array([START, *draw.integers(*WORDS, length - 2), END]) for length in lengths]


MAKERS: dict[str, tuple[str, Callable[[], np.ndarray | list[np.ndarray]]]] = {
    "iris": ("features", irises),
    "digits": ("image", digits),
    "sentences": ("ids", sentences),
}


def sample(model: str, onnx: Path) -> Samples:
    """The inputs of a model and the answers of its file, computed one by one as the servers are asked."""
    import onnxruntime

    name, make = MAKERS[model]
    session = onnxruntime.InferenceSession(str(onnx))
    rows = make()
    answers = [session.run(None, {name: row[None]}) for row in rows]
    columns = [np.concatenate(column) for column in zip(*answers, strict=True)]
    return Samples(model, name, rows, dict(zip((o.name for o in session.get_outputs()), columns, strict=True)))


def stored_onnx(model: str) -> Path:
    """The file in the BentoML store: asked of a Python of its own, for this room imports nothing of the project."""
    query = f"import bentoml; print(bentoml.models.get('{model}-onnx:latest').path_of('model.onnx'))"
    done = subprocess.run([sys.executable, "-c", query], cwd=CHECKOUT, capture_output=True, text=True)
    if done.returncode:
        how = "see examples/models/README.md" if model == "sentences" else "run `make models`"
        raise SystemExit(f"no {model}-onnx in the BentoML store: {how}, or say --onnx {model}=PATH")
    return Path(done.stdout.split()[-1])


def body(dialect: str, samples: Samples, place: int, own_id: str = "") -> tuple[dict[str, str], bytes]:
    """Headers and body that ask for one sample. own_id: V2's id in JSON, or the boundary of a form."""
    row = samples.rows[place]
    if dialect in ("v2", "v2-binary"):
        return v2.encode({samples.input: row[None]}, dialect == "v2-binary", own_id if dialect == "v2" else "")
    if dialect == "picture":
        return multipart("image", [("file", png(row.tobytes()))], own_id or "ekiben-peers")
    document: dict[str, Any] = {samples.input: row.ravel()}
    if dialect == "bentoml":  # a batch of one: a batchable method takes and gives batches
        document = {samples.input: row.reshape(1, -1)}
    elif dialect == "fields":  # as people write them: 5.1, not the 5.099999904632568 that the same bits are as a double
        document = {name: float(str(value)) for name, value in zip(FIELDS, row.ravel(), strict=False)}
    return {"Content-Type": v2.JSON}, orjson.dumps(document, option=orjson.OPT_SERIALIZE_NUMPY)


@lru_cache(maxsize=2 * COUNT)
def png(pixels: bytes) -> bytes:
    """A digit, 28 × 28 float32 in [0, 1], as a picture of 140 × 140."""
    grey = (np.frombuffer(pixels, np.float32).reshape(28, 28) * 255).round().astype(np.uint8)
    picture = Image.fromarray(grey).resize((140, 140))
    stream = io.BytesIO()
    picture.save(stream, "PNG")
    return stream.getvalue()


def infer_request(model: str, name: str, rows: np.ndarray) -> bytes:
    """A ModelInferRequest with raw contents."""
    from tritonclient.grpc import service_pb2

    request = service_pb2.ModelInferRequest(model_name=model, raw_input_contents=[rows.tobytes()])
    request.inputs.add(name=name, datatype="FP32", shape=rows.shape)
    return bytes(request.SerializeToString())


def infer_outputs(message: bytes) -> dict[str, Any]:
    """The outputs of a ModelInferResponse, raw or typed. ValueError"""
    from google.protobuf.message import DecodeError
    from tritonclient.grpc import service_pb2

    try:
        answer = service_pb2.ModelInferResponse.FromString(message)
    except DecodeError as error:
        raise ValueError(str(error)) from None
    if answer.raw_output_contents:
        pairs = zip(answer.outputs, answer.raw_output_contents, strict=True)
        return {output.name: np.frombuffer(raw, v2.DTYPES[output.datatype]) for output, raw in pairs}
    return {o.name: np.array(o.contents.fp32_contents or o.contents.int64_contents) for o in answer.outputs}


def outputs(dialect: str, text: bytes, headers: Mapping[str, str]) -> dict[str, Any]:
    """The outputs in an answer by name. ValueError, KeyError, IndexError, TypeError"""
    if dialect in ("v2", "v2-binary"):
        return dict(v2.decode(text, headers)[1])
    if dialect == "grpc":
        return infer_outputs(text)
    answer = orjson.loads(text)
    if dialect == "bentoml":
        return dict(answer[0]) if isinstance(answer[0], dict) else {"logits": answer[0]}
    if dialect == "fields":
        probabilities = answer["probabilities"]
        return {"label": SPECIES.index(answer["label"]), "probabilities": [probabilities[name] for name in SPECIES]}
    if dialect == "picture":
        return {"probabilities": [answer["probabilities"][digit] for digit in sorted(answer["probabilities"])]}
    return dict(answer)


def fault(
    dialect: str, expected: Mapping[str, np.ndarray], text: bytes, headers: Mapping[str, str] | None = None
) -> str:
    """What is wrong with a 200's body, or nothing; a constant answer is always right."""
    if dialect == "constant":
        return ""
    try:
        answer = outputs(dialect, text, headers or {})
        shaped = {name: np.asarray(answer[name]).reshape(right.shape) for name, right in expected.items()}
        return v2.difference(shaped, expected, TOLERANCE)
    except (ValueError, KeyError, IndexError, TypeError) as error:
        return f"unreadable ({error!r}): {text[:120].decode(errors='replace')}"


def requests(dialect: str, samples: Samples, port: int, path: str, heads: str) -> list[bytes]:
    """Whole requests to be sent in turn: with one head, or each with heads of its own as an ingress adds them."""
    if heads == "fixed":
        return [http_request(port, path, *body(dialect, samples, place)) for place in range(len(samples.rows))]
    draw = random.Random(f"{dialect} {samples.model}")  # noqa: S311
    size = len(http_request(port, path, *body(dialect, samples, 0))) + 400
    count = min(MAX_REQUESTS, max(MIN_REQUESTS, MAX_BYTES // size))
    whole = []
    for place in range(count):
        own_id = f"{draw.getrandbits(128):032x}"
        headers, content = body(dialect, samples, place % len(samples.rows), own_id)
        whole.append(http_request(port, path, ingress_heads(draw) | headers, content))
    return whole


def ingress_heads(draw: random.Random) -> dict[str, str]:
    """What ingress-nginx adds, and the trace context of OpenTelemetry: values that no other request has."""
    client = f"10.{draw.randrange(256)}.{draw.randrange(256)}.{draw.randrange(1, 255)}"
    return {
        "X-Request-ID": f"{draw.getrandbits(128):032x}",
        "X-Real-IP": client,
        "X-Forwarded-For": client,
        "X-Forwarded-Host": "models.example.org",
        "X-Forwarded-Port": "443",
        "X-Forwarded-Proto": "https",
        "traceparent": f"00-{draw.getrandbits(128):032x}-{draw.getrandbits(64):016x}-01",
    }
