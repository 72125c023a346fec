"""What chance makes of PSI: rows drawn from the distribution that training's rows were drawn from, again and again.

That distribution is not known; training only had a sample of it. What the sample leaves open is Dirichlet's: between
order statistics of a sample lies a share of the whole that is distributed so (the coverages of S. S. Wilks,
Mathematical Statistics, 1962), whatever the distribution. So each look draws a distribution that may have given this
training, and from it the rows that come in.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from math import sqrt
from statistics import NormalDist
from urllib.request import urlopen

import numpy as np

from loadtest.stages import samples

# As deploy/prometheus/rules/drift.yml has them; a test holds them together.
PSI = 0.2
EMPTY = 1e-4
SURE = 4.265

AT_ONCE = 2_000_000  # looks × bins held in memory
SHARES, ROWS = "ekiben_drift_reference_ratio", "ekiben_drift_reference_rows"


class NoReference(Exception):
    """The service does not say what its models were trained on."""


@dataclass(frozen=True)
class Reference:
    """One quantity at training: shares of the bins in their order, `missing` last, that add up to 1."""

    model: str
    quantity: str
    shares: np.ndarray  # (bins,)
    rows: int

    @property
    def filled(self) -> int:
        """Bins that training had rows in."""
        return int((self.shares > 0).sum())


def read_references(url: str) -> list[Reference]:
    """The references of a running service. NoReference if it does not answer, or has none."""
    try:
        with urlopen(f"{url}/metrics", timeout=10) as answer:  # noqa: S310 - the operator's own address
            text = answer.read().decode()
    except (OSError, ValueError) as error:
        raise NoReference(f"{url}/metrics: {error}") from None
    if references := parse(text):
        return references
    raise NoReference(f"{url}/metrics has no {SHARES} and {ROWS}: no model there was trained with a reference")


def parse(text: str) -> list[Reference]:
    """The references in a scrape, by model and quantity."""
    shares: dict[tuple[str, str, str], dict[str, float]] = {}
    rows: dict[tuple[str, str, str], float] = {}
    for sample in samples(text):
        if sample.name in (SHARES, ROWS):
            key = (sample.labels["model"], sample.labels["version"], sample.labels["quantity"])
            if sample.name == ROWS:
                rows[key] = sample.value
            else:
                shares.setdefault(key, {})[sample.labels["bin"]] = sample.value
    return [_reference(key, shares[key], rows[key]) for key in sorted(shares.keys() & rows.keys())]


def _reference(key: tuple[str, str, str], shares: dict[str, float], rows: float) -> Reference:
    values = np.array([shares[name] for name in sorted(shares, key=lambda name: (name == "missing", name))])
    return Reference(key[0], key[2], values / values.sum(), int(rows))


def psi(observed: np.ndarray, expected: np.ndarray) -> np.ndarray:
    """Σ (p − q) ln(p / q) over the last axis. (…, bins), (bins,) → (…)"""
    p, q = np.maximum(observed, EMPTY), np.maximum(expected, EMPTY)
    return ((p - q) * np.log(p / q)).sum(-1)


def limit(reference: Reference, rows: int) -> float:
    """The PSI above which the alert fires, with this many rows in the window."""
    degrees = max(reference.filled - 1, 1)
    quantile = degrees * (1 - 2 / (9 * degrees) + SURE * sqrt(2 / (9 * degrees))) ** 3
    return max(PSI, (1 / rows + 1 / reference.rows) * quantile)


def looks(
    reference: Reference, rows: int, count: int, random: np.random.Generator, *, each: int = 1, shift: float = 0.0
) -> Iterator[np.ndarray]:
    """PSI of windows of `rows` rows: `count` trainings, `each` windows after every one. Chunks of (trainings, each).

    `shift` moves what comes in by so many standard deviations, were the quantity a normal one; classes in their order.
    """
    filled = reference.shares > 0
    moved = shifted(reference.shares, shift)[filled] / reference.shares[filled]
    chunk = max(1, AT_ONCE // (each * len(filled)))
    for start in range(0, count, chunk):
        trainings = min(chunk, count - start)
        truth = np.zeros((trainings, len(filled)))
        truth[:, filled] = random.dirichlet(reference.shares[filled] * reference.rows, trainings) * moved
        truth /= truth.sum(1, keepdims=True)
        observed = random.multinomial(rows, truth[:, None, :], (trainings, each)) / rows
        yield psi(observed, reference.shares)


def shifted(shares: np.ndarray, by: float) -> np.ndarray:
    """The shares of bins once a normal quantity has moved up by so many standard deviations; `missing` stays."""
    normal, missing = NormalDist(), shares[-1]
    if missing == 1:
        return shares
    upper = np.cumsum(shares[:-1]) / (1 - missing)
    edges = [normal.inv_cdf(edge) for edge in upper[:-1].clip(1e-12, 1 - 1e-12)]
    below = np.array([0.0, *(normal.cdf(edge - by) for edge in edges), 1.0])
    return np.append(np.diff(below) * (1 - missing), missing)
