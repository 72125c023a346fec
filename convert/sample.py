"""Rows that an importer gives of a model's data: arrays by input, or a table of columns."""

from __future__ import annotations

import csv
import zipfile
from pathlib import Path

import numpy as np

from bentos.contract import Arrays
from convert.artifacts import ConvertError

TABLE = "table"  # the name of the rows of a table, whatever the one input is called
TARGET = "target"  # the column, or the array, of what should come out
MOST_ROWS = 10_000  # that are read of a table
TRIED_ROWS = 256  # that a file is tried with
MOST_COLUMNS = 64  # of a table that are watched by their names


def read_sample(file: Path) -> Arrays:
    """Arrays by name. A table is one array of its columns, `table`, and each column by its name. ConvertError"""
    if not file.is_file():
        raise ConvertError(f"there is no file {file}")
    try:
        if file.suffix == ".npz":
            with np.load(file, allow_pickle=False) as stored:
                return {name: stored[name] for name in stored.files}
        return _columns(_parquet(file) if file.suffix in (".parquet", ".pq") else _csv(file))
    except (ValueError, OSError, zipfile.BadZipFile, csv.Error) as error:
        raise ConvertError(f"{file} cannot be read as rows: {error}") from error


def _csv(file: Path) -> dict[str, list[str]]:
    with file.open(newline="") as lines:
        reader = csv.DictReader(lines)
        rows = [row for _, row in zip(range(MOST_ROWS), reader, strict=False)]
        return {name: [row[name] or "" for row in rows] for name in reader.fieldnames or ()}


def _parquet(file: Path) -> dict[str, list[object]]:
    try:
        from pyarrow import parquet
    except ModuleNotFoundError:
        raise ConvertError(f"{file} needs pyarrow: pip install pyarrow, or give it as .csv or .npz") from None
    columns: dict[str, list[object]] = parquet.read_table(file).slice(0, MOST_ROWS).to_pydict()
    return columns


def _columns(columns: dict[str, list[str]] | dict[str, list[object]]) -> Arrays:
    arrays: Arrays = {name: _column(list(values)) for name, values in columns.items()}
    inputs = [array for name, array in arrays.items() if name != TARGET]
    if inputs and all(array.dtype.kind == "f" for array in inputs):
        arrays[TABLE] = np.stack(inputs, 1)
    return arrays


def columns(sample: Arrays | None) -> list[str]:
    """The names of a table's columns, where it is one of numbers; too many are no names that anybody watches."""
    if sample is None or TABLE not in sample:
        return []
    names = [name for name in sample if name not in (TABLE, TARGET)]
    return names if len(names) <= MOST_COLUMNS else []


def first_rows(sample: Arrays | None) -> Arrays | None:
    """As much of a sample as a file is tried with, where its arrays are of so many rows."""
    if sample is None or len({len(array) if array.ndim else -1 for array in sample.values()}) != 1:
        return sample
    return {name: array[:TRIED_ROWS] if array.ndim else array for name, array in sample.items()}


def _column(values: list[object]) -> np.ndarray:
    """Numbers where all are, empty ones being NaN; else texts."""
    try:
        return np.array([np.nan if v in ("", None) else float(str(v)) for v in values])
    except ValueError:
        texts = np.empty(len(values), object)
        texts[:] = ["" if v is None else str(v) for v in values]
        return texts


def fitted(sample: Arrays, inputs: dict[str, tuple[np.dtype[np.generic], int]]) -> Arrays:
    """The sample as a file's inputs take it, of which type and number of dimensions. ConvertError names what lacks."""
    if TABLE in sample and len(inputs) == 1:
        sample = dict.fromkeys(inputs, sample[TABLE])
    if missing := sorted(set(inputs) - set(sample)):
        raise ConvertError(f"the sample lacks {', '.join(missing)}: it has {', '.join(sorted(sample))}")
    rows = {}
    for name, (dtype, ndim) in inputs.items():
        array = sample[name]
        rows[name] = (array[:, None] if array.ndim == 1 and ndim == 2 else array).astype(dtype)
    return rows
