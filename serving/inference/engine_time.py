"""What an engine call costs, learnt from the calls themselves."""

from __future__ import annotations


class EngineTime:
    """Seconds of an engine call as a·rows + b, learnt from the calls themselves.

    Exponentially weighted least squares: recent calls count most, so that it follows the machine.
    """

    DECAY = 0.98
    # A call that the system preempted says nothing of the engine; a real change is still followed in a few calls.
    MOST = 3.0

    def __init__(self) -> None:
        self._weight = self._rows = self._seconds = self._rows2 = self._product = 0.0
        self._slope = self._intercept = 0.0

    def learn(self, rows: int, seconds: float) -> None:
        keep = self.DECAY
        if expected := self.estimate(rows):
            seconds = min(seconds, self.MOST * expected)
        self._weight = weight = self._weight * keep + 1
        self._rows = self._rows * keep + rows
        self._seconds = self._seconds * keep + seconds
        self._rows2 = self._rows2 * keep + rows * rows
        self._product = self._product * keep + rows * seconds
        mean_rows, mean_seconds = self._rows / weight, self._seconds / weight
        variance = self._rows2 / weight - mean_rows * mean_rows
        if variance > 1e-9:
            self._slope = max(0.0, (self._product / weight - mean_rows * mean_seconds) / variance)
            self._intercept = mean_seconds - self._slope * mean_rows
        else:  # one batch size so far: at worst every row costs as much
            self._slope, self._intercept = mean_seconds / mean_rows, 0.0

    def estimate(self, rows: int) -> float:
        """Seconds for so many rows; 0 while nothing is known."""
        return max(0.0, self._intercept + self._slope * rows)
