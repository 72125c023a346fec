"""How far a measurement is: a bar with the time left on a terminal, a line per step in a log."""

from __future__ import annotations

import shutil
import sys

WIDTH = 24


class Progress:
    """`say` tells a step, when so many of the seconds that all of it may take are spent."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._terminal = sys.stderr.isatty()

    def say(self, text: str, spent: float) -> None:
        share = min(1.0, spent / self._seconds)
        left = max(0, round(self._seconds - spent))
        line = f"[{'█' * round(share * WIDTH):<{WIDTH}}] {left // 60}:{left % 60:02} left  {text}"
        if self._terminal:
            columns = shutil.get_terminal_size().columns
            print(f"\r{line[: columns - 1]:<{columns - 1}}", end="", file=sys.stderr, flush=True)
        else:
            print(line, file=sys.stderr, flush=True)

    def close(self) -> None:
        if self._terminal:
            print(file=sys.stderr)
