"""How sure the fit is of what a worker can do: fitted to every round alone, and Student's interval over the rounds.

A machine's speed drifts, and all that is measured in a round shares its drift; so a round is one observation, and the
errors of the single rates, of which there are more, are not.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from loadtest.capacity.fit import fit_queue
from loadtest.capacity.measure import FEWEST, Measured
from loadtest.tune.verdict import Estimate, estimate


def saturation(measured: Measured) -> Estimate:
    """1/a in requests/s, with its 95 % interval over the rounds; not `known` of fewer than three rounds."""
    whole = [each for each in measured.rounds if len(each.points) >= FEWEST]
    return estimate([fit_queue(each.points, each.saturation, measured.idle).saturation for each in whole])


@dataclass(frozen=True)
class Replicas:
    """The fewest for a load, and the ends of their 95 % interval, whole numbers; low and high are 0 where unknown."""

    number: int
    low: int = 0
    high: int = 0

    def __str__(self) -> str:
        """`8 (7 to 9)`"""
        return f"{self.number} ({self.low} to {self.high})" if self.high else f"{self.number}"


def replicas(target: float, load: float, fitted: float, most: float, sure: Estimate) -> Replicas:
    """For a target in requests/s, if none gets more than this share of its saturation, nor more than `most`.

    `fitted` is 1/a of all rounds together; `sure` is by how much it differs from round to round.
    """

    def so_many(saturated: float) -> int:
        return math.ceil(target / min(load * saturated, most))

    if not sure.known:
        return Replicas(so_many(fitted))
    ends = fitted * sure.high / sure.mean, fitted * sure.low / sure.mean
    return Replicas(so_many(fitted), so_many(ends[0]), so_many(ends[1]))
