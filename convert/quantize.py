"""Static 8-bit ONNX: weights per channel, activations by the range that calibration rows give them."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

import onnx
from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static
from onnxruntime.quantization.shape_inference import quant_pre_process

from bentos.contract import Arrays
from convert import graph

CALIBRATION_BATCH = 16


def in_batches(rows: Arrays) -> Iterator[Arrays]:
    """Calibration rows in small batches."""
    total = len(next(iter(rows.values())))
    for start in range(0, total, CALIBRATION_BATCH):
        yield {name: values[start : start + CALIBRATION_BATCH] for name, values in rows.items()}


class CalibrationCalls(CalibrationDataReader):  # type: ignore[misc]  # which has no types
    """Inputs, call by call."""

    def __init__(self, calls: Iterator[Arrays]) -> None:
        self.calls = calls

    def get_next(self) -> Arrays | None:
        """The next batch, None after the last; ONNX Runtime asks."""
        return next(self.calls, None)


def quantize(source: Path, target: Path, calibration: Iterator[Arrays]) -> None:
    """Write the int8 form of an ONNX file; `calibration` are the inputs of calls.

    Weights keep 7 of 8 bits (`reduce_range`): without VNNI, 8-bit products summed in pairs saturate, and the figures
    that were certified here would not hold on an older CPU.
    """
    with tempfile.TemporaryDirectory() as folder:
        prepared = Path(folder) / "prepared.onnx"
        quant_pre_process(str(source), str(prepared), skip_symbolic_shape=True)
        quantize_static(
            str(prepared),
            str(target),
            CalibrationCalls(calibration),
            quant_format=QuantFormat.QDQ,
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
            per_channel=True,
            reduce_range=True,
        )
    graph.write(graph.tidy(onnx.load(target)), target)
