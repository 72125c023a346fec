"""Every request that was made, kept: percentiles are exact, and a second's answers can be told from another's."""

from __future__ import annotations

from array import array
from collections import Counter
from typing import Any

import numpy as np

REASONS = 100  # different ones are kept
COLUMNS = {"due": "d", "latency": "d", "lag": "d", "kind": "H", "failed": "B"}


class Records:
    """A column each of when a request was due (s after the start), its latency from then on and the generator's own
    lag in it (s), its kind (model, interface), and whether it failed; 27 bytes a request."""

    def __init__(self) -> None:
        self.kinds: list[tuple[str, str]] = []
        self.reasons: Counter[str] = Counter()  # of failures
        self.taken_in = 0  # messages of other processes
        self._columns: dict[str, array[Any]] = {name: array(code) for name, code in COLUMNS.items()}

    def __len__(self) -> int:
        return len(self._columns["due"])

    def add(self, kind: tuple[str, str], due: float, latency: float, lag: float, reason: str = "") -> None:
        """One request; a reason says why it failed."""
        values = (due, latency, lag, self._place(kind), bool(reason))
        for column, value in zip(self._columns.values(), values, strict=True):
            column.append(value)
        if reason and (reason in self.reasons or len(self.reasons) < REASONS):
            self.reasons[reason] += 1

    def _place(self, kind: tuple[str, str]) -> int:
        if kind not in self.kinds:
            self.kinds.append(kind)
        return self.kinds.index(kind)

    @property
    def seconds(self) -> float:
        """From the start to the last answer."""
        return float((self.column("due") + self.column("latency")).max(initial=0))

    def column(self, name: str) -> np.ndarray:
        """(requests,)"""
        return np.array(self._columns[name])

    def message(self) -> dict[str, Any]:
        """What another process sends here."""
        columns = {name: column.tobytes() for name, column in self._columns.items()}
        return {"kinds": self.kinds, "reasons": dict(self.reasons), **columns}

    def take_in(self, message: dict[str, Any]) -> None:
        """Add what another process recorded."""
        places = np.array([self._place((model, interface)) for model, interface in message["kinds"]], "u2")
        message["kind"] = places[np.frombuffer(message["kind"], "u2")].tobytes()
        self.taken_in += 1
        self.reasons.update(message["reasons"])
        for name, column in self._columns.items():
            column.frombytes(message[name])
