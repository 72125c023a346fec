"""One hostile connection: what is sent, and what may come of it."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import dataclass

from tests.hostile.wire import Answer, Exchange, Piece

REFUSALS = frozenset({400, 404, 405, 408, 411, 413, 414, 415, 417, 422, 426, 429, 431, 501, 503, 505})
# What an answer to a stranger never holds.
INNARDS = re.compile(rb"Traceback|site-packages|File \"|/(?:home|root|usr|opt)/|\.py\b|0x[0-9a-f]{8}")
LONGEST_ERROR = 4000


@dataclass(frozen=True)
class Case:
    """`statuses` is what the last answer may be; 0 stands for a connection closed without one."""

    name: str
    pieces: tuple[Piece, ...]
    statuses: frozenset[int] = REFUSALS | {200}
    words: str = ""
    answers: int = 1
    head: bool = False
    right: Callable[[bytes], bool] | None = None  # judges the body of a 200


def judged(case: Case, came: Exchange) -> str:
    """What is wrong with what came of a case; empty where it ended as it should."""
    if came.end in ("silent", "garbled"):
        return f"{came.end} after {len(came.answers)} answers"
    if came.end == "reset" and 0 not in case.statuses:
        return "reset before its answer was read"
    if came.status not in case.statuses:
        return f"status {came.status or 'none'}, expected {sorted(case.statuses)}"
    return next(filter(None, (_wrong(case, answer) for answer in came.answers)), "")


def _wrong(case: Case, answer: Answer) -> str:
    if INNARDS.search(answer.body) and answer.status != 200:
        return f"{answer.status} tells of the server's innards: {answer.body[:200]!r}"
    if answer.status == 200:
        return _wrong_success(case, answer)
    if answer.headers.get("content-type", "").startswith("text/html"):  # a page shows its form again, with the error
        return ""
    if not case.head and not 0 < len(answer.error) <= LONGEST_ERROR:
        return f'{answer.status} is not {{"error": "…"}} of a few words: {answer.body[:200]!r}'
    return "" if case.words in answer.error else f"{answer.status} says {answer.error[:200]!r}, not {case.words!r}"


def _wrong_success(case: Case, answer: Answer) -> str:
    if case.right is not None:
        return "" if case.right(answer.body) else f"a wrong answer: {answer.body[:200]!r}"
    if answer.headers.get("content-type") == "application/json" and not case.head:
        try:
            json.loads(answer.body, parse_constant=_refused)
        except ValueError:
            return f"a 200 that is not JSON: {answer.body[:200]!r}"
    return ""


def _refused(constant: str) -> None:
    raise ValueError(constant)
