"""A load of requests at planned times, what came of it, and the generator that runs it in a process of its own.

That is an open loop: requests are sent whether or not earlier ones were answered, and a latency counts from the
intended time, so that a service which stands still is charged for everybody who would have come meanwhile (G. Tene's
"coordinated omission"). A closed loop, in which each connection asks again once it is answered, is called one.
"""

from __future__ import annotations

import pickle
import subprocess
import sys
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field

import numpy as np

from loadtest.documents import CHECKOUT
from loadtest.service import ServiceError

UNANSWERED, BROKEN = -1, 0  # in place of a status


@dataclass(frozen=True)
class Burst:
    """Poisson arrivals at `rate` a second for so many seconds."""

    rate: float
    seconds: float


@dataclass(frozen=True)
class Load:
    """One load on a service.

    rate: Poisson arrivals a second; 0 is a closed loop. connections: 0 opens one for each request. warmup, seconds:
    what is not measured, and what is. patience: seconds after the last request to wait for answers. bursts: what
    follows after `seconds`, at rates of their own.
    """

    rate: float
    connections: int
    seconds: float
    warmup: float = 0.5
    patience: float = 1.5
    seed: int = 0
    bursts: tuple[Burst, ...] = ()

    @property
    def measured_seconds(self) -> float:
        """Of the first rate and of the bursts."""
        return self.seconds + sum(burst.seconds for burst in self.bursts)

    def arrivals(self) -> np.ndarray:
        """Times of a Poisson process over warm-up, measured time and bursts, in seconds from the start. (n,)

        Given its count, which would else differ by chance, and the rate with it: as a process of that count it is one
        of uniform times.
        """
        random, start, times = np.random.default_rng(self.seed), 0.0, []
        for burst in (Burst(self.rate, self.warmup), Burst(self.rate, self.seconds), *self.bursts):
            count = round(burst.rate * burst.seconds)
            times.append(np.sort(random.uniform(start, start + burst.seconds, count)))
            start += burst.seconds
        return np.concatenate(times)


@dataclass
class LoadResult:
    """One entry per request of the measured time, in the order of `due`; times in seconds since that time began.

    due: when it should have been sent; late: seconds from then until the generator took it up; sent, done: when it was
    written and answered; inf where it never came to it. status: 200, 429, …, BROKEN, UNANSWERED. retry: whether
    Retry-After was there. elapsed: seconds of the whole load; statuses: of all its requests, the warm-up's too.
    """

    seconds: float
    elapsed: float
    due: np.ndarray
    late: np.ndarray
    sent: np.ndarray
    done: np.ndarray
    status: np.ndarray
    retry: np.ndarray
    statuses: Counter[int] = field(default_factory=Counter)
    checked: int = 0
    wrong: int = 0
    first_wrong: str = ""

    @property
    def latency(self) -> np.ndarray:
        """Seconds from due to the answer; inf where there was none, or not a 200."""
        return np.where(self.status == 200, self.done - self.due, np.inf)

    @property
    def response_seconds(self) -> np.ndarray:
        """From the sending to any answer; inf where none came."""
        return np.where(np.isfinite(self.done), self.done - np.minimum(self.sent, self.done), np.inf)

    @property
    def answered(self) -> int:
        """Requests that got a 200."""
        return int((self.status == 200).sum())

    @property
    def achieved(self) -> float:
        """Requests answered within the measured time, a second."""
        return int(((self.status == 200) & (self.done <= self.seconds)).sum()) / self.seconds

    def quantile(self, share: float) -> float:
        """Seconds within which this share was answered; inf if so many were not."""
        return quantile(self.latency, share, float("inf"))


def quantile(values: np.ndarray, share: float, of_none: float = 0.0) -> float:
    """A value that there was, never one in between."""
    return float(np.quantile(values, share, method="inverted_cdf")) if len(values) else of_none


def run_load(
    port: int, load: Load, requests: list[bytes], expected: list[bytes], cores: Iterable[int] = ()
) -> LoadResult:
    """Sends whole HTTP requests to a port of 127.0.0.1, in turn, by a generator on these cores.

    `expected` are the answers, head and body, or nothing.

    ServiceError with the generator's last words if it ended without a result.
    """
    generator = subprocess.run(
        [sys.executable, "-m", "loadtest.generator"],
        input=pickle.dumps((port, load, requests, expected, sorted(cores))),
        capture_output=True,
        cwd=CHECKOUT,
        timeout=load.warmup + load.measured_seconds + load.patience + 60,
    )
    if generator.returncode:
        raise ServiceError(f"the generator: {generator.stderr.decode(errors='replace').strip()[-500:]}")
    result: LoadResult = pickle.loads(generator.stdout)  # noqa: S301 - written by our own process
    return result
