"""What the generator is told to do, and what it found: both travel between processes, as JSON and as NumPy's npz."""

from __future__ import annotations

import io
import json
from dataclasses import dataclass, field
from typing import Any

import numpy as np


@dataclass(frozen=True)
class Load:
    """One load on one address.

    rate: Poisson arrivals a second; 0 is a closed loop, in which every connection asks again once it is answered.
    warmup, seconds: what is not measured, and what is. patience: seconds after the last request to wait for answers.
    """

    host: str
    port: int
    rate: float
    connections: int
    seconds: float
    warmup: float = 0.5
    patience: float = 1.5
    seed: int = 0


@dataclass
class Shot:
    """What came of a load: one entry per request of the measured time, in the order of intended sending.

    elapsed: seconds of the whole load, warm-up and waiting for the last answers too. statuses: of all its requests.
    due: seconds since the measured time began; latency: seconds from due to the answer, inf where none or not 200;
    late: seconds from due until the generator took the request up.
    """

    seconds: float
    elapsed: float
    due: np.ndarray
    latency: np.ndarray
    late: np.ndarray
    statuses: dict[str, int] = field(default_factory=dict)
    checked: int = 0
    wrong: int = 0
    first_wrong: str = ""

    @property
    def answered(self) -> int:
        return int(np.isfinite(self.latency).sum())

    @property
    def achieved(self) -> float:
        """Requests answered within the measured time, a second."""
        return int((self.due + self.latency <= self.seconds).sum()) / self.seconds

    def quantile(self, share: float) -> float:
        """Seconds within which this share was answered; inf if so many were not."""
        if not len(self.latency):
            return float("inf")
        return float(np.quantile(self.latency, share, method="inverted_cdf"))

    def packed(self) -> bytes:
        said = {name: value for name, value in vars(self).items() if not isinstance(value, np.ndarray)}
        stream = io.BytesIO()
        np.savez(stream, due=self.due, latency=self.latency, late=self.late, said=json.dumps(said))
        return stream.getvalue()

    @classmethod
    def unpacked(cls, data: bytes) -> Shot:
        with np.load(io.BytesIO(data)) as held:
            said: dict[str, Any] = json.loads(str(held["said"]))
            return cls(due=held["due"], latency=held["latency"], late=held["late"], **said)
