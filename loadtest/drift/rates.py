"""The figures: how often a limit is passed though nothing has drifted, and how often when something has."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np

from loadtest.drift.chance import PSI, Reference, limit, looks

ROWS = (500, 1000, 5000, 10_000)  # in the window; below the first the rules tell nothing
SHIFTS = (0.25, 0.5, 0.75, 1.0)  # standard deviations
MONTH = 720  # windows of an hour


@dataclass(frozen=True)
class Rates:
    """Shares of the looks: above 0.2, and above the limit of the rules."""

    alone: float
    limited: float


@dataclass(frozen=True)
class Measured:
    """Everything about one model, or one quantity of it."""

    model: str
    references: list[Reference]
    false_alarms: dict[int, Rates]  # by rows in the window
    months: Rates  # trainings after which a month of the fewest rows has a false alarm
    power: dict[float, float]  # by shift, of the first quantity, at the fewest rows


def quantity(reference: Reference, count: int, random: np.random.Generator) -> tuple[Measured, dict[int, np.ndarray]]:
    """The figures of one quantity; and by rows which looks were alarms, with 0.2 alone and with the limit. (2, looks)

    The last look, by 0 rows, is a month: whether any of its windows was an alarm.
    """
    alarms = {rows: _alarms(reference, rows, count, random) for rows in ROWS}
    alarms[0] = _alarms(reference, ROWS[0], max(count // 10, 1), random, each=MONTH)
    power = {shift: float(_alarms(reference, ROWS[0], count, random, shift=shift)[1].mean()) for shift in SHIFTS}
    return _measured([reference], alarms, power), alarms


def _alarms(
    reference: Reference, rows: int, count: int, random: np.random.Generator, each: int = 1, shift: float = 0.0
) -> np.ndarray:
    limits = (PSI, limit(reference, rows))
    chunks = looks(reference, rows, count, random, each=each, shift=shift)
    return np.concatenate([np.stack([(values > above).any(1) for above in limits]) for values in chunks], axis=1)


def _measured(references: list[Reference], alarms: dict[int, np.ndarray], power: dict[float, float]) -> Measured:
    rates = {rows: Rates(*map(float, alarm.mean(1))) for rows, alarm in alarms.items()}
    months = rates.pop(0)
    return Measured(references[0].model, references, rates, months, power)


def measure(
    references: Iterable[Reference], count: int, tell: Callable[[str], None]
) -> tuple[list[Measured], list[Measured]]:
    """The figures of each model, and of each quantity. Quantities are drawn apart, as if they were independent."""
    random = np.random.default_rng(0)
    models: dict[str, tuple[list[Reference], dict[int, np.ndarray]]] = {}
    quantities = []
    for reference in references:
        tell(f"{reference.model} {reference.quantity}")
        measured, alarms = quantity(reference, count, random)
        quantities.append(measured)
        family, any_of = models.setdefault(reference.model, ([], {}))
        family.append(reference)
        for rows, which in alarms.items():
            any_of[rows] = any_of.get(rows, False) | which
    return [_measured(family, any_of, {}) for family, any_of in models.values()], quantities
