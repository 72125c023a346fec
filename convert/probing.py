"""A file tried in a process of its own, which it may end: what it takes and gives, as far as running it can tell."""

from __future__ import annotations

import multiprocessing
import resource
from collections.abc import Sequence
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto

from bentos.contract import BATCH, Arrays
from convert.artifacts import ConvertError
from convert.draws import draws
from convert.engine import options
from convert.graph import tensors
from convert.joining import Batch, dynamic_scale, find_batch, symbols
from convert.probe import SIZES, Dims, Port, Probe
from convert.same import same_answers
from convert.sample import fitted

SECONDS = 300.0
MAX_DIMENSION = 4096  # of a dimension that is tried because the graph stores something as long
MOST_DIMS = 8
MOST_CALLS = 4  # that are kept as golden ones


@dataclass(frozen=True)
class Findings:
    """What came of a trial."""

    inputs: dict[str, Dims]
    outputs: dict[str, Dims]
    dtypes: dict[str, np.dtype[Any]]  # of the outputs
    batched: bool
    reason: str  # why rows are not joined; empty where they are
    repeatable: bool
    gap: float  # the largest difference between rows together and alone
    calls: list[tuple[Arrays, Arrays]]  # (inputs, outputs)
    notes: list[str] = field(default_factory=list)


def probe(file: Path, original: Path | None = None, sample: Arrays | None = None) -> Findings:
    """Try a file, and hold it against the file it was made of. ConvertError says why it cannot be served.

    A whole-number division by zero or a fault in the engine ends the process that runs it, and not this one.
    """
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["convert.probing"])
    ours, theirs = context.Pipe()
    process = context.Process(target=_child, args=(theirs, file, original, sample))
    process.start()
    theirs.close()
    try:
        if not ours.poll(SECONDS):
            raise ConvertError(f"it took more than {SECONDS:.0f} s to answer a few small requests")
        result = ours.recv()
    except EOFError:
        process.join(10)
        raise ConvertError(
            f"it ends the process that runs it ({_ending(process.exitcode)}): a request could end the service"
        ) from None
    finally:
        process.kill()
        process.join()
    if isinstance(result, str):
        raise ConvertError(result)
    findings: Findings = result
    return findings


def _ending(code: int | None) -> str:
    return f"signal {-code}" if code is not None and code < 0 else f"exit {code}"


def _child(pipe: Connection, file: Path, original: Path | None, sample: Arrays | None) -> None:
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))  # if it ends by a fault, it ends at once
    try:
        pipe.send(investigate(file, original, sample))
    except ConvertError as error:
        pipe.send(str(error))
    except Exception as error:
        pipe.send(f"it cannot be tried: {type(error).__name__}: {' '.join(str(error).split())[:400]}")


def investigate(file: Path, original: Path | None, sample: Arrays | None) -> Findings:
    """As `probe`, in this process."""
    model = onnx.load(file)
    inputs, outputs = ports(model)
    session = open_session(file)
    names = [port.name for port in outputs]
    ways = {port.name: draws(model, port.name, port.dtype) for port in inputs}

    def call(arrays: Arrays) -> Arrays:
        return dict(zip(names, session.run(names, arrays), strict=True))

    rows = None if sample is None else fitted(sample, {p.name: (p.dtype, len(p.dims or ())) for p in inputs})
    trial = Probe(call, inputs, outputs, ways, rows, lengths(model))
    trial.settle()
    first = trial.observed[0][1]
    once, again = trial.call(first), trial.call(first)
    repeatable = all(_equal(once[name], again[name]) for name in once)
    changing = "" if repeatable else "its answers to one and the same request differ"
    batch = find_batch(trial, changing or dynamic_scale(model))
    single = trial.vary(symbols(trial, batch.inputs))
    notes = [f"{name}: only {trial.sizes[name]} was answered, of the sizes tried" for name in single]
    if original is not None and repeatable:
        for _, arrays, answers in trial.observed:
            same_answers(original, arrays, answers)
    return Findings(
        inputs={name: input_dims(dims, name, batch) for name, dims in trial.dims.items()},
        outputs={port.name: output_dims(trial, port, batch) for port in outputs},
        dtypes={name: array.dtype for name, array in once.items()},
        batched=bool(batch.inputs) and not batch.reason,
        reason=batch.reason,
        repeatable=repeatable,
        gap=batch.gap,
        calls=sorted(((arrays, answers) for _, arrays, answers in trial.observed), key=_size)[:MOST_CALLS],
        notes=notes,
    )


def lengths(model: onnx.ModelProto) -> list[int]:
    """Sizes that the graph stores, or stores something of: a traced model may take no other for a dimension."""
    stored = {int(dim) for tensor in tensors(model) for dim in tensor.dims}
    for tensor in tensors(model):
        if tensor.data_type == TensorProto.INT64 and np.prod(tensor.dims) <= MOST_DIMS:
            stored |= set(onnx.numpy_helper.to_array(tensor).ravel().tolist())
    return sorted(size for size in stored - set(SIZES) if 0 < size <= MAX_DIMENSION)


def open_session(file: Path) -> Any:
    """ONNX Runtime's session. ConvertError where it does not load the file"""
    import onnxruntime

    quiet = options()
    quiet.log_severity_level = 4  # it tells of every value that the model refuses
    try:
        return onnxruntime.InferenceSession(str(file), quiet, providers=["CPUExecutionProvider"])
    except Exception as error:
        raise ConvertError(f"ONNX Runtime does not load it: {' '.join(str(error).split())[:400]}") from error


def _size(call: tuple[Arrays, Arrays]) -> int:
    """Bytes of a call: what is small fits the golden file."""
    return sum(array.nbytes for side in call for array in side.values())


def _equal(one: np.ndarray, other: np.ndarray) -> bool:
    return one.shape == other.shape and bool(np.array_equal(one, other, equal_nan=one.dtype.kind == "f"))


def ports(model: onnx.ModelProto) -> tuple[list[Port], list[Port]]:
    """The inputs and outputs that the file declares. Nameless open dimensions are called by their place."""
    stored = {t.name for t in model.graph.initializer}
    return (
        [_port(v) for v in model.graph.input if v.name not in stored],
        [_port(v) for v in model.graph.output],
    )


def _port(value: onnx.ValueInfoProto) -> Port:
    tensor = value.type.tensor_type
    element = tensor.elem_type
    dtype = np.dtype(object) if element == TensorProto.STRING else onnx.helper.tensor_dtype_to_np_dtype(element)
    if not tensor.HasField("shape"):
        return Port(value.name, dtype, None)
    dims = [_dim(d, f"{value.name}.{axis}") for axis, d in enumerate(tensor.shape.dim)]
    return Port(value.name, dtype, tuple(dims))


def _dim(dim: Any, place: str) -> int | str:
    if dim.HasField("dim_value") and dim.dim_value > 0:
        return int(dim.dim_value)
    return str(dim.dim_param) if dim.dim_param not in ("", "?", "None") else place


def input_dims(dims: Dims, name: str, batch: Batch) -> Dims:
    """The dimensions of an input as its signature has them."""
    return tuple(BATCH if batch.inputs.get(name) == axis else public(d, name, axis) for axis, d in enumerate(dims))


def public(dim: int | str, name: str, axis: int) -> int | str:
    """An open dimension as people see it: its name where the file gives one, else −1; the first always has a name."""
    if dim != f"{name}.{axis}":
        return f"{dim}_" if dim == BATCH else dim
    return dim if axis == 0 else -1


def output_dims(trial: Probe, port: Port, batch: Batch) -> Dims:
    """The dimensions of an output: as the file says, where every answer was so; else what follows an input's, or −1."""
    shapes = [(sizes, answers[port.name].shape) for sizes, _, answers in trial.observed]
    n_dims = {len(shape) for _, shape in shapes}
    if len(n_dims) != 1:
        raise ConvertError(f"output {port.name!r} has {' or '.join(map(str, sorted(n_dims)))} dimensions, by request")
    declared = port.dims if port.dims is not None and len(port.dims) in n_dims else (None,) * n_dims.pop()
    dims: list[int | str] = []
    for axis, dim in enumerate(declared):
        observations = [(sizes, shape[axis]) for sizes, shape in shapes]
        if batch.outputs.get(port.name) == axis:
            dims.append(BATCH)
        elif isinstance(dim, int) and all(size == dim for _, size in observations):
            dims.append(dim)
        else:
            dims.append(_following(trial, observations, f"{port.name}.{axis}" if axis == 0 else -1))
    return tuple(dims)


def _following(trial: Probe, observations: Sequence[tuple[dict[str, int], int]], otherwise: int | str) -> int | str:
    """The named dimension of the inputs that has always had this size, where more than one size was seen."""
    named = {d for n, dims in trial.dims.items() for a, d in enumerate(dims) if isinstance(d, str) and d != f"{n}.{a}"}
    if len({size for _, size in observations}) > 1:
        for symbol in sorted(named):
            if all(sizes[symbol] == size for sizes, size in observations):
                return f"{symbol}_" if symbol == BATCH else symbol
    return otherwise
