"""What was measured, line by line, so that an interrupted search goes on where it was; and the time that it took."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from loadtest.measurement import Run

Key = tuple[str, ...]


class Journal:
    """A JSONL file: a head that says what is measured, a line per run, and an end.

    A file with the same head is gone on with, any other is replaced. `spent`: seconds of the search, of this process
    since `began` and of those before that were interrupted.
    """

    def __init__(self, path: Path, head: Mapping[str, Any], fresh: bool = False, began: float | None = None) -> None:
        self.path = path
        self._runs: dict[Key, Run] = {}
        self._before = 0.0
        self.ended = ""
        lines = [] if fresh else _lines(path)
        if lines and lines[0] == {"head": dict(head)}:
            for line in lines[1:]:
                self._before = max(self._before, line["spent"])
                self.ended = line.get("ended", self.ended)
                if "run" in line:
                    self._runs[tuple(line["key"])] = Run(**line["run"])
        else:
            lines = [{"head": dict(head)}]
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("".join(json.dumps(line) + "\n" for line in lines))
        self._began = time.monotonic() if began is None else began

    @property
    def spent(self) -> float:
        return self._before if self.ended else self._before + time.monotonic() - self._began

    @property
    def resumed(self) -> int:
        """Runs that were found."""
        return len(self._runs)

    def get(self, key: Key) -> Run | None:
        """A run of before."""
        return self._runs.get(key)

    def add(self, key: Key, run: Run) -> None:
        self._write({"key": list(key), "run": asdict(run)})

    def end(self) -> None:
        self._write({"ended": time.strftime("%Y-%m-%d %H:%M")})

    def _write(self, line: dict[str, Any]) -> None:
        with self.path.open("a") as file:
            file.write(json.dumps({**line, "spent": round(self.spent, 1)}) + "\n")


def _lines(path: Path) -> list[dict[str, Any]]:
    """The whole lines of a file: the last may have been cut off by what interrupted it."""
    lines = []
    for text in path.read_text().splitlines() if path.exists() else []:
        try:
            lines.append(json.loads(text))
        except ValueError:
            break
    return lines
