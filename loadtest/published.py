"""python -m loadtest.published FILE…: files of other people's, imported, served, and asked by 8 clients.

Each is imported by `python -m convert import` into a store made for it. Every client sends requests of mixed sizes,
every other one as JSON, and holds each answer against what ONNX Runtime gives for the published file, asked alone.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from loadtest import v2
from loadtest.documents import CHECKOUT, Section, command_line, table
from loadtest.service import ServiceError, ServiceProcess, run_command, serve

CLIENTS = 8
TABLE = Section(CHECKOUT / "docs" / "models.md", "published")
HEADS = ("file", "signature", "requests are", "largest difference", "requests/s")
SETTINGS = {"EKIBEN_MAX_LATENCY_MS": "60000"}  # a machine of few cores answers late, and is not asked how late
TOLERANCE = 1e-4
Call = tuple[v2.Tensors, v2.Tensors]


def main() -> int:
    """Import, serve and ask each file; 1 if one was not imported, or answered otherwise than ONNX Runtime."""
    parser = command_line("loadtest.published", __doc__)
    parser.add_argument("files", nargs="+", type=Path, metavar="FILE")
    parser.add_argument("--seconds", type=float, default=3.0, help="that each is asked for (default: 3)")
    parser.add_argument("--write", action="store_true", help="write the table into docs/models.md")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="ekiben-published-") as folder:
        os.environ["BENTOML_HOME"] = folder
        imported = [import_file(file, place) for place, file in enumerate(options.files)]
        with serve("service:Ekiben", SETTINGS, Path(folder) / "log").wait_healthy() as service:
            rows = [row(service, each, Path(folder), options.seconds) for each in imported]
    text = table(HEADS, rows)
    print(text)
    if options.write:
        TABLE.replace(text)
    return int(any(not cells[3] or float(cells[3]) > TOLERANCE for cells in rows))


@dataclass(frozen=True)
class Imported:
    """A file, the name that it is served under, and what `convert import` said."""

    file: Path
    name: str
    said: str
    refusal: str


def import_file(file: Path, place: int) -> Imported:
    """Import one file."""
    name = f"m{place}_" + re.sub(r"[^a-z0-9]+", "_", file.stem.lower())
    command = [sys.executable, "-m", "convert", "import", str(file), "--name", name]
    process = subprocess.run(command, cwd=CHECKOUT, capture_output=True, text=True, check=False)
    return Imported(file, name, process.stdout, " ".join(process.stderr.split()) if process.returncode else "")


def row(service: ServiceProcess, of: Imported, home: Path, seconds: float) -> tuple[str, ...]:
    """The cells of a file's row."""
    if of.refusal:
        return of.file.name, "", f"not imported: {of.refusal[:120]}", "", ""
    signature = of.said.splitlines()[0].partition("saved: ")[2].replace("|", "/")
    joined = "joined" if "requests are joined" in of.said else "one call each"
    stored = next((home / "models" / f"{of.name}-onnx").glob("*/golden.npz"), None)
    try:
        calls = requests(of.file, stored)
    except Exception as error:
        return of.file.name, f"`{signature}`", f"{joined}, not compared: {' '.join(str(error).split())[:120]}", "", ""
    try:
        largest, rate = ask(service, of.name, calls, seconds)
    except (ServiceError, ValueError) as error:
        return of.file.name, f"`{signature}`", f"not served: {str(error)[:120]}", "", ""
    return of.file.name, f"`{signature}`", joined, f"{largest:.1e}", f"{rate:,.0f}"


def requests(file: Path, golden: Path | None) -> list[Call]:
    """Inputs of several sizes, and what ONNX Runtime gives for the published file, each asked alone."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(str(file), options, providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]
    sequences = {port.name for port in session.get_inputs() if port.type.startswith("seq")}
    calls = []
    for inputs in kept(golden) if golden else drawn(session):
        fed = {name: [value] if name in sequences else value for name, value in inputs.items()}
        answer = zip(names, session.run(names, fed), strict=True)
        calls.append((inputs, {name: columns(output) for name, output in answer}))
    return calls


def kept(golden: Path) -> list[v2.Tensors]:
    """The inputs of an import's golden calls."""
    calls: dict[str, v2.Tensors] = {}
    with np.load(golden, allow_pickle=False) as arrays:
        for key, array in arrays.items():
            side, _, tensor = key.partition(":")
            if side.startswith("input"):
                calls.setdefault(side, {})[tensor] = texts(array) if array.dtype.kind == "S" else array
    return list(calls.values())


def drawn(session: Any) -> list[v2.Tensors]:
    """Floats for a model whose import kept no calls, because they are large: one row each."""
    draw, ports = np.random.default_rng(0), session.get_inputs()
    sizes = {port.name: [d if isinstance(d, int) else 1 for d in port.shape] for port in ports}
    return [{name: draw.random(shape, np.float32) for name, shape in sizes.items()} for _ in range(3)]


def texts(stored: np.ndarray) -> np.ndarray:
    """Texts of a golden file, which has a full stop after each."""
    decoded = [text.decode()[:-1] for text in stored.ravel()]
    return np.array(decoded, object).reshape(stored.shape)


def columns(output: Any) -> np.ndarray:
    """A tensor; of ZipMap's list of dictionaries, a column a class; of a sequence of one tensor, that tensor."""
    if isinstance(output, list) and isinstance(output[0], np.ndarray):
        return np.asarray(output[0])
    if isinstance(output, list):
        return np.array([list(row.values()) for row in output], np.float32)
    return np.asarray(output)


def ask(service: ServiceProcess, name: str, calls: Sequence[Call], seconds: float) -> tuple[float, float]:
    """The largest difference of any answer, in shares of the largest value, and requests a second."""
    until = time.monotonic() + seconds

    def client(first: int) -> tuple[float, int]:
        largest, count = 0.0, 0
        while time.monotonic() < until:
            inputs, expected = calls[(first + count) % len(calls)]
            headers, body = v2.encode(inputs, binary=bool(count % 2))
            answered, text = service.request(f"/v2/models/{name}/infer", body, headers)
            _, outputs = v2.decode(text, answered)
            largest = max(largest, *(difference(outputs[key], value) for key, value in expected.items()))
            count += 1
        return largest, count

    with ThreadPoolExecutor(CLIENTS) as pool:
        results = list(pool.map(client, range(CLIENTS)))
    return max(largest for largest, _ in results), sum(count for _, count in results) / seconds


def difference(actual: np.ndarray, expected: np.ndarray) -> float:
    """In shares of the largest value; infinite where shapes, texts or whole numbers differ."""
    if actual.shape != expected.shape:
        return np.inf
    if expected.dtype.kind != "f":
        return 0.0 if (actual == expected).all() else np.inf
    gap = np.abs(np.nan_to_num(actual) - np.nan_to_num(expected)).max(initial=0.0)
    return float(gap / max(1e-30, np.abs(np.nan_to_num(expected)).max(initial=0.0)))


if __name__ == "__main__":
    run_command(main)
