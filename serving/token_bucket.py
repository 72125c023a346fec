"""A token bucket: what bounds keys, log lines and looks at other workers."""

from __future__ import annotations


class TokenBucket:
    """Holds at most `burst` tokens (1 at least) and gains `rate` a second; a rate of 0 has none to give."""

    def __init__(self, rate: float, burst: float) -> None:
        self.rate, self._burst = rate, max(1.0, burst)
        self._tokens, self._at = self._burst, 0.0
        self.refused = 0  # since whoever reads it has set it to 0

    def take(self, now: float) -> bool:
        """Whether a token was left at `now`, in seconds of a monotonic clock."""
        self._tokens = min(self._burst, self._tokens + (now - self._at) * self.rate)
        self._at = now
        if self._tokens >= 1 and self.rate:
            self._tokens -= 1
            return True
        self.refused += 1
        return False
