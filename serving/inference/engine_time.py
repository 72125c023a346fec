"""What an engine call costs, learnt from the calls themselves."""

from __future__ import annotations


class EngineTime:
    """Seconds of an engine call as a·cost + b, learnt from the calls themselves.

    A cost is a number of rows where these are alike, else of the elements of all inputs.

    Exponentially weighted least squares: recent calls count most, so that it follows the machine.
    """

    DECAY = 0.98
    # A call that the system preempted says nothing of the engine; a real change is still followed in a few calls.
    MAX_RATIO = 3.0

    def __init__(self) -> None:
        self._weight = self._cost = self._seconds = self._cost2 = self._product = 0.0
        self._slope = self._intercept = 0.0

    def learn(self, cost: float, seconds: float) -> None:
        """Take in a call of this cost, and the seconds that it took."""
        keep = self.DECAY
        if expected := self.estimate(cost):
            seconds = min(seconds, self.MAX_RATIO * expected)
        self._weight = weight = self._weight * keep + 1
        self._cost = self._cost * keep + cost
        self._seconds = self._seconds * keep + seconds
        self._cost2 = self._cost2 * keep + cost * cost
        self._product = self._product * keep + cost * seconds
        mean_cost, mean_seconds = self._cost / weight, self._seconds / weight
        variance = self._cost2 / weight - mean_cost * mean_cost
        if variance > 1e-9 * mean_cost * mean_cost:
            self._slope = max(0.0, (self._product / weight - mean_cost * mean_seconds) / variance)
            self._intercept = mean_seconds - self._slope * mean_cost
        else:  # one size so far: at worst every part costs as much
            self._slope, self._intercept = mean_seconds / max(mean_cost, 1.0), 0.0

    def estimate(self, cost: float) -> float:
        """Seconds for so much; 0 while nothing is known."""
        return max(0.0, self._intercept + self._slope * cost)

    def estimate_calls(self, cost: float, calls: int) -> float:
        """Seconds for so much in so many calls."""
        return max(0.0, self._intercept * calls + self._slope * cost)

    def affordable(self, seconds: float) -> float:
        """The cost of a call that takes so long; at least that of nothing."""
        return max(0.0, (seconds - self._intercept) / self._slope) if self._slope > 0 else float("inf")
