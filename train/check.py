"""The data of a recipe, held against the model's signature and fields before anything is fitted to it."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from bentos.contract import Arrays, Data, Field, Model, Split, Tensor


class TrainingError(Exception):
    """A run whose data is wrong or whose model is not good enough to keep; the message names the figure."""


def check_data(model: Model, data: Data) -> None:
    """TrainingError names the part, the row, the column and the value that is not as the model says."""
    for part, split in (("train", data.train), ("held_out", data.held_out)):
        _check_split(model, split, f"data of load(): {part}")


def _check_split(model: Model, split: Split, where: str) -> None:
    targets, by_name = np.asarray(split.targets), isinstance(split.inputs, Mapping)
    names = [tensor.name for tensor in model.signature.inputs]
    if set(split.inputs if by_name else names[:1]) != set(names):
        members = ", ".join(map(str, split.inputs)) if by_name else "one array"
        raise TrainingError(
            f"{where}.inputs are {members}: the model takes {', '.join(names)}, an array of each by name"
        )
    for tensor, columns in model.columns_by_input:
        rows = split.inputs[tensor.name] if by_name else split.inputs
        name = f"{where}.inputs[{tensor.name!r}]" if by_name else f"{where}.inputs"
        if len(rows) != len(targets) or not len(rows):
            outer = name if by_name else where
            raise TrainingError(f"{outer} has {len(rows)} rows of inputs and {len(targets)} targets")
        _check_rows(tensor, rows, name)
        for column, field in enumerate(columns if model.preprocess is None else ()):
            values = rows.reshape(len(rows), -1)[:, column]
            _check_column(field, values, f"{name}, column {column} ({field.name})")
    if targets.dtype.kind == "f" and not np.isfinite(targets).all():
        place = int(np.flatnonzero(~np.isfinite(targets.reshape(len(targets), -1)).all(1))[0])
        raise TrainingError(f"{where}.targets[{place}] is {targets[place]}: every target must be a finite number")
    _check_classes(targets, len(model.labels), where)


def _check_rows(tensor: Tensor, rows: np.ndarray, name: str) -> None:
    if rows.dtype != tensor.dtype or tensor.batch_axis != 0 or not _fits(rows.shape[1:], tensor.sizes[1:]):
        wanted = "BYTES, which is text in an array of objects," if tensor.datatype == "BYTES" else tensor.datatype
        raise TrainingError(
            f"{name} are {rows.dtype} {list(rows.shape[1:])} a row,"
            f" the signature says {tensor.name} {wanted} {list(tensor.shape[1:])}"
        )


def _fits(shape: tuple[int, ...], sizes: tuple[int, ...]) -> bool:
    """Whether rows are of the sizes that the signature says; an open dimension has any."""
    return len(shape) == len(sizes) and all(size in (-1, own) for own, size in zip(shape, sizes, strict=True))


def _check_classes(targets: np.ndarray, n_labels: int, where: str) -> None:
    """The targets of a classifier are places in its labels."""
    wrong = (targets != np.rint(targets)) | (targets < 0) | (targets >= n_labels) if n_labels else np.zeros(0, bool)
    if wrong.any():
        place = int(wrong.argmax())
        raise TrainingError(
            f"{where}.targets[{place}] is {targets[place]}: a class must be a whole number from 0 to {n_labels - 1}"
        )


def _check_column(field: Field, values: np.ndarray, where: str) -> None:
    """A column outside its field's bounds is of another field, or in another unit."""
    if field.type is str:
        return _check_texts(field, values, where)
    wide = values.astype(np.float64)
    low, high = (float(values.dtype.type(bound)) for bound in (field.low, field.high))
    wrong = ~((wide >= low) & (wide <= high))
    if field.choices:
        wrong |= ~np.isin(wide, [*field.choices])
    elif field.type is not float:
        wrong |= wide != np.rint(wide)
    if field.nullable:
        wrong &= ~np.isnan(wide)
    if wrong.any():
        place = int(wrong.argmax())
        many = f" and {wrong.sum() - 1} more rows" if wrong.sum() > 1 else ""
        raise TrainingError(f"{where}: {values[place]:g} in row {place}{many}, the field takes {field.allowed()}")


def _check_texts(field: Field, values: np.ndarray, where: str) -> None:
    wrong = [place for place, value in enumerate(values.tolist()) if not field.allows(value)]
    if wrong:
        many = f" and {len(wrong) - 1} more rows" if len(wrong) > 1 else ""
        raise TrainingError(
            f"{where}: {values[wrong[0]]!r:.60} in row {wrong[0]}{many}, the field takes {field.allowed()}"
        )


def check_outputs(outputs: Arrays) -> None:
    """TrainingError where the fitted model gives no number for a held-out row."""
    for name, array in outputs.items():
        if array.dtype.kind == "f" and not np.isfinite(array).all():
            n_rows = int((~np.isfinite(array.reshape(len(array), -1))).any(1).sum())
            raise TrainingError(f"the fitted model gives {name} that are no finite numbers for {n_rows} held-out rows")
