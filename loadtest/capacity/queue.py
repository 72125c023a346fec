"""A queue whose server sleeps when nobody is there, and has to wake up: what a worker of this service is.

Requests arrive by Poisson, λ a second, at one server. Waking costs c, each request a more. This is M/G/1 with set-up
times: M. Harchol-Balter, Performance Modeling and Design of Computer Systems, Cambridge 2013, §27.3, after P. D. Welch,
"On a generalized M/G/1 queuing process in which the first customer of each busy period receives exceptional service",
Operations Research 12, 1964. Without c it is M/G/1, and its mean wait that of Pollaczek and Khinchine.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class SetupQueue:
    """a: seconds of a request; c: of a waking, always the same.

    variation: squared coefficient of variation of a request's seconds, by which stalls enter.
    """

    a: float
    c: float
    variation: float = 0.0

    @property
    def saturation(self) -> float:
        """Requests a second that keep it busy all the time."""
        return 1 / self.a

    def utilisation(self, rate: float) -> float:
        """Share of the time in which it is busy; Poisson arrivals wake it λ(1 − utilisation) times a second."""
        return min(1.0, rate * (self.a + self.c) / (1 + rate * self.c))

    def rate_at(self, utilisation: float) -> float:
        """Requests a second at which it is busy for this share of the time."""
        return utilisation / (self.a + self.c * (1 - utilisation))

    def latency(self, rate: float) -> float:
        """Mean seconds in the system; inf where the queue grows for ever."""
        load = rate * self.a
        if load >= 1:
            return float("inf")
        waiting = load * self.a * (1 + self.variation) / (2 * (1 - load))
        waking = self.c * (2 + rate * self.c) / (2 * (1 + rate * self.c))
        return self.a + waiting + waking
