"""The measuring of a search: loads at the rates that it asks for, within the budget, each kept in a journal."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from loadtest.documents import Progress
from loadtest.measurement import Limit, Run, ServicePool
from loadtest.openloop import Load
from loadtest.service import ServiceError
from loadtest.tune.rounds import Bracket, OutOfBudget, highest, rounded
from loadtest.tune.space import Setting
from loadtest.tune.verdict import Verdict, least, of_runs

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
        """Seconds; they stand still once the search has ended."""
        return self._before if self.ended else self._before + time.monotonic() - self._began

    @property
    def resumed(self) -> int:
        """Runs that were found."""
        return len(self._runs)

    def run(self, key: Key, measure: Callable[[], Run]) -> Run:
        """The run of before under this key, or else one that is measured and kept."""
        run = self._runs.get(key)
        if run is None:
            run = measure()
            self._write({"key": list(key), "run": asdict(run)})
        return run

    def end(self) -> None:
        """Marks the search as ended, unless it is."""
        if not self.ended:
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


PROBE_CONNECTIONS = 32
PROBE_SECONDS = 1.0
LIMITS = 20  # times the latency limit: the shortest load, so that a queue has the time to grow
LONGEST = 5  # times the usual load, for rates so low that a verdict takes longer
LOOKS = 2  # loads at a rate before it is left undecided
ATTEMPTS = 3  # with those that are thrown away
MOST_CONNECTIONS = 512
RESERVE = 3.0  # seconds of the budget for the report


@dataclass
class Trial:
    """All loads of one setting at one rate in one round, and what may be claimed of them."""

    setting: Setting
    round: int
    rate: float
    runs: list[Run]
    verdict: Verdict

    @property
    def run(self) -> Run:
        """The last that counts."""
        return next((run for run in reversed(self.runs) if not run.rejected), self.runs[-1])


@dataclass
class Trials:
    """Measures brackets for the rounds; `all` holds every trial in the order of measuring."""

    pool: ServicePool
    default: Setting
    journal: Journal
    limit: Limit
    budget: float
    seconds: float
    progress: Progress
    all: list[Trial] = field(default_factory=list)
    broken: dict[Setting, str] = field(default_factory=dict)
    _slowest_start: float = 5.0
    _served: Setting | None = None

    @property
    def runs(self) -> list[Run]:
        """Every load of every trial, in the order of measuring."""
        return [run for trial in self.all for run in trial.runs]

    def bracket(self, setting: Setting, number: int, known: float, bracket: Bracket) -> None:
        """One round of one setting. A setting that the service does not start with passes nothing."""
        try:
            if known:
                highest(bracket, lambda rate: self._trial(setting, number, rate), known, step=1.1, tolerance=1.05)
            else:
                start = self._probe(setting, number) / 2
                highest(bracket, lambda rate: self._trial(setting, number, rate), start, step=2.0, tolerance=1.1)
        except ServiceError as error:
            self.broken[setting] = str(error)
            bracket.passed, bracket.finished = 0.0, True

    def _probe(self, setting: Setting, number: int) -> float:
        """What a closed loop gets, as a place to begin."""
        load = Load(0.0, PROBE_CONNECTIONS, PROBE_SECONDS)
        return rounded(max(1.0, self._run(setting, number, load, 0).achieved))

    def _trial(self, setting: Setting, number: int, rate: float) -> Verdict:
        enough = 1.5 * least(0, self.limit.percentile) / rate
        seconds = max(LIMITS * self.limit.seconds, min(LONGEST * self.seconds, max(self.seconds, enough)))
        connections = round(min(MOST_CONNECTIONS, max(PROBE_CONNECTIONS, rate * self.limit.seconds)))
        trial = Trial(setting, number, rate, [], Verdict.UNDECIDED)
        for attempt in range(ATTEMPTS):
            patience = max(1.0, 0.5 + self.limit.seconds)  # what comes later is slow whenever it comes
            load = Load(rate, connections, seconds, patience=patience, seed=100 * number + attempt)
            trial.runs.append(self._run(setting, number, load, attempt))
            trial.verdict = of_runs(trial.runs, self.limit)
            if trial.verdict in (Verdict.PASS, Verdict.FAIL) or sum(not run.rejected for run in trial.runs) == LOOKS:
                break
        self.all.append(trial)
        return trial.verdict

    def _run(self, setting: Setting, number: int, load: Load, attempt: int) -> Run:
        key = (setting.form, str(setting.values), str(number), f"{load.rate:g}", str(attempt))
        run = self.journal.run(key, lambda: self._measured(setting, load))
        outcome = f"{run.achieved:,.0f}/s, p{100 * self.limit.percentile:g} {run.at_percentile:.1f} ms"
        outcome = f"thrown away: {run.rejected}" if run.rejected else outcome
        offered = f"{load.rate:,.0f}/s" if load.rate else "closed loop"
        words = f"round {number}  {setting.difference(self.default)}  {offered} → {outcome}"
        self.progress.tell(words, self.journal.spent)
        return run

    def _measured(self, setting: Setting, load: Load) -> Run:
        start = 0.0 if setting == self._served else self._slowest_start
        needed = start + load.warmup + load.seconds + load.patience + 1
        if self.journal.spent + needed + RESERVE > self.budget:
            raise OutOfBudget
        began = time.monotonic()
        target = self.pool.target(setting.environment, setting.form)
        if start:
            self._slowest_start = max(self._slowest_start, time.monotonic() - began)
        self._served = setting
        return target.run(load, self.limit)
