"""A queue whose server takes everybody who waits as one batch: what this service is, with one worker.

Requests arrive by Poisson, λ a second; a batch of n takes a·n + b seconds. Y. Inoue, "Queueing analysis of GPU-based
inference servers with dynamic batching: a closed-form characterization", Performance Evaluation 147, 2021
(arXiv:1912.06322), gives the bound of the mean latency; with b = 0 and batches of one it would be M/D/1's.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.optimize import brentq
from scipy.stats import poisson

TRUNCATED = 96  # requests of a batch that the chain of batch sizes tells apart: engine calls take 64 rows


@dataclass(frozen=True)
class BatchQueue:
    """a, b: seconds of a request and of a batch."""

    a: float
    b: float

    def latency(self, rate: float) -> float:
        """Mean seconds in the system, an upper bound that is close to the exact value; inf where it is unstable."""
        if rate * self.a >= 1:
            return float("inf")
        load, a, b = rate * self.a, self.a, self.b
        few = (a + b) / (2 * (1 - load)) * (1 + 2 * rate * b + (1 - rate * b) / (1 + load))
        many = 1.5 * b / (1 - load) + a / 2 * (load + 2) / (1 - load * load)
        return min(few, many)

    def batch(self, rate: float) -> float:
        """Mean requests of a batch: the stationary mean of the chain in which the next batch is who came meanwhile."""
        sizes = np.arange(1, TRUNCATED + 1)
        came = rate * (self.a * sizes + self.b)
        steps = poisson.pmf(np.arange(TRUNCATED + 1)[None, :], came[:, None])
        steps[:, 1] += steps[:, 0]  # nobody came: the next batch is the next to come, alone
        steps = steps[:, 1:]
        steps[:, -1] += 1 - steps.sum(axis=1)
        balance = steps.T - np.eye(TRUNCATED)
        balance[-1] = 1  # one equation says nothing that the others do not: the shares add up to 1 instead
        return float(np.linalg.solve(balance, np.eye(TRUNCATED)[-1]) @ sizes)

    def utilisation(self, rate: float) -> float:
        """Share of the time in which it is busy."""
        return rate * self.a + rate / self.batch(rate) * self.b

    def rate_at(self, utilisation: float) -> float:
        """Requests a second at which it is busy for this share of the time."""
        return float(brentq(lambda rate: self.utilisation(rate) - utilisation, 1e-6, 0.999 / self.a))
