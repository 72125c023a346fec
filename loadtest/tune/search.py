"""The search: every setting once, then the best of them again and again, beside the defaults; each load in a journal.

In rounds rather than one setting after the other, because a machine's speed drifts: what is compared was measured
within one round. The first round only selects. Its best setting is the one finalist, and the gain is judged by the
later rounds of that one: the luckiest of many would look good, were the choice still open then.

Within a round, the highest rate that meets the objective is bracketed by steps and bisected on a logarithmic scale.
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from loadtest.documents import Progress
from loadtest.measurement import Limit, Run, ServicePool
from loadtest.openloop import Load
from loadtest.service import ServiceError
from loadtest.tune.space import Setting, combine
from loadtest.tune.verdict import Estimate, Verdict, estimate, least, of_runs

LOWEST = 1.0  # requests a second: what does not meet the objective at this rate does not meet it
MAX_ROUNDS = 6
FIRST_SHARE = 0.5  # of the budget for the first round
BETTER = 1.05  # a setting that gains less in the first round is not worth combining


@dataclass
class Bracket:
    """The highest rate that passed and the lowest above it that did not, in requests a second."""

    passed: float = 0.0
    failed: float = math.inf
    finished: bool = False

    def take(self, rate: float, verdict: Verdict) -> None:
        """The verdict at a rate."""
        if verdict is Verdict.PASS:
            self.passed = rate
        else:
            self.failed = rate


# Narrows the bracket of a setting in a round, from the rate that is known of it (0: none); OutOfBudget
Measure = Callable[[Setting, int, float, Bracket], None]


class OutOfBudget(Exception):
    """The time that was allowed is spent."""


def highest(bracket: Bracket, ask: Callable[[float], Verdict], start: float, step: float, tolerance: float) -> Bracket:
    """Narrows the bracket until failed / passed ≤ tolerance; what interrupts `ask` leaves it as far as it came.

    A rate that could not be measured has not passed. If nothing has, the bracket stays unfinished: it says nothing.
    The first steps are `step` up or down, and each is the square of the one before, up to a doubling.
    """
    rate = rounded(start)
    while not (bracket.passed and bracket.failed < math.inf):
        verdict = ask(rate)
        if verdict is Verdict.UNMEASURED and not bracket.passed:
            return bracket
        bracket.take(rate, verdict)
        if not bracket.passed and rate <= LOWEST:
            break
        rate = rounded(rate * step if bracket.passed else max(LOWEST, rate / step))
        step = min(2.0, step * step)
    while bracket.passed and bracket.failed / bracket.passed > tolerance:
        rate = rounded(math.sqrt(bracket.passed * bracket.failed))
        if rate in (bracket.passed, bracket.failed):
            break
        bracket.take(rate, ask(rate))
    bracket.finished = True
    return bracket


def rounded(rate: float) -> float:
    """Three figures: a rate is known no better, and an interrupted search finds its rates again."""
    return float(f"{rate:.3g}")


@dataclass
class Results:
    """Brackets by setting and round; `default` is the first setting."""

    default: Setting
    brackets: dict[Setting, dict[int, Bracket]] = field(default_factory=dict)

    def rates(self, setting: Setting, since: int = 1) -> dict[int, float]:
        """Round → highest rate that passed, of the rounds that were finished."""
        rounds = self.brackets.get(setting, {})
        return {number: b.passed for number, b in rounds.items() if b.finished and number >= since}

    def rate(self, setting: Setting, since: int = 1) -> Estimate:
        """Over all its rounds from one on."""
        return estimate(list(self.rates(setting, since).values()))

    def last(self, setting: Setting) -> Bracket:
        """The bracket of the last finished round, or as far as the first came."""
        rounds = self.brackets.get(setting, {})
        finished = [b for b in rounds.values() if b.finished]
        return (finished or [*rounds.values()] or [Bracket()])[-1]

    def gain(self, setting: Setting) -> Estimate:
        """How many times the defaults' rate, by the rounds after the first in which both were measured."""
        ours, theirs = self.rates(setting, 2), self.rates(self.default, 2)
        return estimate([ours[n] / theirs[n] if theirs[n] else 0.0 for n in ours.keys() & theirs.keys()])

    def ranked(self) -> list[Setting]:
        """Best first, by the mean over the rounds; the defaults win a tie."""
        measured = [setting for setting in self.brackets if self.rates(setting)]
        return sorted(measured, key=lambda setting: -self.rate(setting).mean)

    def together(self) -> Setting | None:
        """The settings that were better than the defaults, combined; the best value of each counts. None: too few"""
        base = self.rate(self.default).mean
        others = [setting for setting in reversed(self.ranked()) if setting != self.default]
        better = [setting for setting in others if self.rate(setting).mean > BETTER * base]
        combined = combine(self.default, better)
        return combined if len(better) > 1 and combined not in self.brackets else None

    @property
    def finalist(self) -> Setting | None:
        """The best other setting of the first round, whatever came later. None where no other was measured in it"""
        first = {s: self.rates(s)[1] for s in self.brackets if s != self.default and 1 in self.rates(s)}
        return max(first, key=lambda setting: first[setting], default=None)

    @property
    def winner(self) -> Setting:
        """The finalist, if a gain over the defaults may be claimed of it; else the defaults."""
        best = self.finalist
        return best if best and (gain := self.gain(best)).known and gain.low > 1 else self.default


def play_rounds(
    settings: Sequence[Setting], results: Results, measure: Measure, spent: Callable[[], float], budget: float
) -> None:
    """Until the seconds of the budget are spent or the finalist is known well.

    The first round has as many settings as its share of the budget holds, and what was good of them, combined.
    """

    def one(setting: Setting, number: int) -> None:
        bracket = results.brackets.setdefault(setting, {})[number] = Bracket()
        measure(setting, number, results.rate(setting).mean, bracket)

    with suppress(OutOfBudget):
        for setting in settings:
            if setting != results.default and spent() > FIRST_SHARE * budget:
                break
            one(setting, 1)
        if (together := results.together()) is not None:
            one(together, 1)
        for number in range(2, MAX_ROUNDS + 1):
            for setting in filter(None, (results.default, results.finalist)):
                one(setting, number)


# What is measured


class Journal:
    """A JSONL file: a head that says what is measured, a line per run, and an end.

    A file with the same head is gone on with, any other is replaced. `spent`: seconds of the search, of this process
    since `began` and of those before that were interrupted.
    """

    def __init__(self, path: Path, head: Mapping[str, Any], fresh: bool = False, began: float | None = None) -> None:
        self.path = path
        self._runs: dict[tuple[str, ...], Run] = {}
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

    def run(self, key: tuple[str, ...], measure: Callable[[], Run]) -> Run:
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
MAX_STRETCH = 5  # times the usual load, for rates so low that a verdict takes longer
LOOKS = 2  # loads at a rate before it is left undecided
ATTEMPTS = 3  # with those that are thrown away
MAX_CONNECTIONS = 512
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
            start, step, tolerance = (known, 1.1, 1.05) if known else (self._probe(setting, number) / 2, 2.0, 1.1)
            highest(bracket, lambda rate: self._trial(setting, number, rate), start, step, tolerance)
        except ServiceError as error:
            self.broken[setting] = str(error)
            bracket.passed, bracket.finished = 0.0, True

    def _probe(self, setting: Setting, number: int) -> float:
        """What a closed loop gets, as a place to begin."""
        load = Load(0.0, PROBE_CONNECTIONS, PROBE_SECONDS)
        return rounded(max(1.0, self._run(setting, number, load, 0).achieved))

    def _trial(self, setting: Setting, number: int, rate: float) -> Verdict:
        enough = 1.5 * least(0, self.limit.percentile) / rate
        seconds = max(LIMITS * self.limit.seconds, min(MAX_STRETCH * self.seconds, max(self.seconds, enough)))
        connections = round(min(MAX_CONNECTIONS, max(PROBE_CONNECTIONS, rate * self.limit.seconds)))
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
        tried = f"{setting.difference(self.default)}  {f'{load.rate:,.0f}/s' if load.rate else 'closed loop'}"
        self.progress.tell(f"round {number}  {tried} → {outcome}", self.journal.spent)
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
