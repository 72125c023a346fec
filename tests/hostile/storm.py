"""Many hostile connections at once, each of which must end in an answer, or be closed where HTTP says so."""

from __future__ import annotations

import asyncio
from collections import Counter, defaultdict
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass, field
from time import perf_counter

from tests.hostile.case import Case, judged
from tests.hostile.requests import KNOWN, right
from tests.hostile.wire import Exchange, exchange

AT_ONCE = 24
SLOW_SECONDS = 2.0
CANARY_EVERY = 100  # a right request among so many hostile ones
CANARY = Case("the right request", (KNOWN,), frozenset({200}), right=right)
SHOWN = 20
Send = Callable[..., Awaitable[Exchange]]


@dataclass
class Tally:
    """What came of a storm. `wrong`: what is wrong → the cases that ended so."""

    cases: int
    done: int = 0
    statuses: Counter[str] = field(default_factory=Counter)
    wrong: dict[str, list[str]] = field(default_factory=lambda: defaultdict(list))
    slow: list[str] = field(default_factory=list)
    slowest: float = 0.0
    started: float = field(default_factory=perf_counter)

    def add(self, case: Case, came: Exchange, seconds: float) -> None:
        self.done += 1
        self.statuses[str(came.status) if came.answers else came.end] += 1
        if words := judged(case, came):
            self.wrong[words].append(case.name)
        self.slowest = max(self.slowest, seconds)
        if seconds > SLOW_SECONDS:
            self.slow.append(f"{case.name}: {seconds:.1f} s")

    @property
    def lost(self) -> int:
        return sum(map(len, self.wrong.values()))

    @property
    def seconds(self) -> float:
        return perf_counter() - self.started

    @property
    def table(self) -> str:
        rows = [("connections", self.done), ("wrong or lost", self.lost)]
        rows += [
            (f"answered {status}" if status.isdigit() else status, n) for status, n in sorted(self.statuses.items())
        ]
        lines = ["| what came of them | cases |", "| --- | ---: |", *(f"| {what} | {n:,} |" for what, n in rows)]
        rate = self.done / self.seconds
        return "\n".join([*lines, "", f"{rate:,.0f} a second; the slowest answer took {self.slowest:.2f} s."])

    def __str__(self) -> str:
        counted = ", ".join(f"{status}: {count:,}" for status, count in sorted(self.statuses.items()))
        lines = [
            f"{self.done:,} cases in {self.seconds:.0f} s: {counted}",
            f"{sum(n for s, n in self.statuses.items() if s.startswith('5')):,} answered 5xx, "
            f"{self.lost:,} wrong or lost, {len(self.slow):,} over {SLOW_SECONDS:g} s",
        ]
        wrong = [f"{len(cases):,} × {words} ({', '.join(cases[:3])})" for words, cases in self.wrong.items()]
        return "\n".join([*lines, *wrong[:SHOWN], *self.slow[:SHOWN]])


async def storm(
    port: int, cases: Iterable[Case], tally: Tally, at_once: int = AT_ONCE, send: Send = exchange, canary: Case = CANARY
) -> Tally:
    """Send them all to 127.0.0.1, so many at a time."""
    waiting = iter(cases)

    async def client() -> None:
        for case in waiting:
            for each in (case, canary) if tally.done % CANARY_EVERY == 0 else (case,):
                started = perf_counter()
                came = await send(port, each.pieces, each.answers, each.head)
                tally.add(each, came, perf_counter() - started)

    await asyncio.gather(*(client() for _ in range(at_once)))
    return tally
