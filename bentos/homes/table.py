"""A CSV file of listings: the model's fields by name, in any order, and `price`. Checked row by row."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np

from bentos.contract import Field
from bentos.homes.model import FIELDS, MODEL

PRICE = Field("price", "what the flat was listed at", 1, 1e12, None, MODEL.unit)
MIN_ROWS = 100
TOLD = 10  # problems listed in an error
YES_NO = {"true": 1.0, "false": 0.0, "yes": 1.0, "no": 0.0, "1": 1.0, "0": 0.0, "1.0": 1.0, "0.0": 0.0}


def read(path: Path) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Features (n, 15) float32, prices (n,), buildings (n,). ValueError names the row, the column and the value."""
    with path.open(newline="", encoding="utf-8-sig") as file:
        reader = csv.DictReader(file, strict=True)
        wanted = [*FIELDS, PRICE]
        columns(path, list(reader.fieldnames or ()), wanted)
        rows, problems = [], list[str]()
        for row in reader:
            values, complaints = parse(row, wanted, reader.line_num)
            rows.append(values)
            problems += complaints
            if len(problems) >= TOLD:
                break
    if problems:
        raise ValueError(f"{path}: " + "; ".join(problems[:TOLD]))
    if len(rows) < MIN_ROWS:
        raise ValueError(f"{path} has {len(rows)} rows of listings, training needs {MIN_ROWS}")
    table = np.array(rows, np.float64)
    building = [f.name for f in FIELDS].index("building_id")
    return table[:, :-1].astype(np.float32), table[:, -1], table[:, building].astype(int)


def columns(path: Path, there: list[str], wanted: list[Field]) -> None:
    """ValueError names columns that are missing or stand there twice; others are left alone."""
    if missing := [f.name for f in wanted if f.name not in there]:
        raise ValueError(f"{path} lacks {', '.join(missing)} among its columns {', '.join(there)}")
    if twice := sorted({name for name in there if there.count(name) > 1}):
        raise ValueError(f"{path} has the column {twice[0]} more than once")


def parse(row: dict[str, str], wanted: list[Field], line: int) -> tuple[list[float], list[str]]:
    """One row's values in the order of the fields, and what is wrong with it."""
    values: dict[str, float] = {}
    problems = []
    for field in wanted:
        try:
            values[field.name] = number(field, (row[field.name] or "").strip())
        except ValueError:
            text = row[field.name] or ""
            problems.append(f"row {line}, column {field.name}: {text!r} is not {field.allowed()}")
    for lesser, greater in MODEL.payload.at_most if not problems else ():  # type: ignore[union-attr]
        if values[lesser] > values[greater]:
            problems.append(f"row {line}, column {lesser}: {values[lesser]:g} is above {greater}, {values[greater]:g}")
    return list(values.values()), problems


def number(field: Field, text: str) -> float:
    """A cell as the model takes it: NaN where a nullable one is empty. ValueError if it is not allowed."""
    if field.nullable and text.lower() in ("", "null", "nan", "none"):
        return float("nan")
    if text in field.codes:
        return float(field.codes[text])
    value = YES_NO[text.lower()] if field.type is bool and text.lower() in YES_NO else float(text)
    whole = field.type is float or value.is_integer()
    if not whole or not field.low <= value <= field.high or (field.choices and value not in field.choices):
        raise ValueError
    return value
